"""A study's page: its pictures, its words and its tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from plots import findings, page, plot, run_page, study, study_figures
from plots.page import Cell, Column, Figure, Page, Table
from plots.run_page import host_text, network
from plots.study import VERDICTS, Interval, Point, Run, Study
from plots.style import ms_text, ops_text

# Metric, column, and how a value is written.
METRICS: tuple[tuple[str, Column, Callable[[float], str]], ...] = (
    ("throughput", Column("throughput", "ops/s", "number"), ops_text),
    ("latency_mean_us", Column("mean", "ms", "number"), lambda us: ms_text(us / 1e3)),
    ("latency_p50_us", Column("p50", "ms", "number"), lambda us: ms_text(us / 1e3)),
    ("latency_p95_us", Column("p95", "ms", "number"), lambda us: ms_text(us / 1e3)),
    ("latency_p99_us", Column("p99", "ms", "number"), lambda us: ms_text(us / 1e3)),
    ("latency_p999_us", Column("p99.9", "ms", "number"), lambda us: ms_text(us / 1e3)),
    ("hit_rate", Column("hits", "% of gets", "number"), lambda rate: f"{rate * 100:.4g}"),
    ("failure_rate", Column("failed", "%", "number"), lambda rate: f"{rate * 100:.3g}"),
    ("hottest_server_share", Column("hottest", "% of ops", "number"), lambda s: f"{s * 100:.1f}"),
    ("cpu_ns_per_op", Column("CPU", "ns/op", "number"), lambda ns: f"{ns:.3g}"),
)
FAULTS_SHOWN = 6
FACTS_SHOWN = 8


def make(directory: Path, ceilings: Path | None) -> Page:
    """Draws the study's pictures and makes its page."""
    data = study.read(directory)
    pictures = study_figures.draw_all(data, directory)
    if ceilings:
        pictures.append(study_figures.draw_layers(ceilings, directory))
    return Page(
        kind="study",
        title=data.title,
        byline=_byline(data),
        badges=_badges(data),
        notices=_notices(data),
        sentences=findings.sentences(data),
        reasons=_reasons(data),
        figures=_figures(data),
        images=[
            *(page.image(directory, p.name, p.title, p.caption) for p in pictures),
            *_best_run_images(data, directory),
        ],
        tables=[page.dense(table) for table in _tables(data) if table.rows],
        facts=_facts(data),
        notes=[f"Intervals: {data.interval}"] if data.interval else [],
    )


def _best_run_images(data: Study, directory: Path) -> list[page.Image]:
    """What the best point's typical run was like in time, where its files are kept."""
    top = findings.best(data.measured)
    run = data.typical_run(top) if top else None
    if run is None or not run.files or not (directory / run.files / "throughput.csv").is_file():
        return []
    plot.draw_run(directory / run.files)
    images = run_page.images(directory, run.files)
    return [replace(image, title=f"{image.title} · a run of the best point") for image in images]


def _byline(data: Study) -> str:
    words = [f"{len(data.points)} points, {data.runs_done} of {data.runs_total} runs"]
    if data.runs:
        days = sorted({run.started_at[:10] for run in data.runs if run.started_at})
        words.append(" to ".join(dict.fromkeys((days[0], days[-1]))) if days else "")
        words.append(f"commit {_listed(run.commit for run in data.runs)}")
        words.append(f"on {_listed(run.host for run in data.runs)}")
    return " · ".join(word for word in words if word)


def _listed(names) -> str:
    return ", ".join(dict.fromkeys(names))


def _badges(data: Study) -> list[tuple[str, int]]:
    runs = Counter(run.verdict for run in data.runs)
    return [(verdict, runs[verdict]) for verdict in VERDICTS if runs[verdict]]


