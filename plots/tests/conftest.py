"""Result files of short runs of the real programs, as a run and as a study leave them."""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests")]

from support import PROGRAMS_ABSENT, RELEASE, Launcher, programs_absent  # noqa: E402

TINY = ("--local", "--no-plots", "--secs", "1", "--warmup-secs", "0", "--records", "20000")
GRID = [{"batch-size": size, "tasks": tasks} for size in (64, 1024) for tasks in (1, 8)]
SKEW = [{"servers": 2, "theta": theta} for theta in (0, 1.2)]
SERVERS = [{"servers": servers, "clients": 1} for servers in (1, 2)]


@dataclass
class Recorder:
    """Makes runs and writes them down as a study does."""

    directory: Path
    rows: list[dict]

    def run(self, part: str, point: dict, repetition: int, *flags: str) -> None:
        words = [word for name, value in point.items() for word in (f"--{name}", str(value))]
        words += [*TINY, *flags]
        files = Path("runs") / str(len(self.rows))
        launcher = Launcher(RELEASE, self.directory / files)
        done = launcher.run(*words)
        path = launcher.latest / "summary.json"
        summary = json.loads(path.read_text()) if path.exists() else None
        row = {
            "format_version": 1,
            "study": "tiny",
            "part": part,
            "point": point,
            "repetition": repetition,
            "order": len(self.rows),
            "command": shlex.join(["./run-cluster.sh", *words]),
            "flags": {},
            "seed": 1,
            "commit": summary["commit"] if summary else "unknown",
            "host": "node",
            "started_at": "2026-01-01T00:00:00Z",
            "elapsed_secs": 1.0,
            "verdict": summary["verdict"] if summary else "FAILED",
            "reasons": summary["reasons"] if summary else [],
            "failure": None if summary else done.stderr.strip().splitlines()[-1],
            "files": str(files / "latest"),
            "summary": summary,
        }
        self.rows.append(row)

    def write(self) -> None:
        lines = "".join(json.dumps(row) + "\n" for row in self.rows)
        (self.directory / "results.jsonl").write_text(lines)
        study = {
            "format_version": 1,
            "name": "tiny",
            "title": "A tiny study",
            "kind": "scaling",
            "complete": False,
            "runs_done": len(self.rows),
            "runs_total": len(self.rows) + 1,
            "interval": "from the least to the greatest run",
            "points": list(self.points()),
        }
        (self.directory / "study.json").write_text(json.dumps(study))

    def points(self) -> Iterable[dict]:
        groups: dict[tuple, list[dict]] = {}
        for row in self.rows:
            groups.setdefault((row["part"], json.dumps(row["point"])), []).append(row)
        for (part, point), rows in groups.items():
            counted = [row["summary"] for row in rows if row["verdict"] in ("VALID", "QUALIFIED")]
            verdicts = [row["verdict"].lower() for row in rows]
            yield {
                "part": part,
                "point": json.loads(point),
                "command": rows[0]["command"],
                **{
                    name: verdicts.count(name)
                    for name in ("valid", "qualified", "invalid", "failed")
                },
                "metrics": metrics(counted) if counted else {},
            }


def metrics(summaries: list[dict]) -> dict[str, dict]:
    def statistic(values: list[float]) -> dict:
        low, high = (min(values), max(values)) if len(values) > 1 else (None, None)
        return {"median": statistics.median(values), "low": low, "high": high, "n": len(values)}

    def shares(summary: dict) -> list[float]:
        return [server["share"] for server in summary["per_server"]]

    return {
        "throughput": statistic([summary["ops_per_sec"] for summary in summaries]),
        "failure_rate": statistic(
            [summary["errors"] / summary["ops_per_sec"] for summary in summaries]
        ),
        "hottest_server_share": statistic([max(shares(summary)) for summary in summaries]),
        **{
            f"latency_{name}_us": statistic([summary["latency_us"][name] for summary in summaries])
            for name in ("mean", "p50", "p95", "p99")
        },
    }


@pytest.fixture(scope="session")
def study_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of real runs: three grids, one point repeated unverified, one failed run."""
    if programs_absent():
        pytest.skip(PROGRAMS_ABSENT)
    recorder = Recorder(tmp_path_factory.mktemp("study"), [])
    for part, points in (("load", GRID), ("servers and clients", SERVERS), ("skew", SKEW)):
        for point in points:
            recorder.run(part, point, 0)
    recorder.run("load", GRID[0], 1, "--client-args", "--no-verify")
    recorder.run("load", GRID[2], 1, "--client-args", "--no-such-flag")
    recorder.write()
    return recorder.directory


@pytest.fixture(scope="session")
def run_dir_with_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real run's directory, with the report that run-cluster.sh makes at its end."""
    if programs_absent():
        pytest.skip(PROGRAMS_ABSENT)
    launcher = Launcher(RELEASE, tmp_path_factory.mktemp("run") / "logs")
    words = [word for word in TINY if word != "--no-plots"]
    done = launcher.run("--servers", "2", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return launcher.latest
