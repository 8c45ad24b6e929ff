"""The command line of run-cluster.sh: what was typed, checked and turned into a Config."""

from __future__ import annotations

import re
import shlex
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import UsageError

USAGE = """\
Usage: ./run-cluster.sh [servers] [clients] [server_args] [client_args] [flags]

Builds batchkv, starts its servers and clients, and leaves results, pictures and report.html in logs/latest/.
Without flags: the nodes of this CloudLab experiment, half of them servers; elsewhere one server
and one client on this machine.

  --servers N          servers to start; they run on the first nodes
  --clients N          clients to start; they run on the nodes after the servers
  --server-args ARGS   flags for every batchkv-server, in one shell-quoted string; of -port and
                       --listen only the port counts, the address is always the node's own
  --client-args ARGS   flags for every batchkv-client, in one shell-quoted string

Every flag that is not named here goes to every client (batchkv-client --help explains them), as
--tasks 256 --secs 60 --theta 0.9 do.

Where:
  --hosts-file FILE    nodes to use, one a line: [user@]name[:ssh_port] [data_address]
  --local              processes of this machine, even on CloudLab
  --ssh-option OPTION  one more `-o OPTION` for ssh; may be given several times

  --bin-dir DIR        run the programs in DIR and build nothing
  --logs DIR           where results go (default: logs)
  --no-plots           draw no pictures, make no report
  --strict             exit with 3 when the run is only QUALIFIED
  --list-nodes         print the machines that would be used, one a line, and do nothing else;
                       none where all programs would run on this machine
  --help               this text

Exit codes: 0 the run's verdict is VALID or QUALIFIED, 1 INVALID or failed, 2 wrong usage,
3 QUALIFIED with --strict.
"""

VALUE_FLAGS = (
    "--servers", "--clients", "--server-args", "--client-args", "--hosts-file", "--ssh-option",
    "--bin-dir", "--logs",
)  # fmt: skip
SWITCHES = ("--local", "--no-plots", "--strict", "--list-nodes", "--help")
POSITIONALS = ("--servers", "--clients", "--server-args", "--client-args")

# The plan sets these; a second value would make the nodes disagree.
RESERVED_SERVER_FLAGS = ("--server-index", "--servers", "--stats-file", "--resources-file")
RESERVED_CLIENT_FLAGS = ("--hosts", "--client", "--barrier", "--output", "--strict")


@dataclass(frozen=True)
class Config:
    """A checked command line. `None` counts and ports are decided once the nodes are known."""

    servers: int | None = None
    clients: int | None = None
    server_args: tuple[str, ...] = ()
    client_args: tuple[str, ...] = ()
    server_port: int | None = None
    hosts_file: Path | None = None
    local: bool = False
    ssh_options: tuple[str, ...] = ()
    bin_dir: Path | None = None
    logs: Path = Path("logs")
    plots: bool = True
    strict: bool = False
    list_nodes: bool = False
    help: bool = False


def parse(argv: list[str]) -> Config:
    """Turns the words after `run-cluster.sh` into a Config; raises UsageError."""
    values, switches, passed_on = _split(argv)
    if "--help" in switches:
        return Config(help=True)
    if "--local" in switches and "--hosts-file" in values:
        raise UsageError("--local and --hosts-file exclude each other: give one of them")
    server_args, port = _take_port(_words("--server-args", values))
    client_args = (*_words("--client-args", values), *passed_on)
    _refuse("--server-args", server_args, RESERVED_SERVER_FLAGS)
    _refuse("--client-args", client_args, RESERVED_CLIENT_FLAGS)
    return Config(
        servers=_count("--servers", values),
        clients=_count("--clients", values),
        server_args=server_args,
        client_args=client_args,
        server_port=port,
        hosts_file=_path("--hosts-file", values),
        local="--local" in switches,
        ssh_options=tuple(values.get("--ssh-option", ())),
        bin_dir=_path("--bin-dir", values),
        logs=_path("--logs", values) or Path("logs"),
        plots="--no-plots" not in switches,
        strict="--strict" in switches,
        list_nodes="--list-nodes" in switches,
    )