def _notices(data: Study) -> list[str]:
    said = []
    if not data.complete:
        said.append(
            f"The study is not complete: {data.runs_done} of {data.runs_total} runs are done. "
            "The same command goes on where it stopped."
        )
    thin = [point for point in data.measured if point.metrics["throughput"].low is None]
    if thin:
        said.append(
            f"{len(thin)} of {len(data.points)} points have too few runs for an interval; they are "
            "drawn without a bar."
        )
    empty = len(data.points) - len(data.measured)
    if empty:
        said.append(f"{empty} points have no run that counts, and are in no curve.")
    if crowded := [run for run in data.runs if findings.is_crowded(run.summary)]:
        most = max(findings.others_cores(run.summary) for run in crowded)
        said.append(
            f"Runs during which other programs used up to {most:.1f} cores of a machine, so that "
            f"their figures may be too low: {len(crowded)} (marked crowded below). A run whose line is "
            "deleted from results.jsonl is done again by the same command."
        )
    for what, names in (
        ("commits", {r.commit for r in data.runs}),
        ("hosts", {r.host for r in data.runs}),
    ):
        if len(names) > 1:
            said.append(f"The runs are of {len(names)} {what}: compare their points with care.")
    if data.broken_lines:
        said.append(f"Lines of results.jsonl that could not be read: {data.broken_lines}.")
    return said


def _reasons(data: Study) -> list[tuple[str, str]]:
    """What is wrong with the runs that do not count, and why others are QUALIFIED: once a rule."""
    qualified = [run for run in data.runs if run.verdict == "QUALIFIED"]
    rules = Counter(rule for run in qualified for rule in run.findings)
    said = {rule: text for run in reversed(qualified) for rule, text in run.findings.items()}
    reasons = [
        ("QUALIFIED", f"{many} run{'s' * (many != 1)}, {rule}. {said[rule]}")
        for rule, many in rules.most_common()
    ]
    return _faults(data) + reasons


def _faults(data: Study) -> list[tuple[str, str]]:
    """Of the runs that do not count: they are in no curve."""
    faults = [
        (run.verdict, f"{study.label(run.values)}, repetition {run.repetition + 1}: {_why(run)}")
        for run in data.runs
        if not run.counts
    ]
    left = len(faults) - FAULTS_SHOWN
    shown = faults[:FAULTS_SHOWN]
    return [*shown, (faults[-1][0], f"and {left} more, see the runs below")] if left > 0 else shown


def _why(run: Run) -> str:
    """What failed, or else the gravest reasons, which come first."""
    return run.failure or " ".join(run.reasons[:2]) or "no reason was given"


def _figures(data: Study) -> list[Figure]:
    top = findings.best(data.measured)
    if top is None:
        return []
    interval = top.metrics["throughput"]
    detail = f"{_interval_text(interval, ops_text)}, {study.label(top.values) or 'default flags'}"
    made = [Figure("Final throughput", f"{ops_text(interval.median)} ops/s", detail)]
    if (p50 := top.median("latency_p50_us")) and (p99 := top.median("latency_p99_us")):
        made.append(Figure("p99 there", f"{ms_text(p99 / 1e3)} ms", f"p50 {ms_text(p50 / 1e3)} ms"))
    bends = findings.knees(data.measured)
    for bend in bends if len(bends) == 1 else ():  # several have their sentence
        value = f"{ops_text(bend.median('throughput'))} ops/s"
        detail = (
            f"{study.label(bend.values)}, p99 {ms_text(bend.median('latency_p99_us') / 1e3)} ms"
        )
        made.append(Figure("Knee", value, detail))
    if (run := data.typical_run(top)) and (moved := network(run.summary)):
        made.append(Figure("Network there", moved.rate, moved.detail))
    return made


def _interval_text(interval: Interval, write: Callable[[float], str]) -> str:
    if interval.low is None or interval.high is None:
        return f"{interval.n} run{'s' * (interval.n != 1)}: no interval"
    return f"{write(interval.low)} to {write(interval.high)}"


