"""run-cluster.sh where the system or a node is not as it should be: words instead of tracebacks, and no
result lost that was measured. Nodes are shells behind a stand-in for ssh."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support import RUN_SECS_MAX, Launcher

LOCAL = ("--local", "--no-plots")
# What a login script may print: like answers, like progress, and without an end to its last line.
NOISE = "ready when you are\\n\\nbatchkv-answer\\n1 s 5 ops/s\\n\\nverdict VALID\\nWelcome"


def script(path: Path, body: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def nodes(fake: Launcher, tmp_path: Path) -> tuple[str, ...]:
    """Words for a run on two nodes, whose programs in tmp_path/node come before all others."""
    script(
        tmp_path / "stubs" / "ssh",
        f"printf '{NOISE}'\nPATH={tmp_path}/node:$PATH\nexec bash -s",
    )
    fake.environment = {"PATH": f"{tmp_path}/stubs:{os.environ['PATH']}"}
    hosts = tmp_path / "hosts"
    hosts.write_text("node-a 127.0.0.1\nnode-b 127.0.0.2\n")
    return ("--hosts-file", str(hosts), "--no-plots", "--server-args", f"-port {free_port()}")


def free_port() -> int:
    from launcher.survey import local_ports

    return local_ports(1)[0]


def record(fake: Launcher) -> dict:
    return json.loads((fake.latest / "run.json").read_text())


def scratch(fake: Launcher) -> list[Path]:
    return list(Path("/tmp").glob(f"batchkv-{fake.latest.resolve().name}-*"))


def test_what_login_scripts_print_is_taken_for_nothing(
    fake: Launcher, nodes: tuple[str, ...]
) -> None:
    done = fake.run(*nodes)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Welcome" not in done.stdout and "1 s 5 ops/s" not in done.stdout
    assert done.stdout.endswith("verdict VALID\nnode0 median 1000 op/s\n\ntotal 1000 op/s\n")
    assert (fake.latest / "kvsserver-node0.log").read_text().startswith("ready 127.0.0.1:")
    assert (fake.latest / "server-node0.csv").read_text().startswith("unix_time")
    assert (fake.latest / "client-node1" / "summary.json").exists()
    assert scratch(fake) == [] and not list(fake.latest.glob(".*"))


@pytest.mark.parametrize(
    ("tool", "body"),
    [
        ("tar", "exec /bin/tar \"$@\" | head -c 700"),
        ("sha256sum", "for file in \"$@\"; do echo \"$(printf '%064d' 0)  $file\"; done"),
        ("find", "exit 1"),
    ],
)
def test_results_that_come_broken_stay_on_their_nodes(
    fake: Launcher, nodes: tuple[str, ...], tmp_path: Path, tool: str, body: str
) -> None:
    script(tmp_path / "node" / tool, body)
    done = fake.run(*nodes)
    kept = scratch(fake)
    try:
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "its results were not brought home; they are kept in /tmp/batchkv-" in done.stderr
        assert any((path / "results/client-node1/summary.json").exists() for path in kept)
        assert [failure["node"] for failure in record(fake)["failures"]] == [None, None]
        assert not list(fake.latest.glob(".incoming*"))
    finally:
        for path in kept:
            shutil.rmtree(path)


@pytest.mark.parametrize("place", ["file", "file/below/it", "/proc/batchkv"])
def test_a_place_for_results_that_cannot_be_is_told_first(
    fake: Launcher, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").write_text("")
    fake.logs = tmp_path / place
    fake.programs = tmp_path / "absent"  # what comes later would be told in its turn
    done = fake.run(*LOCAL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"run-cluster.sh: --logs {fake.logs}: ")
    assert done.stderr.count("\n") == 1 and "allowed is a directory" in done.stderr


@pytest.mark.parametrize("words", [("--hosts-file", "/"), ("--hosts-file", "/proc/self/mem")])
def test_files_that_cannot_be_read_are_named(fake: Launcher, words: tuple[str, ...]) -> None:
    done = fake.run(*words)
    assert done.returncode == 2 and words[1] in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("output", ["closed", "/dev/full"])
def test_a_terminal_that_is_gone_does_not_end_the_run(fake: Launcher, output: str) -> None:
    if output == "closed":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open(output, os.O_WRONLY)
    done = subprocess.run(
        fake.command(*LOCAL), stdout=writing, stderr=subprocess.PIPE, timeout=RUN_SECS_MAX, check=False
    )
    os.close(writing)
    assert b"Traceback" not in done.stderr
    assert json.loads((fake.latest / "summary.json").read_text())["verdict"] == "VALID"
    assert record(fake)["state"] == "ended"


def test_too_few_open_files_are_named(fake: Launcher) -> None:
    done = subprocess.run(
        fake.command(*LOCAL),
        capture_output=True,
        text=True,
        timeout=RUN_SECS_MAX,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (70, 70)),
    )
    assert done.returncode == 1
    assert "2 nodes need 80 open files here, but 70 are allowed" in done.stderr


@pytest.mark.parametrize(("limit_bytes", "name"), [(0, "command.txt"), (200, "run.json")])
def test_a_file_of_the_run_that_cannot_be_written_is_named(
    fake: Launcher, limit_bytes: int, name: str
) -> None:
    limits = (limit_bytes, limit_bytes)
    done = subprocess.run(
        fake.command(*LOCAL),
        capture_output=True,
        text=True,
        timeout=RUN_SECS_MAX,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits),
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    path = fake.latest.resolve() / name
    assert f"run-cluster.sh: {path} cannot be written: File too large" in done.stderr
    assert "how the run ended is not kept" in done.stderr
    assert not list(fake.latest.glob(".*.new"))


def test_a_run_tells_programs_what_became_of_it(fake: Launcher) -> None:
    assert fake.run("2", "1", *LOCAL).returncode == 0
    said = record(fake)
    assert (said["state"], said["exit_code"], said["failures"]) == ("ended", 0, [])
    assert [(node["name"], node["role"], node["exit_code"]) for node in said["nodes"]] == [
        ("node0", "server", 0),
        ("node1", "server", 0),
        ("node2", "client", 0),
    ]


def test_a_failed_run_tells_programs_which_node_failed(fake: Launcher) -> None:
    assert fake.run(*LOCAL, "--client-args", "--break").returncode == 1
    said = record(fake)
    assert (said["state"], said["exit_code"], said["interrupted"]) == ("ended", 1, False)
    assert said["failures"] == [
        {"node": "node1", "role": "client", "reason": "ended with exit code 1"}
    ]
    assert fake.run(*LOCAL, "--server-args", "--break early").returncode == 1
    reasons = [failure["reason"] for failure in record(fake)["failures"]]
    assert reasons == ["ended with exit code 1 before it was ready"]


def test_an_interrupted_run_says_so(fake: Launcher) -> None:
    with fake.running(*LOCAL, "--client-args", "--hang", until="1 s ") as launcher:
        assert record(fake)["state"] == "running"
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(timeout=60) == 130
    said = record(fake)
    assert (said["state"], said["exit_code"], said["interrupted"]) == ("ended", 130, True)
