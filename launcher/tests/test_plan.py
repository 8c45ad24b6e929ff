"""From nodes and addresses to commands: the core of the launcher."""

from __future__ import annotations

from launcher.arguments import parse
from launcher.nodes import Host, Node
from launcher.plan import Site, endpoint, make_plan, server_ports


def site(index: int, role: str, address: str) -> Site:
    node = Node(index, role, Host(f"node{index}"))
    return Site(node, address, f"/tmp/run-node{index}/results", f"/shared/batchkv-{role}")


def test_one_of_each() -> None:
    sites = [site(0, "server", "10.10.1.1"), site(1, "client", "10.10.1.2")]
    plan = make_plan(parse(["--secs", "5"]), sites, [8080], 20001)
    assert [" ".join(program.command) for program in plan.servers] == [
        "/shared/batchkv-server --listen 10.10.1.1:8080 --server-index 0 --servers 1 "
        "--stats-file /tmp/run-node0/results/server-node0.csv "
        "--resources-file /tmp/run-node0/results/resources-node0.csv"
    ]
    assert [" ".join(program.command) for program in plan.clients] == [
        "/shared/batchkv-client --secs 5 --hosts 10.10.1.1:8080 --client 0/1 "
        "--output /tmp/run-node1/results/client-node1"
    ]


def test_several_of_each_know_of_each_other() -> None:
    sites = [site(i, "server" if i < 2 else "client", f"10.10.1.{i + 1}") for i in range(5)]
    config = parse(["2", "3", "--engine dashmap", "-theta 0.5"])
    plan = make_plan(config, sites, [8080, 8080], 20001)
    assert [program.node.index for program in plan.servers + plan.clients] == [0, 1, 2, 3, 4]
    assert plan.servers[1].command[1:9] == (
        "--engine", "dashmap", "--listen", "10.10.1.2:8080",
        "--server-index", "1", "--servers", "2",
    )  # fmt: skip
    for index, program in enumerate(plan.clients):
        assert program.command[1:-2] == (
            "-theta", "0.5", "--hosts", "10.10.1.1:8080,10.10.1.2:8080",
            "--client", f"{index}/3", "--barrier", "10.10.1.3:20001",
        )  # fmt: skip
        assert program.command[-1].endswith(f"/client-node{2 + index}")


def test_ports_count_up_where_servers_share_an_address() -> None:
    assert server_ports(["a", "b"], None) == [8080, 8080]
    assert server_ports(["a", "b", "a"], 9000) == [9000, 9000, 9001]


def test_endpoints() -> None:
    assert endpoint("10.0.0.1", 1) == "10.0.0.1:1"
    assert endpoint("fd00::1", 1) == "[fd00::1]:1"