def _split(argv: list[str]) -> tuple[dict[str, list[str]], set[str], list[str]]:
    """Sorts words into flag values (positional ones under their flag's name), switches, and what
    goes to the clients."""
    values: dict[str, list[str]] = {}
    switches: set[str] = set()
    positionals: list[str] = []
    passed_on: list[str] = []
    words = deque(argv)
    while words:
        word = words.popleft()
        flag, equals, value = _double_dash(word).partition("=")
        if flag in VALUE_FLAGS:
            values.setdefault(flag, []).append(value if equals else _next(words, flag))
        elif flag in SWITCHES and not equals:
            switches.add(flag)
        elif _is_flag(word):
            passed_on.append(word)
            # No list tells which flags take a value: one that stands alone is refused by the client.
            if not equals and words and not _is_flag(words[0]):
                passed_on.append(words.popleft())
        else:
            positionals.append(word)
    _add_positionals(values, positionals)
    for flag, given in values.items():
        if len(given) > 1 and flag != "--ssh-option":
            raise UsageError(f"{flag} was given more than once: {', '.join(given)}")
    return values, switches, passed_on


def _double_dash(word: str) -> str:
    """A flag of this program that was written with one dash, with two."""
    if word == "-h":
        return "--help"
    own = f"-{word}".partition("=")[0] in VALUE_FLAGS + SWITCHES
    return f"-{word}" if own else word


def _is_flag(word: str) -> bool:
    """Whether a word is one flag: neither a number below 0 nor several words in one string."""
    return re.fullmatch(r"--?[A-Za-z]\S*", word) is not None


def _next(words: deque[str], flag: str) -> str:
    if not words:
        raise UsageError(f"{flag} needs a value")
    return words.popleft()


def _add_positionals(values: dict[str, list[str]], positionals: list[str]) -> None:
    if len(positionals) > len(POSITIONALS):
        raise UsageError(
            f"unexpected argument {positionals[len(POSITIONALS)]!r}: at most four are allowed, "
            "[servers] [clients] [server_args] [client_args]"
        )
    for flag, value in zip(POSITIONALS, positionals):
        values.setdefault(flag, []).append(value)


def _count(flag: str, values: dict[str, list[str]]) -> int | None:
    if flag not in values:
        return None
    text = values[flag][0]
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise UsageError(f"{flag} is {text!r}, but must be a whole number of 1 or more")
    return int(text)


def _path(flag: str, values: dict[str, list[str]]) -> Path | None:
    return Path(values[flag][0]) if flag in values else None


def _words(flag: str, values: dict[str, list[str]]) -> tuple[str, ...]:
    text = values.get(flag, [""])[0]
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{flag} is {text!r}, which is not well quoted: {error}") from None


def _take_port(words: tuple[str, ...]) -> tuple[tuple[str, ...], int | None]:
    """Takes `-port P` and `--listen ADDRESS:P` out of the server's flags."""
    rest: list[str] = []
    port: int | None = None
    remaining = deque(words)
    while remaining:
        word = remaining.popleft()
        flag, equals, value = word.partition("=")
        if flag in ("-port", "--port", "-listen", "--listen"):
            if not equals:
                value = _next(remaining, f"{flag} in --server-args")
            port = _port(flag, value)
        else:
            rest.append(word)
    return tuple(rest), port


def _port(flag: str, value: str) -> int:
    digits = value.rpartition(":")[2]
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) <= 65535:
        raise UsageError(f"{flag} is {value!r} in --server-args: its port must be 1 to 65535")
    return int(digits)


def _refuse(flag: str, words: tuple[str, ...], reserved: tuple[str, ...]) -> None:
    for word in words:
        long_form = "-" + word if word.startswith("-") and not word.startswith("--") else word
        if long_form.partition("=")[0] in reserved:
            raise UsageError(f"{word!r} in {flag} is set by run-cluster.sh itself: leave it out")
