"""run-cluster.sh on this machine, with stand-ins for the programs: what it starts, it also ends."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path

import pytest
from support import Launcher, wait_for_end

LOCAL = ("--local", "--no-plots")


def test_help_and_unknown_flags_start_nothing(fake: Launcher) -> None:
    done = fake.run("--help")
    assert done.returncode == 0 and done.stdout.startswith("Usage: ./run-cluster.sh [servers]")
    done = fake.run("--local", "--bogus")
    assert (done.returncode, done.stdout) == (2, "")
    assert "run-cluster.sh: batchkv-client: " in done.stderr and "--bogus" in done.stderr
    assert not fake.logs.exists()


def test_nodes_are_listed_and_nothing_starts(fake: Launcher, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("node0\nuser@node1:22 10.0.0.2\n")
    done = fake.run("--list-nodes", "--hosts-file", str(hosts))
    assert (done.returncode, done.stdout) == (0, "node0\nuser@node1\n")
    done = fake.run("--list-nodes", "--local")
    assert (done.returncode, done.stdout) == (0, "")
    assert not fake.logs.exists()


def test_flags_that_a_program_refuses_start_nothing(fake: Launcher) -> None:
    done = fake.run(*LOCAL, "--server-args", "--engine none")
    assert done.returncode == 2
    assert "batchkv-server: " in done.stderr and "partitioned" in done.stderr
    assert not fake.logs.exists()


def test_one_of_each_by_default(fake: Launcher) -> None:
    done = fake.run(*LOCAL)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("verdict VALID\nnode0 median 1000 op/s\n\ntotal 1000 op/s\n")
    assert "1 s 1000000 ops/s\n" in done.stdout
    # The client's own summary is in its log; the merged one follows.
    assert "verdict of this client" not in done.stdout
    log = (fake.latest / "kvsclient-node1.log").read_text()
    assert log.endswith("\nverdict of this client\nthroughput 1000000.00 ops/s\n")
    files = {str(path.relative_to(fake.latest)) for path in fake.latest.glob("**/*.*")}
    assert files == {
        "summary.json",
        "command.txt",
        "run.json",
        "kvsserver-node0.log",
        "server-node0.csv",
        "kvsclient-node1.log",
        "client-node1/summary.json",
    }
    assert (fake.latest / "command.txt").read_text().startswith("./run-cluster.sh --local ")
    assert (fake.latest / "kvsserver-node0.log").read_text().startswith("ready 127.0.0.1:")
    assert fake.processes() == []


def test_several_of_each_get_their_identities(fake: Launcher) -> None:
    done = fake.run("2", "3", "", "--secs 1", *LOCAL)
    assert done.returncode == 0
    assert "node0 median 1000 op/s\nnode1 median 1001 op/s\n\ntotal 2002 op/s" in done.stdout
    clients = [
        json.loads((fake.latest / f"client-node{node}" / "summary.json").read_text())["arguments"]
        for node in (2, 3, 4)
    ]
    assert [words[words.index("--client") + 1] for words in clients] == ["0/3", "1/3", "2/3"]
    for flag in ("--hosts", "--barrier"):
        assert len({words[words.index(flag) + 1] for words in clients}) == 1


def test_an_invalid_run_fails(fake: Launcher) -> None:
    done = fake.run(*LOCAL, "--client-args", "--verdict INVALID")
    assert done.returncode == 1
    assert "verdict INVALID" in done.stdout and "total 1000 op/s" in done.stdout


def test_a_server_that_does_not_start(fake: Launcher) -> None:
    done = fake.run("2", "1", "--break early --broken-index 1", *LOCAL)
    assert done.returncode == 1
    assert "node1 (server) ended with exit code 1 before it was ready" in done.stderr
    assert "    error: the listening socket could not be bound" in done.stderr
    assert fake.processes() == []


def test_a_server_that_dies_while_clients_run(fake: Launcher) -> None:
    done = fake.run("2", "1", "--break late --broken-index 1", "--until-lost 1", *LOCAL)
    assert done.returncode == 1
    assert "node1 (server) ended with exit code 1; last lines of" in done.stderr
    assert "    panicked: the fake server was told to" in done.stderr
    assert done.stderr.index("node1") < done.stderr.index("node2")
    assert "was lost" in done.stderr and "node0" not in done.stderr
    assert fake.processes() == []


def test_clients_that_notice_nothing_are_ended(fake: Launcher) -> None:
    done = fake.run(*LOCAL, "--server-args", "--break late", "--client-args", "--hang")
    assert done.returncode == 1
    assert "node1 (client) did not end within" in done.stderr
    assert fake.processes() == []


def test_a_client_that_fails(fake: Launcher) -> None:
    done = fake.run(*LOCAL, "--client-args", "--break")
    assert done.returncode == 1
    assert "FAILED: node1 (client) ended with exit code 1" in done.stderr
    assert "    error: the fake client was told to fail" in done.stderr


def test_a_server_that_ends_badly(fake: Launcher) -> None:
    done = fake.run(*LOCAL, "--server-args", "--break stop")
    assert done.returncode == 1
    assert "node0 (server) ended with exit code 3" in done.stderr


def test_a_port_in_use_is_refused_before_anything_starts(fake: Launcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = fake.run(*LOCAL, "--server-args", f"-port {port}")
    assert done.returncode == 1
    assert f"something listens on 127.0.0.1, port {port} already" in done.stderr
    assert not (fake.latest / "kvsserver-node0.log").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(fake: Launcher, number: signal.Signals) -> None:
    with fake.running(*LOCAL, "--client-args", "--hang", until="1 s ") as launcher:
        assert len(fake.processes()) == 2
        launcher.send_signal(number)
        assert launcher.wait(timeout=60) == 130
        assert fake.processes() == []
        assert "interrupted" in launcher.stderr.read()


def test_an_interrupted_run_shows_what_was_measured(fake: Launcher) -> None:
    with fake.running(*LOCAL, "--client-args", "--until-signal", until="1 s ") as launcher:
        launcher.send_signal(signal.SIGINT)
        out, complaints = launcher.communicate(timeout=60)
    assert launcher.returncode == 130 and "interrupted" in complaints
    assert out.endswith("verdict QUALIFIED\nnode0 median 1000 op/s\n\ntotal 1000 op/s\n")
    assert fake.processes() == []


def test_strict_takes_only_valid_runs(fake: Launcher) -> None:
    for verdict, code in (("VALID", 0), ("QUALIFIED", 3), ("INVALID", 1)):
        done = fake.run(*LOCAL, "--strict", "--client-args", f"--verdict {verdict}")
        assert done.returncode == code, done.stdout + done.stderr


def test_programs_do_not_outlive_a_killed_launcher(fake: Launcher) -> None:
    with fake.running(*LOCAL, "--client-args", "--hang", until="1 s ") as launcher:
        started = fake.processes()
        assert len(started) == 2
        launcher.kill()
        assert all(wait_for_end(pid) for pid in started)


def test_absent_programs_are_named(fake: Launcher) -> None:
    (fake.programs / "batchkv-client").unlink()
    done = fake.run(*LOCAL)
    assert done.returncode == 2 and "holds no batchkv-client" in done.stderr
