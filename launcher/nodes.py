"""Which machines a run uses and what each of them does."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from launcher.errors import LaunchError, UsageError

TMCC = Path("/usr/local/etc/emulab/tmcc")
DISCOVERY_SECS = 20


@dataclass(frozen=True)
class Host:
    """A machine reached by ssh. `data_address` is where its peers reach its programs."""

    name: str
    user: str | None = None
    ssh_port: int | None = None
    data_address: str | None = None

    @property
    def login(self) -> str:
        return f"{self.user}@{self.name}" if self.user else self.name


@dataclass(frozen=True)
class Node:
    """One program's place in the run. `index` counts over all nodes, servers first."""

    index: int
    role: str  # "server" or "client"
    host: Host | None  # None: this machine, without ssh

    @property
    def name(self) -> str:
        return f"node{self.index}"

    @property
    def label(self) -> str:
        """The node as messages name it."""
        where = f" on {self.host.login}" if self.host else ""
        return f"{self.name} ({self.role}{where})"


def parse_hosts_file(path: Path) -> list[Host]:
    """Reads lines of `[user@]name[:ssh_port] [data_address]`; `#` starts a comment."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--hosts-file {path} cannot be read: {error}") from None
    hosts = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if words:
            hosts.append(_parse_host(words, f"{path}, line {number}"))
    if not hosts:
        raise UsageError(f"--hosts-file {path} names no host")
    return hosts


# The first letter keeps a name from being read as an ssh option.
_LOGIN = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?P<name>[A-Za-z0-9_][\w.-]*)(?::(?P<port>\d+))?"
)
_ADDRESS = re.compile(r"[A-Za-z0-9_:][\w.:-]*")


def _parse_host(words: list[str], place: str) -> Host:
    allowed = "[user@]name[:ssh_port] [data_address]"
    match = _LOGIN.fullmatch(words[0])
    if not match or len(words) > 2:
        raise UsageError(f"{place}: {' '.join(words)!r} is not of the form {allowed}")
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 1 <= port <= 65535:
        raise UsageError(f"{place}: ssh port {port} must be 1 to 65535")
    data_address = words[1] if len(words) == 2 else None
    if data_address and not _ADDRESS.fullmatch(data_address):
        raise UsageError(f"{place}: {data_address!r} is not a host name or address")
    return Host(match["name"], match["user"], port, data_address)


def discover_cloudlab(tmcc: Path = TMCC) -> list[Host]:
    """The nodes of the CloudLab experiment that this machine is part of; empty elsewhere.

    Only names of the form nodeK are used: they resolve to the experiment's own network, other
    names of the manifest can lead to the public control network.
    """
    manifest = _output(["geni-get", "-a"])
    if manifest is not None:
        return [Host(name) for name in manifest_nodes(manifest)]
    names = _output([str(tmcc), "hostnames"])
    if names is not None:
        count = sum(1 for line in names.splitlines() if line.strip())
        return [Host(f"node{index}") for index in range(count)]
    return []


def _output(command: list[str]) -> str | None:
    """What a command prints, or None where it does not exist or does not work."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DISCOVERY_SECS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def manifest_nodes(text: str) -> list[str]:
    """The names nodeK in what `geni-get -a` prints: JSON that holds the manifest's XML."""
    try:
        manifest = _find_manifest(json.loads(text))
        root = ElementTree.fromstring(manifest) if manifest else None
    except (ValueError, ElementTree.ParseError) as error:
        raise LaunchError(
            f"`geni-get -a` printed a manifest that cannot be read ({error}); "
            "use --hosts-file or --local"
        ) from None
    if root is None:
        raise LaunchError("`geni-get -a` printed no manifest; use --hosts-file or --local")
    names = [
        element.get("client_id", "")
        for element in root.iter()
        if element.tag.rpartition("}")[2] == "node"
    ]
    usable = [name for name in names if re.fullmatch(r"node\d+", name)]
    if names and not usable:
        raise LaunchError(
            f"this experiment's nodes are called {', '.join(names)}, not node0, node1, …; "
            "name them in a --hosts-file"
        )
    return sorted(usable, key=lambda name: int(name.removeprefix("node")))


def _find_manifest(value: object) -> str | None:
    if isinstance(value, str):
        return value if "<rspec" in value else None
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        return None
    return next((found for child in value if (found := _find_manifest(child))), None)


def assign_roles(hosts: list[Host], servers: int | None, clients: int | None) -> list[Node]:
    """Gives every node its part: the first hosts serve, half of them unless counts say otherwise.

    Without hosts all nodes are processes of this machine, one of each kind by default.
    """
    if not hosts:
        roles = ["server"] * (servers or 1) + ["client"] * (clients or 1)
        return [Node(index, role, None) for index, role in enumerate(roles)]
    servers, clients = _split_counts(len(hosts), servers, clients)
    roles = ["server"] * servers + ["client"] * clients
    return [Node(index, role, host) for index, (role, host) in enumerate(zip(roles, hosts))]


def _split_counts(nodes: int, servers: int | None, clients: int | None) -> tuple[int, int]:
    if servers is None:
        servers_used = nodes // 2 if clients is None else nodes - clients
    else:
        servers_used = servers
    clients_used = nodes - servers_used if clients is None else clients
    if servers_used < 1 or clients_used < 1 or servers_used + clients_used > nodes:
        wanted = f"{servers or 'at least 1'} server(s) and {clients or 'at least 1'} client(s)"
        raise UsageError(f"{wanted} need one node each, but there are {nodes} node(s)")
    return servers_used, clients_used
