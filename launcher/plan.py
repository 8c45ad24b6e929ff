"""Pure: what was asked for and what the nodes said -> the command of every node."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.arguments import Config
from launcher.nodes import Node

SERVER_PORT = 8080
SERVER_BINARY = "batchkv-server"
CLIENT_BINARY = "batchkv-client"


@dataclass(frozen=True)
class Site:
    """What a node's command needs to know of the machine it runs on."""

    node: Node
    address: str  # where peers reach its programs
    directory: str  # there, for result files; exists
    binary: str  # there


@dataclass(frozen=True)
class Program:
    """A command, ready to be started on its node."""

    node: Node
    directory: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    servers: tuple[Program, ...]
    clients: tuple[Program, ...]


def server_ports(addresses: list[str], port: int | None) -> list[int]:
    """The port of each server: the one asked for, counted up where servers share an address."""
    first = SERVER_PORT if port is None else port
    return [first + addresses[:index].count(address) for index, address in enumerate(addresses)]


def endpoint(address: str, port: int) -> str:
    """`address:port`, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def make_plan(config: Config, sites: list[Site], ports: list[int], barrier_port: int) -> Plan:
    """The commands of a run. `ports` holds one port a server, in order of node."""
    server_sites = [site for site in sites if site.node.role == "server"]
    client_sites = [site for site in sites if site.node.role == "client"]
    hosts = [endpoint(site.address, port) for site, port in zip(server_sites, ports, strict=True)]
    barrier = endpoint(client_sites[0].address, barrier_port)
    return Plan(
        servers=tuple(
            _server(config, site, hosts[index], index, len(server_sites))
            for index, site in enumerate(server_sites)
        ),
        clients=tuple(
            _client(config, site, hosts, barrier, index, len(client_sites))
            for index, site in enumerate(client_sites)
        ),
    )


def _server(config: Config, site: Site, listen: str, index: int, count: int) -> Program:
    command = [site.binary, *config.server_args, "--listen", listen]
    command += ["--server-index", str(index), "--servers", str(count)]
    command += ["--stats-file", f"{site.directory}/server-{site.node.name}.csv"]
    command += ["--resources-file", f"{site.directory}/resources-{site.node.name}.csv"]
    return Program(site.node, site.directory, tuple(command))


def _client(
    config: Config, site: Site, hosts: list[str], barrier: str, index: int, count: int
) -> Program:
    command = [site.binary, *config.client_args, "--hosts", ",".join(hosts)]
    command += ["--client", f"{index}/{count}"]
    if count > 1:
        command += ["--barrier", barrier]
    command += ["--output", f"{site.directory}/client-{site.node.name}"]
    return Program(site.node, site.directory, tuple(command))
