"""A run's directory: made, filled from the nodes, merged, drawn, summed up."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from pathlib import Path

from launcher import scripts
from launcher.errors import LaunchError
from launcher.shell import COPY_SECS, Shell


def make_run_dir(logs: Path, now: datetime) -> Path:
    """A new directory logs/<timestamp>, absolute; `logs/latest` points to it from now on."""
    stamp = now.strftime("%Y-%m-%d-%H%M%S")
    logs.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        run_dir = logs.resolve() / (stamp if attempt == 1 else f"{stamp}-{attempt}")
        try:
            run_dir.mkdir()
        except FileExistsError:
            continue
        _point_latest(logs, run_dir)
        return run_dir
    raise LaunchError(f"{logs} has a thousand runs of {stamp}")


def _point_latest(logs: Path, run_dir: Path) -> None:
    latest = logs / "latest"
    if latest.exists() and not latest.is_symlink():
        raise LaunchError(f"{latest} is not a link: move it away, or choose another --logs")
    fresh = logs / f".latest-{run_dir.name}"
    fresh.symlink_to(run_dir.name)
    os.replace(fresh, latest)


def gather(shell: Shell, scratch: str, run_dir: Path) -> None:
    """Brings a remote node's result files into the run's directory."""
    archive = shell.run(scripts.send_results(scratch), timeout_secs=COPY_SECS)
    unpacked = subprocess.run(
        ["tar", "-C", str(run_dir), "-xf", "-"], input=archive, capture_output=True, check=False
    )
    if unpacked.returncode != 0:
        complaint = unpacked.stderr.decode(errors="replace").strip()
        raise LaunchError(f"{shell.node.label}: its result files came broken: {complaint}")


def any_client(run_dir: Path) -> bool:
    """Whether a client has left results."""
    return any(run_dir.glob("client-*/summary.json"))


def merge(client: Path, run_dir: Path, strict: bool) -> int:
    """Lets the client make the run's own result files and print its summary; the exit code."""
    command = [client, "merge", run_dir, *(["--strict"] if strict else [])]
    return subprocess.run(command, check=False).returncode


def draw(python: Path, checkout: Path, run_dir: Path) -> bool:
    """Draws the pictures and makes report.html; what went wrong was printed on the way."""
    command = [python, "-m", "plots.report", run_dir]
    return subprocess.run(command, cwd=checkout, check=False).returncode == 0


def closing_lines(summary_file: Path) -> list[str]:
    """The lines that end a run, as scripts in circulation read them; none without a summary."""
    try:
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
        medians = [float(server["median_ops_per_sec"]) for server in summary["per_server"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    lines = [f"node{index} median {median:.0f} op/s" for index, median in enumerate(medians)]
    return [*lines, "", f"total {sum(medians):.0f} op/s"]
