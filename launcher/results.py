"""A run's directory: checked, made, filled from the nodes, merged, drawn, summed up."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from launcher import scripts
from launcher.errors import LaunchError, UsageError, reason
from launcher.shell import COPY_SECS, Shell

# Free space below which no run is started: its files need far less.
FREE_MIB_MIN = 64


def check_logs(logs: Path) -> None:
    """Raises a UsageError where no run's directory can be made in `logs`; makes nothing."""
    allowed = "allowed is a directory to write in, or to make"
    place = logs.absolute()
    try:
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            raise UsageError(f"--logs {logs}: {place} is no directory; {allowed}")
        with tempfile.TemporaryFile(dir=place):
            pass
        free_mib = shutil.disk_usage(place).free >> 20
    except OSError as error:
        raise UsageError(f"--logs {logs}: {place}: {error.strerror}; {allowed}") from None
    if free_mib < FREE_MIB_MIN:
        raise LaunchError(
            f"--logs {logs}: only {free_mib} MiB are free at {place}, and a run wants "
            f"{FREE_MIB_MIN}: make room there"
        )
    _check_latest(logs)


def _check_latest(logs: Path) -> None:
    latest = logs / "latest"
    if latest.exists() and not latest.is_symlink():
        raise UsageError(f"{latest} is not a link: move it away, or choose another --logs")


def make_run_dir(logs: Path, now: datetime) -> Path:
    """A new directory logs/<timestamp>, absolute; `logs/latest` points to it from now on."""
    stamp = now.strftime("%Y-%m-%d-%H%M%S")
    try:
        logs.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, 1000):
            run_dir = logs.resolve() / (stamp if attempt == 1 else f"{stamp}-{attempt}")
            try:
                run_dir.mkdir()
            except FileExistsError:
                continue
            _point_latest(logs, run_dir)
            return run_dir
    except OSError as error:
        raise LaunchError(f"--logs {logs}: {reason(error)}") from None
    raise LaunchError(f"{logs} has a thousand runs of {stamp}")


def _point_latest(logs: Path, run_dir: Path) -> None:
    _check_latest(logs)
    fresh = logs / f".latest-{run_dir.name}"
    fresh.symlink_to(run_dir.name)
    os.replace(fresh, logs / "latest")


def gather(shell: Shell, scratch: str, run_dir: Path) -> None:
    """Brings a node's result files into the run's directory, each one whole and as it was there."""
    sent = shell.run(scripts.send_results(scratch), timeout_secs=COPY_SECS)
    wanted, archive = scripts.parse_results(sent)
    incoming = run_dir / f".incoming-{shell.node.name}"
    incoming.mkdir()
    try:
        _unpack(archive, incoming)
        for name, sha256 in wanted.items():
            if hashlib.sha256((incoming / name).read_bytes()).hexdigest() != sha256:
                raise LaunchError(f"{name} is not as it was there")
        for path in incoming.iterdir():
            os.replace(path, run_dir / path.name)
    except (LaunchError, OSError) as error:
        said = reason(error) if isinstance(error, OSError) else str(error)
        raise LaunchError(f"{shell.node.label}: its result files came broken: {said}") from None
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _unpack(archive: bytes, target: Path) -> None:
    command = ["tar", "-C", str(target), "-xf", "-"]
    done = subprocess.run(command, input=archive, capture_output=True, check=False)
    if done.returncode != 0:
        raise LaunchError(done.stderr.decode(errors="replace").strip())


def any_client(run_dir: Path) -> bool:
    """Whether a client has left results."""
    return any(run_dir.glob("client-*/summary.json"))


def merge(client: Path, run_dir: Path, strict: bool) -> int:
    """Lets the client make the run's own result files and print its summary; the exit code."""
    command = [client, "merge", run_dir, *(["--strict"] if strict else [])]
    try:
        return subprocess.run(command, check=False).returncode
    except OSError as error:
        raise LaunchError(f"the results could not be merged: {reason(error)}") from None


def draw(python: Path, checkout: Path, run_dir: Path) -> bool:
    """Draws the pictures and makes report.html; what went wrong was printed on the way."""
    command = [python, "-m", "plots.report", run_dir]
    try:
        return subprocess.run(command, cwd=checkout, check=False).returncode == 0
    except OSError:
        return False


def closing_lines(summary_file: Path) -> list[str]:
    """The lines that end a run, as scripts in circulation read them; none without a summary."""
    try:
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
        medians = [float(server["median_ops_per_sec"]) for server in summary["per_server"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    lines = [f"node{index} median {median:.0f} op/s" for index, median in enumerate(medians)]
    return [*lines, "", f"total {sum(medians):.0f} op/s"]
