"""What nodes are asked, with the scripts run by this machine's bash."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from launcher import scripts, survey
from launcher.errors import LaunchError
from launcher.nodes import Host, Node
from launcher.shell import Shell, on_all, shell_for
from launcher.survey import Survey

HERE = Shell(Node(0, "server", None), ("bash", "-s"))


def test_survey_answers(tmp_path: Path) -> None:
    binary = tmp_path / "it's a program"
    binary.write_bytes(b"content")
    said = scripts.answers(HERE.run(scripts.survey("localhost", str(binary))).decode())
    assert said["system"] == f"{os.uname().sysname} {os.uname().machine}"
    assert said["address"] == "127.0.0.1"
    assert said["sha256"] == hashlib.sha256(b"content").hexdigest()


def test_survey_of_what_is_not_there() -> None:
    said = scripts.answers(HERE.run(scripts.survey("no.such.invalid", "/absent")).decode())
    assert (said["address"], said["sha256"]) == ("", "")


def test_answers_ignore_what_login_scripts_print() -> None:
    assert scripts.answers(f"Welcome!\n\n{scripts.ANSWER} port 80\nsystem x\n") == {"port": "80"}


def test_a_program_is_received_after_the_script(tmp_path: Path) -> None:
    content = bytes(range(256)) * 1000
    scratch = str(tmp_path / "scratch dir")
    HERE.run(scripts.make_scratch(scratch, ("prog", len(content))), payload=content)
    assert Path(scratch, "bin/prog").read_bytes() == content
    assert os.access(Path(scratch, "bin/prog"), os.X_OK)
    with pytest.raises(LaunchError, match="File exists"):
        HERE.run(scripts.make_scratch(scratch, None))
    HERE.run(scripts.remove_scratch(scratch))
    assert not Path(scratch).exists()


def test_a_port_in_use_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(LaunchError, match=f"something listens on 127.0.0.1, port {port}"):
            survey.check_server_port(HERE, "127.0.0.1", port)
    survey.check_server_port(HERE, "127.0.0.1", port)


def test_ports_of_this_machine_differ() -> None:
    assert len(set(survey.local_ports(8))) == 8
    assert survey.barrier_port(HERE, "127.0.0.1") in survey.BARRIER_PORTS


def surveys(*places: tuple[str, str]) -> list[Survey]:
    nodes = [Node(index, "server", Host(name)) for index, (name, _) in enumerate(places)]
    return [
        Survey(shell_for(node, ()), address, False) for node, (_, address) in zip(nodes, places)
    ]


def test_addresses_that_others_can_reach() -> None:
    survey._check_reachable(surveys(("a", "10.0.0.1"), ("b", "10.0.0.2")))
    survey._check_reachable(surveys(("a", "127.0.0.1"), ("a", "127.0.0.1")))
    survey._check_reachable(surveys(("a", "127.0.0.1"), ("b", "127.0.0.2")))


@pytest.mark.parametrize("other", ["10.0.0.2", "127.0.1.1"])
def test_a_name_that_leads_back_to_its_node(other: str) -> None:
    with pytest.raises(LaunchError, match="the name a resolves to 127.0.1.1 on its node"):
        survey._check_reachable(surveys(("a", "127.0.1.1"), ("b", other)))


def test_ssh_command() -> None:
    shell = shell_for(Node(1, "client", Host("far", "me", 2222)), ("IdentityFile=k",))
    assert shell.argv[:5] == ("ssh", "-o", "IdentityFile=k", "-o", "BatchMode=yes")
    assert "StrictHostKeyChecking=accept-new" in shell.argv
    assert shell.argv[-4:] == ("-p", "2222", "me@far", "bash -s")


def test_every_node_that_failed_is_named() -> None:
    shells = [Shell(Node(index, "server", None), ("bash", "-s")) for index in range(3)]
    with pytest.raises(LaunchError) as error:
        on_all(shells, lambda shell: shell.run(f"echo no >&2; exit {shell.node.index}\n"))
    assert str(error.value) == "node1 (server): no\nnode2 (server): no"


def test_ssh_failure_mentions_agent_forwarding() -> None:
    shell = Shell(Node(2, "client", Host("far")), ("bash", "-s"))
    with pytest.raises(LaunchError, match=r"node2 \(client on far\): ssh failed: denied"):
        shell.run("echo denied >&2; exit 255\n")
    with pytest.raises(LaunchError, match="ssh -A"):
        shell.run("exit 255\n")


def test_a_silent_node_is_given_up() -> None:
    with pytest.raises(LaunchError, match="no answer within 1 s"):
        HERE.run("exec tail -f /dev/null\n", timeout_secs=1)
