"""The real programs, started by run-cluster.sh: one machine, one and several of each."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pytest
from support import PROGRAMS_ABSENT, RELEASE, SHORT, Launcher, programs_absent

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

pytestmark = pytest.mark.skipif(programs_absent(), reason=PROGRAMS_ABSENT)


@pytest.fixture
def real(tmp_path: Path) -> Launcher:
    return Launcher(RELEASE, tmp_path / "logs")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def check_closing_lines(stdout: str, summary: dict) -> None:
    """The medians of the servers, a blank line, their sum: the very end of the output."""
    medians = [server["median_ops_per_sec"] for server in summary["per_server"]]
    lines = [f"node{index} median {median:.0f} op/s" for index, median in enumerate(medians)]
    lines += ["", f"total {sum(medians):.0f} op/s"]
    assert stdout.splitlines()[-len(lines) :] == lines


@pytest.mark.parametrize(("servers", "clients"), [(1, 1), (2, 2)])
def test_a_run_leaves_the_whole_tree(real: Launcher, servers: int, clients: int) -> None:
    done = real.run(str(servers), str(clients), "--local", *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    run = real.latest
    for index in range(servers):
        assert "ready 127.0.0.1:" in (run / f"kvsserver-node{index}.log").read_text()
        last = rows(run / f"server-node{index}.csv")[-1]
        assert int(last["gets"]) > 0 and int(last["wrong_owner"]) == 0
    for index in range(servers, servers + clients):
        log = (run / f"kvsclient-node{index}.log").read_text()
        assert log.splitlines()[-1].startswith("throughput ")
        for name in ("summary.json", "throughput.csv", "latency.hlog"):
            assert (run / f"client-node{index}" / name).stat().st_size > 0
    for name in ("throughput.png", "latency.png", "nodes.png"):
        assert (run / name).read_bytes().startswith(PNG_MAGIC)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["verdict"] in ("VALID", "QUALIFIED"), summary["reasons"]
    used = {row["node"]: row["role"] for row in rows(run / "nodes.csv")}
    roles = ["server"] * servers + ["client"] * clients
    assert used == {f"node{index}": role for index, role in enumerate(roles)}
    assert summary["clients"] == clients and len(summary["per_server"]) == servers
    assert (summary["errors"], summary["unknown_ops"], summary["verify_failures"]) == (0, 0, 0)
    check_closing_lines(done.stdout, summary)
    assert real.processes() == []


def test_merged_seconds_are_the_sum_of_the_clients(real: Launcher) -> None:
    assert real.run("1", "2", "--local", *SHORT).returncode == 0
    run = real.latest
    merged = sum(int(row["ops"]) for row in rows(run / "throughput.csv"))
    parts = [rows(run / f"client-node{node}" / "throughput.csv") for node in (1, 2)]
    assert merged == sum(int(row["ops"]) for part in parts for row in part)


def test_the_baseline_engine_runs(real: Launcher) -> None:
    done = real.run("1", "1", "--engine dashmap", "--local", *SHORT, "--no-plots")
    assert done.returncode == 0, done.stdout + done.stderr


def test_course_flags_work(real: Launcher) -> None:
    flags = "-theta 0.9 -workload YCSB-B -secs 1 -numClients 4 -batchSize 512"
    done = real.run("1", "1", "", flags, "--records", "20000", "--local", "--no-plots")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--client-args", "--bogus"), "--bogus"),
        (("--theta=-1",), "'-1' for '--theta"),
        (("--records", "0"), "'0' for '--records"),
        (("--batch-size", "1000000000"), "'1000000000' for '--batch-size"),
        (("--workload", "E"), "'E' for '--workload"),
        (("--client-args", "--mix read=0.5,update=0.4"), "'read=0.5,update=0.4' for '--mix"),
        (("--server-args", "--engine none"), "--engine"),
    ],
)
def test_wrong_usage_starts_nothing(real: Launcher, flags: tuple[str, ...], named: str) -> None:
    done = real.run("--local", "--no-plots", *flags)
    assert done.returncode == 2, done.stdout + done.stderr
    assert named in done.stderr
    assert not real.logs.exists()


def test_without_verification_a_run_is_qualified(real: Launcher) -> None:
    done = real.run("--local", *SHORT, "--no-plots", "--client-args", "--no-verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((real.latest / "summary.json").read_text())["verdict"] == "QUALIFIED"


def test_repeated_answers_are_sent_once(real: Launcher) -> None:
    done = real.run("--local", *SHORT, "--no-plots", "--client-args", "--dedup-answers")
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((real.latest / "summary.json").read_text())
    assert "repeated-answers" in {finding["rule"] for finding in summary["findings"]}
    assert summary["verify_failures"] == 0 and summary["verified"] > 0
    # Of theta 0.99, a batch repeats about 40 % of its keys.
    assert 0.2 < summary["reference_answers"] / summary["counts"]["reads"] < 0.5
    assert 0 < summary["framing_bytes"]["per_answer"] < 5


@pytest.mark.parametrize(
    ("program", "content", "code", "said"),
    [
        ("client", "theta = 0.5\nno-verify = true\nhosts = ['127.0.0.1:1']", 0, ""),
        ("client", "theta = -1", 2, "'-1' for '--theta"),
        ("client", "thetta = 1", 2, '"thetta" is no flag of batchkv-client; allowed are hosts, '),
        ("server", "threads = 2\nengine = 'dashmap'", 0, ""),
        ("server", "server-index = 1", 2, "--server-index 1"),
    ],
)
def test_flags_from_a_file(
    tmp_path: Path, program: str, content: str, code: int, said: str
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(content)
    command = [RELEASE / f"batchkv-{program}", "--config", config, "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stderr


def test_typed_flags_win_over_those_of_a_file(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    # Alone refused: a read-modify-write is two operations of one batch.
    config.write_text('workload = "F"\nbatch-size = 1')
    command = [RELEASE / "batchkv-client", "-config", config, "--check"]
    assert subprocess.run(command, check=False).returncode == 2
    assert subprocess.run([*command, "-batch-size", "2"], check=False).returncode == 0


@pytest.mark.parametrize("program", ["client", "server", "study"])
def test_completions_and_man_pages(tmp_path: Path, program: str) -> None:
    name = f"batchkv-{program}"
    script = subprocess.run(
        [RELEASE / name, "completions", "bash"], capture_output=True, text=True, check=True
    )
    assert f" {name}\n" in script.stdout and not script.stdout.startswith("error")
    assert subprocess.run(["bash", "-n"], input=script.stdout, text=True, check=False).returncode == 0
    subprocess.run([RELEASE / name, "man", tmp_path], check=True)
    assert (tmp_path / f"{name}.1").stat().st_size > 0


@pytest.mark.parametrize("program", ["client", "server", "study", "bench"])
@pytest.mark.parametrize("words", [("--help",), ("--no-such-flag",), ("completions", "bash")])
def test_nobody_who_reads_is_no_panic(program: str, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [RELEASE / f"batchkv-{program}", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    assert b"panicked" not in done.stderr
    assert done.returncode == (2 if words == ("--no-such-flag",) else 0)
    # Nor is one whose complaints nobody reads.
    code = subprocess.run(command, stdout=writing, stderr=writing, check=False).returncode
    os.close(writing)
    assert code == done.returncode


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        ("--max-memory 64MiB --idle-timeout 500ms --max-connections 1k", 0, ""),
        ("--max-memory 64M", 2, "64MiB (1024 x 1024)"),
        ("--max-connections 1.5", 2, "allowed are whole numbers from 1"),
        ("--idle-timeout 2d", 2, "500ms"),
    ],
)
def test_values_are_taken_in_every_clear_form(flags: str, code: int, said: str) -> None:
    command = [RELEASE / "batchkv-server", *flags.split(), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stderr, done.stderr
