"""Asks every node what the plan needs to know, and brings the programs to where they are absent."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import socket
from dataclasses import dataclass
from pathlib import Path

from launcher import scripts
from launcher.errors import LaunchError
from launcher.nodes import Node
from launcher.plan import CLIENT_BINARY, SERVER_BINARY, Site
from launcher.shell import COPY_SECS, Shell, on_all

# Below the ephemeral ports, which the kernel hands to outgoing connections.
BARRIER_PORTS = range(20000, 30000)
BARRIER_PORTS_TRIED = 20


@dataclass(frozen=True)
class Programs:
    """The two programs on this machine."""

    directory: Path

    def path(self, node: Node) -> Path:
        name = SERVER_BINARY if node.role == "server" else CLIENT_BINARY
        return self.directory / name


@dataclass(frozen=True)
class Survey:
    """What one node answered."""

    shell: Shell
    address: str
    has_binary: bool  # the same file lies at the same path, as in a shared directory


def survey_all(shells: list[Shell], programs: Programs) -> list[Survey]:
    """Reaches every node, in parallel and before anything starts."""
    surveys = on_all(shells, lambda shell: _survey(shell, programs))
    _check_reachable(surveys)
    return surveys


def _survey(shell: Shell, programs: Programs) -> Survey:
    host = shell.node.host
    if host is None:
        return Survey(shell, "127.0.0.1", has_binary=True)
    binary = programs.path(shell.node)
    name = host.data_address or host.name
    output = shell.run(scripts.survey(name, str(binary)))
    said = scripts.answers(output.decode(errors="replace"))
    here = f"{os.uname().sysname} {os.uname().machine}"
    if said.get("system") != here:
        raise LaunchError(
            f"{shell.node.label} is {said.get('system') or 'an unknown system'}, but the programs "
            f"were built for {here}: use nodes of one kind"
        )
    if not said.get("address"):
        raise LaunchError(f"{shell.node.label}: the name {name!r} does not resolve there")
    same = said.get("sha256") == hashlib.sha256(binary.read_bytes()).hexdigest()
    return Survey(shell, said["address"], same)


def _check_reachable(surveys: list[Survey]) -> None:
    """Refuses a name that leads back to its own node, as Debian's `127.0.1.1 node1` does.

    Loopback addresses are right only where all nodes are one machine: then there is no other kind,
    and each name has its own.
    """
    address_of = {s.shell.node.host.name: s.address for s in surveys if s.shell.node.host}
    loopback = [ipaddress.ip_address(address).is_loopback for address in address_of.values()]
    if not any(loopback) or (all(loopback) and len(set(address_of.values())) == len(address_of)):
        return
    name = next(name for name, own in zip(address_of, loopback) if own)
    raise LaunchError(
        f"the name {name} resolves to {address_of[name]} on its node, which other nodes cannot "
        "reach: give its data address in the hosts file"
    )


def place_all(surveys: list[Survey], programs: Programs, run_dir: Path, scratch: str) -> list[Site]:
    """Gives every node a directory for its files and a program that runs there."""
    chosen = {survey.shell: survey for survey in surveys}
    shells = list(chosen)
    return on_all(shells, lambda shell: _place(chosen[shell], programs, run_dir, scratch))


def _place(survey: Survey, programs: Programs, run_dir: Path, scratch: str) -> Site:
    shell, node = survey.shell, survey.shell.node
    local = programs.path(node)
    if node.host is None:
        return Site(node, survey.address, str(run_dir), str(local))
    own = node_scratch(scratch, node)
    if survey.has_binary:
        there = str(local)
        shell.run(scripts.make_scratch(own, None))
    else:
        there = f"{own}/bin/{local.name}"
        content = local.read_bytes()
        script = scripts.make_scratch(own, (local.name, len(content)))
        shell.run(script, payload=content, timeout_secs=COPY_SECS)
    shell.run(scripts.check_program(there))
    return Site(node, survey.address, f"{own}/results", there)


def node_scratch(scratch: str, node: Node) -> str:
    """A node's own directory: nodes may be one machine, or share a /tmp."""
    return f"{scratch}-{node.name}"


def check_server_port(shell: Shell, address: str, port: int) -> None:
    if _free_port(shell, address, [port]) is None:
        raise LaunchError(
            f"{shell.node.label}: something listens on {address}, port {port} already; end it, or "
            "choose another port with --server-args '-port P'"
        )


def barrier_port(shell: Shell, address: str) -> int:
    """A free port on client 0's node, where the clients meet."""
    port = _free_port(shell, address, random.sample(BARRIER_PORTS, BARRIER_PORTS_TRIED))
    if port is None:
        raise LaunchError(f"{shell.node.label}: found no free port for the clients' barrier")
    return port


def _free_port(shell: Shell, address: str, ports: list[int]) -> int | None:
    said = scripts.answers(shell.run(scripts.free_port(address, ports)).decode(errors="replace"))
    return int(said["port"]) if "port" in said else None


def local_ports(count: int) -> list[int]:
    """Free ports of this machine's loopback address, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [bound.getsockname()[1] for bound in sockets]
    for bound in sockets:
        bound.close()
    return ports
