"""Starting run-cluster.sh as a user does, and looking for processes that it left."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RUN_SECS_MAX = 120
RELEASE = CHECKOUT / "target" / "release"
# A run of the real programs that takes seconds.
SHORT = ("--secs", "2", "--records", "20000", "--batch-size", "1024", "--tasks", "8")


def programs_absent() -> bool:
    return not all((RELEASE / f"batchkv-{role}").exists() for role in ("server", "client"))


PROGRAMS_ABSENT = f"the programs are not in {RELEASE}: cargo build --release --workspace"


@dataclass
class Launcher:
    """run-cluster.sh with a logs directory of its own; programs in RELEASE are built by it."""

    programs: Path
    logs: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *words: str) -> list[str]:
        fixed = ["--logs", str(self.logs)]
        if self.programs != RELEASE:
            fixed += ["--bin-dir", str(self.programs)]
        return [str(CHECKOUT / "run-cluster.sh"), *words, *fixed]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=RUN_SECS_MAX,
            check=False,
            env=os.environ | self.environment,
        )

    @contextmanager
    def running(self, *words: str, until: str) -> Iterator[subprocess.Popen[str]]:
        """A run that has printed a line with `until`; ended by force when the block is left."""
        with subprocess.Popen(
            self.command(*words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | self.environment,
            # These tests may run under nohup, the launcher must not.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        ) as process:
            try:
                assert any(until in line for line in process.stdout), process.stderr.read()
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=RUN_SECS_MAX)

    @property
    def latest(self) -> Path:
        return self.logs / "latest"

    def processes(self) -> list[int]:
        """The programs that run now: they alone have the directory in their command line."""
        return [pid for pid in pids() if str(self.programs).encode() in command_line(pid)[:2]]


def pids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def command_line(pid: int) -> list[bytes]:
    """The directories of a process's first words; nothing once it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []
    return [os.path.dirname(word) for word in words]


def wait_for_end(pid: int, secs: float = 30) -> bool:
    """Waits until a process, of whatever parent, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], secs)[0])
    finally:
        os.close(handle)