def _tables(data: Study) -> list[Table]:
    scaled = [(name, findings.scaling(points)) for name, points in data.parts]
    return [
        *(_scaling_table(name, rows) for name, rows in scaled if rows),
        *(_points_table(name, points) for name, points in data.grids),
        _use_table(data),
        _runs_table(data),
    ]


def _key(title: str, part: str) -> str:
    return study_figures.file_name(title.lower(), part)


def _titled(title: str, part: str) -> str:
    return study_figures.titled(title, part)


def _axis_cells(axes: list[str], values: dict[str, object]) -> list[Cell]:
    return [
        page.number(study.value_text(value), value)
        if study.is_number(value)
        else Cell(study.value_text(value), str(value), "word")
        for value in (values.get(axis, "–") for axis in axes)
    ]


def _axis_columns(axes: list[str], points: list[Point]) -> list[Column]:
    def kind(axis: str) -> str:
        found = [point.values[axis] for point in points if axis in point.values]
        return "number" if all(map(study.is_number, found)) else "text"

    return [Column(study.axis_name(axis), "", kind(axis)) for axis in axes]


def _axes(points: list[Point]) -> list[str]:
    return list(dict.fromkeys(axis for point in points for axis in point.values))


def _points_table(part: str, points: list[Point]) -> Table:
    axes = _axes(points)
    known = [m for m in METRICS if any(m[0] in point.metrics for point in points)]
    if all(point.median("hottest_server_share") == 1 for point in points):  # a single server
        known = [m for m in known if m[0] != "hottest_server_share"]

    def row(point: Point) -> list[Cell]:
        cells = _axis_cells(axes, point.values)
        for metric, _, write in known:
            interval = point.metrics.get(metric)
            detail = _interval_text(interval, write) if interval and metric == "throughput" else ""
            text = write(interval.median) if interval else ""
            cells.append(page.number(text, point.median(metric), detail))
        return [*cells, _worst(point), page.command(point.command)]

    return Table(
        key=_key("Points", part),
        title=_titled("Points", part),
        note="Medians of the runs that count; under the throughput its confidence interval. Sorted "
        "by runs, the worst verdict comes last.",
        columns=[
            *_axis_columns(axes, points),
            *(column for _, column, _ in known),
            Column("runs"),
            Column("command"),
        ],
        rows=[row(point) for point in points],
    )


def _worst(point: Point) -> Cell:
    seen = [verdict for verdict in VERDICTS if point.runs[verdict]]
    text = ", ".join(f"{point.runs[verdict]} {verdict}" for verdict in seen)
    return Cell(text or "none yet", VERDICTS.index(seen[-1]) if seen else "", "word")


def _scaling_table(part: str, rows: list[findings.Scaled]) -> Table:
    points = [row.point for row in rows]
    axes = _axes(points)
    return Table(
        key=_key("Scaling", part),
        title="Scaling",
        note="Ideal: each server does what the best setting with the fewest servers did. Ceiling: "
        "what skew leaves of it, when the hottest server does that much.",
        columns=[
            *_axis_columns(axes, points),
            Column("throughput", "ops/s", "number"),
            Column("speedup", "", "number"),
            Column("ideal", "ops/s", "number"),
            Column("of ideal", "%", "number"),
            Column("hottest", "% of ops", "number"),
            Column("ceiling", "ops/s", "number"),
        ],
        rows=[_scaled_cells(axes, row) for row in rows],
    )


def _scaled_cells(axes: list[str], row: findings.Scaled) -> list[Cell]:
    throughput = row.point.metrics["throughput"]
    share, reached = row.point.median("hottest_server_share"), throughput.median / row.ideal
    return [
        *_axis_cells(axes, row.point.values),
        page.number(
            ops_text(throughput.median), throughput.median, _interval_text(throughput, ops_text)
        ),
        page.number(f"{row.speedup:.2f}", row.speedup),
        page.number(ops_text(row.ideal), row.ideal),
        page.number(f"{reached * 100:.0f}", reached),
        page.number(f"{(share or 0) * 100:.1f}", share),
        page.number(ops_text(row.ceiling or 0), row.ceiling),
    ]


