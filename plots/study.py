"""A study's files as values: study.json (points and their statistics), results.jsonl (runs).

The statistics were made by the program that measured; nothing is averaged here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FORMAT_VERSION = 1
VERDICTS = ("VALID", "QUALIFIED", "INVALID", "FAILED")
# What an axis is called, and what its values count.
AXES = {
    "batch-size": ("batch size", "operations a request"),
    "tasks": ("tasks", "closed loops"),
    "window": ("window", "unanswered requests of a task"),
    "clients": ("clients", ""),
    "servers": ("servers", ""),
    "theta": ("theta", "0: uniform, larger: more skew"),
    "value-bytes": ("value size", "bytes"),
    "rate": ("offered rate", "ops/s"),
    "mix": ("mix", ""),
    "engine": ("engine", ""),
}


class StudyError(Exception):
    """Why a directory gives no study; the text names the file."""


@dataclass(frozen=True)
class Interval:
    """The median of a point's runs and its confidence interval, which too few runs do not give."""

    median: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Point:
    """One setting of the axes, and what its VALID and QUALIFIED runs came to."""

    part: str
    values: dict[str, object]
    command: str
    runs: dict[str, int]  # verdict -> runs
    metrics: dict[str, Interval]

    @property
    def qualified(self) -> bool:
        return self.runs["QUALIFIED"] > 0

    def median(self, metric: str) -> float | None:
        interval = self.metrics.get(metric)
        return interval.median if interval else None


@dataclass(frozen=True)
class Run:
    """One line of results.jsonl."""

    part: str
    values: dict[str, object]
    repetition: int
    order: int
    command: str
    seed: int | None
    commit: str
    host: str
    started_at: str
    elapsed_secs: float
    verdict: str
    reasons: list[str]
    failure: str | None
    files: str  # its directory, seen from the study's; empty when not kept
    summary: dict

    @property
    def counts(self) -> bool:
        """Whether its figures are in the curves."""
        return self.verdict in ("VALID", "QUALIFIED")

    @property
    def findings(self) -> dict[str, str]:
        """Why it is not VALID: a sentence by the rule's name."""
        return {found["rule"]: found["reason"] for found in self.summary.get("findings", ())}


@dataclass(frozen=True)
class Study:
    name: str
    title: str
    kind: str
    complete: bool
    runs_done: int
    runs_total: int
    interval: str  # how the intervals were made, for the reader
    points: list[Point]
    runs: list[Run]
    broken_lines: int

    @property
    def measured(self) -> list[Point]:
        """The points that have a throughput."""
        return [point for point in self.points if "throughput" in point.metrics]

    @property
    def grids(self) -> list[tuple[str, list[Point]]]:
        """The grids that the study consists of, with all their points; a single one has no name."""
        names = list(dict.fromkeys(point.part for point in self.points))
        return [
            (name if len(names) > 1 else "", [p for p in self.points if p.part == name])
            for name in names
        ]

    @property
    def parts(self) -> list[tuple[str, list[Point]]]:
        """The grids, each with its measured points; without those that have none."""
        measured = [
            (name, [point for point in points if "throughput" in point.metrics])
            for name, points in self.grids
        ]
        return [(name, points) for name, points in measured if points]

    def runs_of(self, point: Point) -> list[Run]:
        return [
            run for run in self.runs if run.values == point.values and run.part in ("", point.part)
        ]

    def typical_run(self, point: Point) -> Run | None:
        """The counted run of a point whose throughput is nearest to the point's median."""
        runs = [run for run in self.runs_of(point) if run.counts and "ops_per_sec" in run.summary]
        wanted = point.median("throughput") or 0
        return min(runs, key=lambda run: abs(run.summary["ops_per_sec"] - wanted), default=None)


def swept(points: Iterable[Point]) -> dict[str, list]:
    """The axes that have several values among these points, each with its values in order."""
    values: dict[str, dict] = {}
    for point in points:
        for axis, value in point.values.items():
            values.setdefault(axis, {})[value] = None
    return {axis: in_order(seen) for axis, seen in values.items() if len(seen) > 1}


