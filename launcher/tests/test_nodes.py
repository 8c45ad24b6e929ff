"""Which machines a run uses: hosts file, CloudLab's manifest, this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.errors import LaunchError, UsageError
from launcher.nodes import Host, assign_roles, discover_cloudlab, manifest_nodes, parse_hosts_file

MANIFEST = Path(__file__).resolve().parent / "data" / "geni-get.json"


def program(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_hosts_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# ours\nnode0\n\nme@far.example.org:2222 10.0.0.7  # data port\nb fd00::2\n")
    assert parse_hosts_file(file) == [
        Host("node0"),
        Host("far.example.org", "me", 2222, "10.0.0.7"),
        Host("b", data_address="fd00::2"),
    ]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a b c", "line 2: 'a b c' is not of the form"),
        ("-oProxyCommand=x", "line 2: '-oProxyCommand=x' is not of the form"),
        ("a:port", "line 2: 'a:port' is not of the form"),
        ("a:70000", "line 2: ssh port 70000"),
        ("a $(x)", "line 2: '$(x)' is not a host name or address"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(f"good\n{line}\n")
    with pytest.raises(UsageError) as error:
        parse_hosts_file(file)
    assert complaint in str(error.value)


def test_hosts_file_without_hosts(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# nothing\n")
    with pytest.raises(UsageError, match="names no host"):
        parse_hosts_file(file)
    with pytest.raises(UsageError, match="cannot be read"):
        parse_hosts_file(tmp_path / "absent")


def test_geni_get_on_path_is_cloudlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "geni-get", f'[ "$1" = -a ] && cat {MANIFEST}')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert [host.login for host in discover_cloudlab()] == ["node0", "node1", "node2", "node3"]


def test_tmcc_where_geni_get_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "geni-get", "exit 1")
    tmcc = program(tmp_path / "tmcc", '[ "$1" = hostnames ] && printf "NAME=a\\nNAME=b\\n"')
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert discover_cloudlab(tmcc) == [Host("node0"), Host("node1")]
    assert discover_cloudlab(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("not json", "cannot be read"),
        (json.dumps({"manifest": "<rspec><node"}), "cannot be read"),
        (json.dumps({"client_id": "node0"}), "printed no manifest"),
        (json.dumps([{"m": '<rspec><node client_id="web"/></rspec>'}]), "are called web"),
    ],
)
def test_an_unusable_manifest_is_explained(text: str, complaint: str) -> None:
    with pytest.raises(LaunchError, match=complaint):
        manifest_nodes(text)


def test_nodes_are_ordered_by_number() -> None:
    nodes = "".join(f'<node client_id="node{index}"/>' for index in (10, 2, 0))
    assert manifest_nodes(json.dumps({"m": f"<rspec>{nodes}</rspec>"})) == [
        "node0",
        "node2",
        "node10",
    ]


@pytest.mark.parametrize(
    ("hosts", "servers", "clients", "roles"),
    [
        (4, None, None, "sscc"),
        (5, None, None, "ssccc"),
        (5, 1, None, "scccc"),
        (5, None, 1, "ssssc"),
        (5, 1, 2, "scc"),
    ],
)
def test_the_first_nodes_serve(
    hosts: int, servers: int | None, clients: int | None, roles: str
) -> None:
    nodes = assign_roles([Host(f"h{index}") for index in range(hosts)], servers, clients)
    assert "".join(node.role[0] for node in nodes) == roles
    assert [node.host.name for node in nodes] == [f"h{index}" for index in range(len(roles))]
    assert [node.name for node in nodes] == [f"node{index}" for index in range(len(roles))]


def test_this_machine_takes_any_counts() -> None:
    assert [node.role for node in assign_roles([], None, None)] == ["server", "client"]
    assert [node.role for node in assign_roles([], 2, 1)] == ["server", "server", "client"]


@pytest.mark.parametrize(("servers", "clients"), [(2, 2), (3, None), (None, 3), (9, 9)])
def test_counts_that_do_not_fit(servers: int | None, clients: int | None) -> None:
    with pytest.raises(UsageError, match=r"there are 3 node\(s\)"):
        assign_roles([Host("a"), Host("b"), Host("c")], servers, clients)