def _point_cell(values: dict[str, object]) -> Cell:
    text = study.label(values) or "default flags"
    return Cell(text, text)


def _use_table(data: Study) -> Table:
    """What each point's typical run took of network and processors."""
    rows = []
    for point in data.measured:
        run = data.typical_run(point)
        if run and (use := network(run.summary)):
            cpu = point.median("cpu_ns_per_op")
            busy = cpu * point.median("throughput") / 1e9 if cpu else None
            rows.append(
                [
                    _point_cell(point.values),
                    page.number(ops_text(run.summary["ops_per_sec"]), run.summary["ops_per_sec"]),
                    page.number(f"{use.sent * 8 / 1e9:.3g}", use.sent),
                    page.number(f"{use.received * 8 / 1e9:.3g}", use.received),
                    page.number(f"{use.bytes_per_op:.1f}", use.bytes_per_op),
                    page.number(f"{busy or 0:.2f}", busy),
                ]
            )
    return Table(
        key="utilisation",
        title="Utilisation",
        note="Of the run nearest to each point's median. Network as the clients' connections saw "
        "it, framing included; busy cores are CPU time an operation times throughput.",
        columns=[
            Column("point"),
            Column("throughput", "ops/s", "number"),
            Column("to servers", "Gbit/s", "number"),
            Column("from servers", "Gbit/s", "number"),
            Column("network", "bytes/op", "number"),
            Column("busy cores", "", "number"),
        ],
        rows=rows,
    )


def _reasons_cell(run: Run) -> Cell:
    """The rules' names, which stand for their sentences above; what failed, in its own words."""
    rules = [*run.findings, *(["crowded"] if findings.is_crowded(run.summary) else [])]
    text = ", ".join(rules) if run.counts else _why(run)
    return Cell(text, text)


def _runs_table(data: Study) -> Table:
    def row(run: Run) -> list[Cell]:
        ops = run.summary.get("ops_per_sec")
        return [
            page.number(str(run.order), run.order),
            _point_cell(run.values),
            page.number(str(run.repetition + 1), run.repetition),
            page.verdict(run.verdict),
            page.number(ops_text(ops or 0), ops),
            _reasons_cell(run),
            page.number(f"{run.elapsed_secs:.1f}", run.elapsed_secs),
            Cell(run.started_at[5:19].replace("T", " "), run.started_at, "word"),
            Cell(run.files and "open", run.files, "link" if run.files else "text"),
            page.command(run.command),
        ]

    return Table(
        key="runs",
        title="Runs",
        note="Every run in the order it was made. INVALID and FAILED ones are in no curve.",
        columns=[
            Column("order", "", "number"),
            Column("point"),
            Column("run", "of its point", "number"),
            Column("verdict"),
            Column("throughput", "ops/s", "number"),
            Column("reasons"),
            Column("took", "s", "number"),
            Column("started", "UTC"),
            Column("files"),
            Column("command"),
        ],
        rows=[row(run) for run in data.runs],
    )


def _facts(data: Study) -> list[tuple[str, str]]:
    facts = [("study", f"{data.name} ({data.kind})")]
    summaries = [run.summary for run in data.runs if run.summary]
    for name, values in (
        ("hosts", [run.host for run in data.runs]),
        ("machine", map(host_text, summaries)),
        ("commit", [run.commit for run in data.runs]),
        ("seeds", [str(run.seed) for run in data.runs if run.seed is not None]),
        ("workload", [summary.get("workload", {}).get("line") for summary in summaries]),
    ):
        known = list(dict.fromkeys(value for value in values if value))
        if known:
            more = f" and {len(known) - FACTS_SHOWN} more" if len(known) > FACTS_SHOWN else ""
            facts.append((name, "; ".join(known[:FACTS_SHOWN]) + more))
    return facts
