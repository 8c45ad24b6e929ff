"""batchkv-study with the real run-cluster.sh: a 2 x 2 grid that is interrupted, killed, and goes on."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
from pathlib import Path

import pytest
from support import PROGRAMS_ABSENT, RELEASE, RUN_SECS_MAX, programs_absent

STUDY = RELEASE / "batchkv-study"
GRID = ("batch-size=64,256", "tasks=2,4", "records=20000")
SHORT_RUNS = ("--repetitions", "1", "--secs", "1", "--warmup-secs", "0", "--pause", "0")

pytestmark = pytest.mark.skipif(programs_absent() or not STUDY.exists(), reason=PROGRAMS_ABSENT)


def start(studies: Path) -> subprocess.Popen[str]:
    command = [str(STUDY), "sweep", *GRID, *SHORT_RUNS, "--no-report", "--studies", str(studies)]
    return subprocess.Popen(
        [*command, "--", "--local"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop_after_a_run(studies: Path, number: int) -> tuple[int, str]:
    """A session that gets a signal once its first run is known; its exit code and complaints."""
    with start(studies) as session:
        assert any(line.startswith("[") for line in session.stdout)
        session.send_signal(number)
        return session.wait(RUN_SECS_MAX), session.stderr.read()


def rows(study: Path) -> list[dict]:
    lines = (study / "results.jsonl").read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def test_a_grid_survives_an_interrupt_and_a_kill(tmp_path: Path) -> None:
    study = tmp_path / "sweep"
    code, said = stop_after_a_run(tmp_path, signal.SIGINT)
    assert code == 130 and "1 of 4 runs are kept; the same command goes on" in said
    assert len(rows(study)) == 1
    code, _ = stop_after_a_run(tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    with (study / "results.jsonl").open("a") as results:
        results.write('{"format_version": 1, "study"')  # what a kill may leave
    with start(tmp_path) as session:
        stdout, stderr = session.communicate(timeout=RUN_SECS_MAX)
        assert session.returncode == 0, stdout + stderr
    check_files(study)


def check_files(study: Path) -> None:
    done = rows(study)
    points = {(row["point"]["batch-size"], row["point"]["tasks"]) for row in done}
    assert points == {(64, 2), (64, 4), (256, 2), (256, 4)} and len(done) == 4
    for row in done:
        assert row["verdict"] in ("VALID", "QUALIFIED"), row["reasons"]
        assert row["command"].startswith("./run-cluster.sh ") and row["seed"] == 1
        assert row["summary"]["flags"]["tasks"] == str(row["point"]["tasks"])
        assert row["commit"] == row["summary"]["commit"]
        assert (study / row["files"] / "throughput.csv").stat().st_size > 0
    overview = json.loads((study / "study.json").read_text())
    assert overview["complete"] and overview["runs_done"] == overview["runs_total"] == 4
    for point in overview["points"]:
        assert point["valid"] + point["qualified"] == 1
        throughput = point["metrics"]["throughput"]
        assert throughput["median"] > 0 and throughput["low"] is None and throughput["n"] == 1
    with (study / "results.csv").open(newline="") as table:
        assert {(row["batch-size"], row["tasks"]) for row in csv.DictReader(table)} == {
            (str(batch_size), str(tasks)) for batch_size, tasks in points
        }
