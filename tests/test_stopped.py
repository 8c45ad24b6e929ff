"""The real programs, one of them stopped for a while: what the run says of it, never how fast the host is."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from support import PROGRAMS_ABSENT, RELEASE, Launcher, programs_absent

pytestmark = pytest.mark.skipif(programs_absent(), reason=PROGRAMS_ABSENT)

STOPPED_SECS = 2.5
FLAGS = ("--local", "--no-plots", "--secs", "8", "--records", "20000", "--batch-size", "256")


def of_run(launcher: Launcher, program: str) -> int:
    """The process of the run that runs `program`."""
    for pid in launcher.processes():
        if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].decode().endswith(program):
            return pid
    raise AssertionError(f"no {program} runs")


@pytest.mark.parametrize("program", ["batchkv-client", "batchkv-server"])
@pytest.mark.parametrize("pacing", [(), ("--client-args", "--rate 2000")])
def test_a_program_that_is_stopped_is_told(
    tmp_path: Path, program: str, pacing: tuple[str, ...]
) -> None:
    real = Launcher(RELEASE, tmp_path / "logs")
    with real.running(*FLAGS, *pacing, until="measured    2 s") as launcher:
        pid = of_run(real, program)
        os.kill(pid, signal.SIGSTOP)
        # The cause that is looked for: at least one whole second of the window.
        time.sleep(STOPPED_SECS)
        os.kill(pid, signal.SIGCONT)
        launcher.stdout.read()
        assert launcher.wait(timeout=120) == 0
    summary = json.loads((real.latest / "summary.json").read_text())
    assert summary["verdict"] == "QUALIFIED", summary["reasons"]
    reasons = [f["reason"] for f in summary["findings"] if f["rule"] == "stalled"]
    assert len(reasons) == 1, summary["findings"]
    assert "answered less than a tenth of the median second" in reasons[0]
    # On a busy machine a client that was not stopped may have been late as well.
    if program == "batchkv-client":
        assert "the client itself did not run for" in reasons[0]
    if pacing:
        # Arrivals went on meanwhile, and each waited for the end.
        assert summary["latency_us"]["max"] >= 0.99e6 * STOPPED_SECS
