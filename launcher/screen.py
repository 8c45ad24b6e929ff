"""What people see. A terminal that is gone or a full disk behind it never ends a run."""

from __future__ import annotations

import os
import sys
from typing import TextIO

NAME = "run-cluster.sh"


def say(text: str) -> None:
    """Prints a line at once."""
    _print(text, sys.stdout)


def warn(text: str) -> None:
    """Prints a complaint."""
    _print(f"{NAME}: {text}", sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    try:
        print(text, file=stream, flush=True)
    except OSError:
        # What is still buffered must not fail again when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
