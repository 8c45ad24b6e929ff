"""run.json in a run's directory: what became of the run, for programs to read.

    {"format_version": 1,
     "command": "./run-cluster.sh 2 1",      what was typed
     "state": "running",                     "ended" once exit_code is known
     "exit_code": null,
     "interrupted": false,
     "nodes": [{"name": "node0", "role": "server", "host": null, "exit_code": 0}, ...],
     "failures": [{"node": "node0", "role": "server", "reason": "ended with exit code 137"}, ...]}

`host` is null for this machine; a node's `exit_code` is null while its program was not seen to end; `node`
and `role` of a failure are null where it is of the whole run. The file is replaced at once, so a
reader sees it whole: when the run begins, and at its end, however that came.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from launcher.errors import LaunchError
from launcher.nodes import Node

FORMAT_VERSION = 1
NAME = "run.json"


@dataclass
class Record:
    """What is known of a run."""

    run_dir: Path
    command: str
    nodes: list[Node]
    exit_codes: dict[Node, int | None] = field(default_factory=dict)
    failures: list[LaunchError] = field(default_factory=list)
    interrupted: bool = False

    def write(self, exit_code: int | None = None) -> None:
        """Replaces the file; the run has ended once there is an exit code."""
        content = {
            "format_version": FORMAT_VERSION,
            "command": self.command,
            "state": "running" if exit_code is None else "ended",
            "exit_code": exit_code,
            "interrupted": self.interrupted,
            "nodes": [_node(node, self.exit_codes) for node in self.nodes],
            "failures": [_failure(failure) for failure in self.failures],
        }
        write_whole(self.run_dir / NAME, json.dumps(content, indent=1) + "\n")


def _node(node: Node, exit_codes: Mapping[Node, int | None]) -> dict[str, object]:
    host = node.host.login if node.host else None
    return {"name": node.name, "role": node.role, "host": host, "exit_code": exit_codes.get(node)}


def _failure(failure: LaunchError) -> dict[str, object]:
    node = getattr(failure, "node", None)
    return {
        "node": node.name if node else None,
        "role": node.role if node else None,
        "reason": getattr(failure, "what", str(failure)),
    }


def write_whole(path: Path, text: str) -> None:
    """Replaces a file at once: a reader sees the old content, or the new, or no file."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise LaunchError(f"{path} cannot be written: {error.strerror}") from None
