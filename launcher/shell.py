"""A bash on a node: here, or over ssh. Everything that touches a node goes through one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from launcher.errors import LaunchError, UsageError, reason
from launcher.nodes import Host, Node

CONNECT_SECS = 10
SCRIPT_SECS = 30
COPY_SECS = 300
SSH_FAILED = 255

T = TypeVar("T")


class ScriptFailed(LaunchError):
    """A script ended with another exit code than 0; `code` is ssh's own 255 if ssh failed."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Shell:
    """Runs bash scripts on one node."""

    node: Node
    argv: tuple[str, ...]

    def run(self, script: str, payload: bytes = b"", timeout_secs: int = SCRIPT_SECS) -> bytes:
        """Runs a script with `payload` as its input; its output, or a LaunchError."""
        try:
            done = subprocess.run(
                self.argv,
                input=script.encode() + payload,
                capture_output=True,
                timeout=timeout_secs,
                check=False,
            )
        except OSError as error:
            raise LaunchError(f"{self.node.label}: {self.argv[0]}: {reason(error)}") from None
        except subprocess.TimeoutExpired:
            raise LaunchError(f"{self.node.label}: no answer within {timeout_secs} s") from None
        if done.returncode != 0:
            complaint = done.stderr.decode(errors="replace").strip()
            raise ScriptFailed(self._explain(done.returncode, complaint), done.returncode)
        return done.stdout

    def _explain(self, code: int, complaint: str) -> str:
        if code == SSH_FAILED and self.node.host:
            return (
                f"{self.node.label}: ssh failed: {complaint or 'no reason given'}\n"
                f"`ssh {self.node.host.login}` must work without a password. On CloudLab the usual "
                "cause is a login without agent forwarding: log in again with `ssh -A`."
            )
        return f"{self.node.label}: {complaint or f'a command ended with exit code {code}'}"


def shell_for(node: Node, ssh_options: tuple[str, ...]) -> Shell:
    """A shell on the node: bash itself on this machine, bash behind ssh elsewhere."""
    if node.host is None:
        return Shell(node, ("bash", "-s"))
    return Shell(node, ("ssh", *_ssh_flags(node.host, ssh_options), node.host.login, "bash -s"))


def _ssh_flags(host: Host, ssh_options: tuple[str, ...]) -> list[str]:
    # ssh takes the first value it sees, so what the user asked for comes first.
    options = [
        *ssh_options,
        "BatchMode=yes",
        "StrictHostKeyChecking=accept-new",
        f"ConnectTimeout={CONNECT_SECS}",
        "ServerAliveInterval=5",
        "ServerAliveCountMax=3",
    ]
    flags = [word for option in options for word in ("-o", option)]
    if host.ssh_port is not None:
        flags += ["-p", str(host.ssh_port)]
    return flags


def attempt_on_all(shells: list[Shell], action: Callable[[Shell], T]) -> list[T | LaunchError]:
    """Does the same on all nodes at once; what came of it on each, or why it failed there."""

    def attempt(shell: Shell) -> T | LaunchError:
        try:
            return action(shell)
        except LaunchError as error:
            return error
        except OSError as error:
            return LaunchError(f"{shell.node.label}: {reason(error)}")

    with ThreadPoolExecutor(max_workers=max(1, len(shells))) as pool:
        return list(pool.map(attempt, shells))


def on_all(shells: list[Shell], action: Callable[[Shell], T]) -> list[T]:
    """As `attempt_on_all`; one LaunchError tells of every node that failed."""
    outcomes = attempt_on_all(shells, action)
    failures = [outcome for outcome in outcomes if isinstance(outcome, LaunchError)]
    if failures:
        usage = any(isinstance(failure, UsageError) for failure in failures)
        message = "\n".join(dict.fromkeys(str(failure) for failure in failures))
        raise UsageError(message) if usage else LaunchError(message)
    return outcomes  # type: ignore[return-value]
