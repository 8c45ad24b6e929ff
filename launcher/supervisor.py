"""The programs that a run started: their output as events, their logs, their end.

Invariants:
1. Every program runs below a shell whose standard input we hold. Closing it ends the program
   (scripts.run_program), and the kernel closes it should this process die.
2. Only the reader thread of a program writes its log and waits for its shell. Whatever happens to the
   log, it reads on and tells the end.
3. After `stop_all` nothing that was started is left.
"""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from launcher import scripts
from launcher.errors import LaunchError, reason
from launcher.nodes import Node
from launcher.plan import Program
from launcher.shell import Shell

# Longer than the node's own SIGKILL, so that the node gets to act first.
STOP_SECS = scripts.KILL_AFTER_SECS + 5
TAIL_LINES = 15


@dataclass(frozen=True)
class Line:
    """A line that a program printed, without its end."""

    node: Node
    text: str


@dataclass(frozen=True)
class Exit:
    """A program ended. A signal's death is 128 + its number, as bash reports it."""

    node: Node
    code: int


class NodeFailed(LaunchError):
    """A program that ended or stayed silent when it should not have."""

    def __init__(self, node: Node, what: str, log: Path, tail: list[str], code: int = 1) -> None:
        lines = "".join(f"\n    {line}" for line in tail) or " none"
        super().__init__(f"{node.label} {what}; last lines of {log}:{lines}")
        self.node = node
        self.what = what
        self.exit_code = code


class _Log:
    """A program's log, which may fail: a full disk must not end what is measured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault: OSError | None = None
        self._file: IO[bytes] | None = None

    def write(self, raw: bytes) -> None:
        if self.fault:
            return
        try:
            self._file = self._file or self.path.open("wb", buffering=0)
            self._file.write(raw)
        except OSError as error:
            self.fault = error

    def close(self) -> None:
        if self._file:
            self._file.close()


class _Running:
    """One program and the thread that reads its output."""

    def __init__(self, shell: Shell, program: Program, log: Path, events: queue.Queue) -> None:
        self.node = program.node
        self.log = _Log(log)
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self.exit_code: int | None = None
        self._events = events
        self._process = subprocess.Popen(
            shell.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the terminal's Ctrl-C is for the launcher alone
        )
        assert self._process.stdin and self._process.stdout  # pipes, as asked for
        self._stdin = self._process.stdin
        self._reader = threading.Thread(
            target=self._read, args=(self._process.stdout,), daemon=True
        )
        self._reader.start()
        self._send(scripts.run_program(program.command, program.directory))

    def _send(self, script: str) -> None:
        try:
            self._stdin.write(script.encode())
            self._stdin.flush()
        except OSError:
            pass  # it ended already: the reader tells

    def _read(self, output: IO[bytes]) -> None:
        try:
            before = self._skip_login(output)
            for raw in before or output:
                self.log.write(raw)
                text = _text(raw)
                self.tail.append(text)
                self._events.put(Line(self.node, text))
        finally:
            self.log.close()
            self.exit_code = self._process.wait()
            self._events.put(Exit(self.node, self.exit_code))

    def _skip_login(self, output: IO[bytes]) -> list[bytes]:
        """Reads what stands before the program's own output; all there was if that never came."""
        before: list[bytes] = []
        for raw in output:
            if _text(raw) == scripts.OUTPUT:
                return []
            before.append(raw)
        return before

    def ask_to_end(self) -> None:
        try:
            self._stdin.close()
        except OSError:
            pass  # it ended already

    def join(self, deadline: float) -> None:
        self._reader.join(max(0.0, deadline - time.monotonic()))
        if self._reader.is_alive():
            self._process.kill()
            self._reader.join(1)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace").rstrip("\r\n")


class Supervisor:
    """Starts programs, tells what happens to them in one queue of events, ends them."""

    def __init__(self, log_dir: Path) -> None:
        self._log_dir = log_dir
        self._events: queue.Queue[Line | Exit] = queue.Queue()
        self._running: dict[Node, _Running] = {}

    def start(self, shell: Shell, program: Program) -> None:
        """Starts a program; its output goes to kvsserver-nodeK.log or kvsclient-nodeK.log."""
        node = program.node
        log = self._log_dir / f"kvs{node.role}-{node.name}.log"
        try:
            self._running[node] = _Running(shell, program, log, self._events)
        except (OSError, RuntimeError) as error:  # no process, no thread
            said = reason(error) if isinstance(error, OSError) else error
            raise LaunchError(f"{node.label} cannot be started: {said}") from None

    def next_event(self, deadline: float | None = None) -> Line | Exit | None:
        """Waits for the next event; None once `deadline` (time.monotonic) has passed."""
        try:
            if deadline is None:
                return self._events.get()
            return self._events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def failure(self, node: Node, what: str, code: int = 1) -> NodeFailed:
        """An error about a node, with the last lines of its log."""
        running = self._running[node]
        return NodeFailed(node, what, running.log.path, list(running.tail), code)

    def exit_codes(self) -> dict[Node, int | None]:
        """Of each program that was started; None where it was not seen to end."""
        return {node: running.exit_code for node, running in self._running.items()}

    def log_faults(self) -> list[str]:
        """A sentence for each log that is not whole."""
        logs = [running.log for running in self._running.values()]
        return [f"{log.path} is not whole: {log.fault.strerror}" for log in logs if log.fault]

    def stop(self, nodes: list[Node]) -> dict[Node, int | None]:
        """Ends programs in order and tells their exit codes; None if one had to be killed."""
        running = [self._running[node] for node in nodes]
        for program in running:
            program.ask_to_end()
        deadline = time.monotonic() + STOP_SECS
        for program in running:
            program.join(deadline)
        return {program.node: program.exit_code for program in running}

    def stop_all(self) -> None:
        """Ends what still runs: the clients first, whose last requests the servers can then answer."""
        for role in ("client", "server"):
            self.stop([node for node in self._running if node.role == role])