def in_order(values: Iterable) -> list:
    """Numbers by size; words as they came."""
    listed = list(values)
    return sorted(listed) if all(is_number(value) for value in listed) else listed


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def axis_name(axis: str) -> str:
    return AXES.get(axis, (axis.replace("-", " "), ""))[0]


def axis_title(axis: str) -> str:
    name, unit = AXES.get(axis, (axis_name(axis), ""))
    return f"{name} ({unit})" if unit else name


def value_text(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if value >= 1000 else str(value)
    if isinstance(value, float):
        return f"{value:g}"
    shares = re.findall(r"(\w+)=([\d.]+)", str(value))  # a mix: read=0.95,update=0.05
    if not shares:
        return str(value)
    numbers = "/".join(f"{float(share) * 100:g}" for _, share in shares)
    return f"{numbers} {'/'.join(kind for kind, _ in shares)}"


def label(values: dict[str, object], axes: Iterable[str] | None = None) -> str:
    """A point in words: `batch size 1024, tasks 8`."""
    names = values if axes is None else [axis for axis in axes if axis in values]
    return ", ".join(f"{axis_name(axis)} {value_text(values[axis])}" for axis in names)


def read(directory: Path) -> Study:
    path = directory / "study.json"
    try:
        study = json.loads(path.read_text(encoding="utf-8"))
        if study["format_version"] != FORMAT_VERSION:
            found = study["format_version"]
            raise StudyError(f"{path}: format_version {found}, expected {FORMAT_VERSION}")
        axes = [axis["name"] for axis in study.get("axes", ())]
        points = [_point(point, axes) for point in study["points"]]
        runs, broken = _runs(directory / "results.jsonl", axes)
        return Study(
            name=study["name"],
            title=study.get("title") or study["name"],
            kind=study["kind"],
            complete=study["complete"],
            runs_done=study["runs_done"],
            runs_total=study["runs_total"],
            interval=study.get("interval", ""),
            points=points,
            runs=runs,
            broken_lines=broken,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} is no study: {error!r}") from None


def _in_order(values: dict[str, object], axes: list[str]) -> dict[str, object]:
    """A point's values in the order of the study's axes."""
    return {axis: values[axis] for axis in dict.fromkeys([*axes, *values]) if axis in values}


def _point(point: dict, axes: list[str]) -> Point:
    return Point(
        part=point.get("part") or "",
        values=_in_order(point["point"], axes),
        command=point["command"],
        runs={verdict: point.get(verdict.lower(), 0) for verdict in VERDICTS},
        metrics={
            name: Interval(
                metric["median"], metric.get("low"), metric.get("high"), metric.get("n", 0)
            )
            for name, metric in point["metrics"].items()
            if metric and metric.get("median") is not None
        },
    )


def _runs(path: Path, axes: list[str]) -> tuple[list[Run], int]:
    """The runs in their order, and how many lines could not be read.

    Of two lines of one run the later counts: it was done again.
    """
    runs, broken = {}, 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            run = _run(json.loads(line), axes)
        except (ValueError, KeyError, TypeError):
            broken += 1
            continue
        runs[run.part, json.dumps(run.values, sort_keys=True), run.repetition] = run
    return sorted(runs.values(), key=lambda run: run.order), broken


def _run(row: dict, axes: list[str]) -> Run:
    return Run(
        part=row.get("part") or "",
        values=_in_order(row["point"], axes),
        repetition=row["repetition"],
        order=row["order"],
        command=row["command"],
        seed=row.get("seed"),
        commit=row.get("commit") or "unknown",
        host=row.get("host") or "unknown",
        started_at=row.get("started_at") or "",
        elapsed_secs=row.get("elapsed_secs") or 0.0,
        verdict=row["verdict"],
        reasons=row.get("reasons") or [],
        failure=row.get("failure"),
        files=row.get("files") or "",
        summary=row.get("summary") or {},
    )
