"""The command line of run-cluster.sh."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.arguments import Config, parse
from launcher.errors import UsageError


def test_nothing_given_leaves_all_open() -> None:
    assert parse([]) == Config()


def test_positionals_are_the_course_scripts() -> None:
    config = parse(["2", "3", "-port 9000 --engine dashmap", "-theta 0.9 -workload YCSB-B"])
    assert (config.servers, config.clients, config.server_port) == (2, 3, 9000)
    assert config.server_args == ("--engine", "dashmap")
    assert config.client_args == ("-theta", "0.9", "-workload", "YCSB-B")


def test_flags_mean_the_same_and_mix_with_positionals() -> None:
    config = parse(["2", "--clients=3", "--server-args", "--no-drain", "--local"])
    assert (config.servers, config.clients, config.local) == (2, 3, True)
    assert config.server_args == ("--no-drain",)


@pytest.mark.parametrize(
    ("line", "passed_on"),
    [
        ("--secs 5 --batch-size=1024", ("--secs", "5", "--batch-size=1024")),
        ("--no-verify --window 4", ("--no-verify", "--window", "4")),
        ("-theta -1 2 3", ("-theta", "-1")),
        ("--of-tomorrow 1.5e3 --local", ("--of-tomorrow", "1.5e3")),
    ],
)
def test_flags_that_are_not_its_own_go_to_the_clients(line: str, passed_on: tuple) -> None:
    config = parse([*line.split(), "--client-args", "--theta 0.5"])
    assert config.client_args == ("--theta", "0.5", *passed_on)


def test_one_dash_is_enough() -> None:
    config = parse(["-servers", "2", "-clients=3", "-local"])
    assert (config.servers, config.clients, config.local) == (2, 3, True)


def test_other_flags() -> None:
    words = ["--hosts-file", "h", "--ssh-option", "A=1", "--ssh-option=B=2", "--no-plots"]
    config = parse([*words, "--bin-dir=b", "--logs", "l"])
    assert config.ssh_options == ("A=1", "B=2")
    assert (config.hosts_file, config.bin_dir, config.logs) == (Path("h"), Path("b"), Path("l"))
    assert not config.plots
    assert parse(["--list-nodes"]).list_nodes


@pytest.mark.parametrize("port", ["-port 9000", "--listen 127.0.0.1:9000", "--listen=[::1]:9000"])
def test_the_servers_port_is_taken_out(port: str) -> None:
    config = parse(["--server-args", f"--threads 2 {port}"])
    assert (config.server_port, config.server_args) == (9000, ("--threads", "2"))


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(word: str) -> None:
    assert parse([word]).help


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--hosts", "a:1"], "'--hosts' in --client-args is set by"),
        (["--servers"], "--servers needs a value"),
        (["--servers", "0"], "--servers is '0', but must be a whole number of 1 or more"),
        (["two"], "--servers is 'two'"),
        (["1", "-1 "], "--clients is '-1 '"),
        (["2", "--servers", "3"], "--servers was given more than once: 3, 2"),
        (["1", "1", "", "", "more"], "unexpected argument 'more'"),
        (["--server-args", "'open"], '--server-args is "\'open", which is not well quoted'),
        (["--server-args", "-port 70000"], "its port must be 1 to 65535"),
        (["--server-args", "-port"], "-port in --server-args needs a value"),
        (["--server-args", "--servers 4"], "'--servers' in --server-args is set by"),
        (["--client-args", "-hosts a:1"], "'-hosts' in --client-args is set by"),
        (["--local", "--hosts-file", "f"], "--local and --hosts-file exclude each other"),
    ],
)
def test_what_is_wrong_is_named(argv: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(argv)
    assert complaint in str(error.value)
