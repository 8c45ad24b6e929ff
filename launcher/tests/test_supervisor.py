"""A program's output as events, whatever becomes of its log."""

from __future__ import annotations

import time
from pathlib import Path

from launcher.nodes import Node
from launcher.plan import Program
from launcher.shell import Shell
from launcher.supervisor import Exit, Line, Supervisor

NODE = Node(0, "client", None)
SHELL = Shell(NODE, ("bash", "-s"))


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path / "absent")
    supervisor.start(SHELL, Program(NODE, str(tmp_path), ("echo", "a line")))
    deadline = time.monotonic() + 30
    assert supervisor.next_event(deadline) == Line(NODE, "a line")
    assert supervisor.next_event(deadline) == Exit(NODE, 0)
    supervisor.stop_all()
    assert supervisor.exit_codes() == {NODE: 0}
    (fault,) = supervisor.log_faults()
    assert "kvsclient-node0.log is not whole: No such file" in fault


def test_a_log_on_a_full_disk_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "kvsclient-node0.log").symlink_to("/dev/full")
    supervisor = Supervisor(tmp_path)
    supervisor.start(SHELL, Program(NODE, str(tmp_path), ("echo", "a line")))
    deadline = time.monotonic() + 30
    assert supervisor.next_event(deadline) == Line(NODE, "a line")
    assert supervisor.next_event(deadline) == Exit(NODE, 0)
    supervisor.stop_all()
    (fault,) = supervisor.log_faults()
    assert "kvsclient-node0.log is not whole: No space left" in fault


def test_what_is_said_before_the_program_starts_is_kept_if_it_never_does(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path)
    shell = Shell(NODE, ("sh", "-c", "echo denied; exit 255"))
    supervisor.start(shell, Program(NODE, str(tmp_path), ("true",)))
    deadline = time.monotonic() + 30
    assert supervisor.next_event(deadline) == Line(NODE, "denied")
    assert supervisor.next_event(deadline) == Exit(NODE, 255)
    assert "denied" in str(supervisor.failure(NODE, "ended"))
