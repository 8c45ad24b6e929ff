"""A study's pictures: each is one function, from the study to figures, or to none without data.

A filled mark is a point whose runs are all VALID, a hollow one has QUALIFIED runs. Bars are
confidence intervals; a mark without a bar had too few runs for one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from plots import findings, study
from plots.study import Point, Run, Study
from plots.style import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    PAPER,
    SIZE_INCHES,
    STYLES,
    ms_text,
    new_axes,
    ops_text,
    plain,
    save,
)

# Metric, its name in a legend, and its factor to the drawn unit.
LATENCIES = (
    ("latency_mean_us", "mean"),
    ("latency_p50_us", "p50"),
    ("latency_p95_us", "p95"),
    ("latency_p99_us", "p99"),
)
US_TO_MS = 1e-3
# From this ratio of largest to smallest value on, an axis is logarithmic.
LOG_RATIO = 8
CEILING = "skew's ceiling"
THEORY = "in theory"


@dataclass(frozen=True)
class Picture:
    """A picture that lies in the study's directory as NAME.png and NAME.svg."""

    name: str
    title: str
    caption: str


Drawn = Iterator[tuple[Picture, Figure]]
_DRAWERS: list[Callable[[Study], Drawn]] = []


def picture(draw: Callable[[Study], Drawn]) -> Callable[[Study], Drawn]:
    """Makes a function one of those that `draw_all` calls, in the order of this file."""
    _DRAWERS.append(draw)
    return draw


def draw_all(data: Study, directory: Path) -> list[Picture]:
    """Draws every picture that the study has data for."""
    pictures = []
    for draw in _DRAWERS:
        for drawn, figure in draw(data):
            save(figure, directory / drawn.name)
            pictures.append(drawn)
    return pictures


@picture
def throughput(data: Study) -> Drawn:
    """Throughput over each swept axis."""
    for part, points, axis in _axes_of(data):
        figure, axes = new_axes()
        _curves(axes, points, axis, "throughput", 1)
        axes.set_ylim(0, None)
        axes.set_ylabel("throughput (ops/s)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ops_text(value)))
        _legend(figure, points, axis)
        yield _named("throughput", "Throughput", part, axis), figure


@picture
def latency(data: Study) -> Drawn:
    """The mean and the percentiles over each swept axis; of several lines, a panel for each."""
    for part, points, axis in _axes_of(data, "latency_p99_us"):
        if len(_series(points, axis)) == 1:
            yield _named("latency", "Response time", part, axis), _percentiles(points, axis)
            continue
        panels = {"sharex": True, "sharey": True, "layout": "constrained"}
        figure, grid = pyplot.subplots(2, 2, figsize=(SIZE_INCHES[0], 5.0), **panels)
        for axes, (metric, name) in zip(grid.flat, LATENCIES, strict=True):
            plain(axes)
            _curves(axes, points, axis, metric, US_TO_MS)
            axes.set_title(name, loc="left")
        for axes in grid[0]:
            axes.set_xlabel("")
        for axes in grid[:, 0]:
            axes.set_ylabel("response time (ms)")
        _milliseconds(grid[0, 0].yaxis, [p.median(m) for p in points for m, _ in LATENCIES])
        _legend(figure, points, axis)
        yield _named("latency", "Response time", part, axis), figure


def _percentiles(points: list[Point], axis: str) -> Figure:
    """One setting's mean and percentiles, a line for each."""
    figure, axes = new_axes()
    for index, (metric, name) in enumerate(LATENCIES):
        _curves(axes, points, axis, metric, US_TO_MS, index)
        colour, marker = _look(index)
        axes.plot([], [], color=colour, marker=marker, markersize=5, label=name)
    axes.set_ylabel("response time (ms)")
    _milliseconds(axes.yaxis, [p.median(m) for p in points for m, _ in LATENCIES])
    _legend(figure, points, axis)
    return figure


@picture
def failures(data: Study) -> Drawn:
    """The share of failed operations over each swept axis, once any failed."""
    for part, points, axis in _axes_of(data, "failure_rate"):
        if any(point.median("failure_rate") for point in points):
            figure, axes = new_axes()
            _curves(axes, points, axis, "failure_rate", 100)
            axes.set_ylim(0, None)
            axes.set_ylabel("failed operations (%)")
            _legend(figure, points, axis)
            yield _named("failures", "Failure rate", part, axis), figure


@picture
def throughput_latency(data: Study) -> Drawn:
    """Every point's throughput against its p99; the frontier and its knee."""
    points = [point for point in data.measured if point.median("latency_p99_us")]
    if len(points) < 3:
        return
    figure, axes = new_axes()
    kinds = findings.by_work(points)
    groups = kinds if len(kinds) > 1 else dict(data.parts)
    for index, (name, group) in enumerate(groups.items()):
        colour, marker = _look(index)
        for point in group:
            if point.median("latency_p99_us"):
                x, y = point.metrics["throughput"], point.metrics["latency_p99_us"]
                _mark(axes, x, y, (1, US_TO_MS), colour, marker, point.qualified)
        axes.plot([], [], marker, color=colour, label=name or "points")
    _frontiers(axes, kinds)
    axes.set_xlabel("throughput (ops/s)")
    axes.set_ylabel("p99 response time (ms)")
    axes.set_xlim(0, None)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: ops_text(value)))
    _milliseconds(axes.yaxis, [point.median("latency_p99_us") for point in points])
    handles = [*axes.get_legend_handles_labels()[0], *_mark_handles(points)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    caption = (
        "Right and low is good. The frontier joins the points that no other beats in both; the "
        "knee is where more throughput begins to cost mostly waiting."
    )
    yield Picture("frontier", "Throughput against response time", caption), figure


def _frontiers(axes: Axes, kinds: dict[str, list[Point]]) -> None:
    """A line for each kind of work, and a ring around its knee."""

    def place(point: Point) -> tuple[float, float]:
        return point.median("throughput"), point.median("latency_p99_us") * US_TO_MS

    ring = {"marker": "o", "linestyle": "", "markersize": 15, "markerfacecolor": "none"}
    names = ["frontier", "knee"]
    for same in kinds.values():
        edge = findings.frontier(same)
        axes.plot(*zip(*map(place, edge), strict=True), "-", color=INK, zorder=1, label=names[0])
        if bend := findings.knee(edge):
            only = f"knee: {study.label(bend.values)}" if len(kinds) == 1 else names[1]
            axes.plot(*place(bend), color=INK, label=only, **ring)
            names[1] = "_"
        names[0] = "_"  # one entry in the legend is enough


@picture
def scaling(data: Study) -> Drawn:
    """Throughput over servers, against ideal scaling and the ceiling that skew sets."""
    for name, points in data.parts:
        rows = findings.scaling(points)
        if not rows:
            continue
        figure, axes = new_axes()
        _curves(axes, points, "servers", "throughput", 1)
        tops = {row.servers: row for row in sorted(rows, key=lambda row: row.speedup)}.values()
        ideal = sorted((row.servers, row.ideal) for row in tops)
        axes.plot(*zip(*ideal, strict=True), "--", color=INK, linewidth=1.2, label="ideal")
        ceiling = sorted((row.servers, row.ceiling) for row in tops if row.ceiling)
        axes.plot([x for x, _ in ceiling], [y for _, y in ceiling], ":", color=INK, label=CEILING)
        axes.set_ylim(0, None)
        axes.set_ylabel("throughput (ops/s)")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ops_text(value)))
        _legend(figure, points, "servers")
        caption = (
            "Ideal: each server does what the best setting with the fewest servers did. Skew's "
            "ceiling: the hottest server does that much, and every other only its share."
        )
        yield Picture(file_name("scaling", name), titled("Scaling", name), caption), figure


@picture
def hottest_share(data: Study) -> Drawn:
    """The hottest server's share over theta, or else over servers, against theory."""
    for name, part in data.parts:
        points = [point for point in part if "hottest_server_share" in point.metrics]
        axis = next((axis for axis in ("theta", "servers") if axis in study.swept(points)), None)
        if axis is None or all(point.median("hottest_server_share") == 1 for point in points):
            continue
        figure, axes = new_axes()
        _curves(axes, points, axis, "hottest_server_share", 100)
        theory = {
            (point.values[axis], point.median("hottest_server_expected_share"))
            for point in points
            if "hottest_server_expected_share" in point.metrics
        }
        look = {"marker": "_", "linestyle": "", "markersize": 22, "markeredgewidth": 1.6}
        places, expected = zip(*theory, strict=True) if theory else ((), ())
        axes.plot(places, [100 * share for share in expected], color=INK, label=THEORY, **look)
        axes.set_ylim(0, None)
        axes.set_ylabel("hottest server's share (%)")
        _legend(figure, points, axis)
        caption = "In theory: what the chooser's probabilities and the keys' placement make of it."
        title = titled(f"Hottest server's share over {study.axis_name(axis)}", name)
        yield Picture(file_name(f"shares-{axis}", name), title, caption), figure


@picture
def every_share(data: Study) -> Drawn:
    """Every server's share over theta, against theory; a panel for each number of servers."""
    for name, part in data.parts:
        counts = _by_servers(data, part)
        if "theta" not in study.swept(part) or not counts:
            continue
        size = (SIZE_INCHES[0], 0.8 + 2.6 * len(counts))
        figure, rows = pyplot.subplots(
            len(counts), 1, figsize=size, sharex=True, squeeze=False, layout="constrained"
        )
        for axes, (servers, runs) in zip(rows[:, 0], counts.items(), strict=True):
            plain(axes)
            _shares_of_runs(axes, servers, runs)
            axes.set_title(f"{servers} servers", loc="left")
            axes.set_ylabel("share (%)")
        rows[-1, 0].set_xlabel(study.axis_title("theta"))
        most = rows[-1, 0].get_legend_handles_labels()
        figure.legend(*most, loc="outside lower center", ncols=4, frameon=False)
        caption = (
            "A mark is a run. Lines: what the chooser's probabilities and the keys' placement make "
            "of each server's share. Short runs stray from it, by the operations in progress at "
            "both ends of their window."
        )
        title = titled("Every server's share over theta", name)
        yield Picture(file_name("server-shares", name), title, caption), figure


def _by_servers(data: Study, points: list[Point]) -> dict[int, list[Run]]:
    """The counted runs of these points that had several servers, by how many, the fewest first."""
    runs: dict[int, list[Run]] = {}
    for run in (run for point in points for run in data.runs_of(point) if run.counts):
        runs.setdefault(len(run.summary["per_server"]), []).append(run)
    return {servers: runs[servers] for servers in sorted(runs) if servers > 1}


def _shares_of_runs(axes: Axes, servers: int, runs: list[Run]) -> None:
    """Each server's share in each of the runs, and a line through what was expected."""
    ordered = sorted(runs, key=lambda run: run.values["theta"])
    thetas = [run.values["theta"] for run in ordered]
    for server in range(servers):
        colour, marker = _look(server)
        parts = [run.summary["per_server"][server] for run in ordered]
        shares = [part["share"] * 100 for part in parts]
        style = {"marker": marker, "linestyle": "", "markersize": 5, "markerfacecolor": PAPER}
        axes.plot(thetas, shares, color=colour, label=f"server {server}", **style)
        expected = [part.get("expected_share") for part in parts]
        if None not in expected:
            line = [share * 100 for share in expected]
            axes.plot(thetas, line, color=colour, linewidth=1, zorder=1)
    axes.axhline(100 / servers, color=FAINT, linestyle=":", linewidth=1.2, label="even")
    ticks = sorted(set(thetas))
    axes.set_xticks(ticks, [study.value_text(theta) for theta in ticks])
    axes.set_ylim(0, None)


@picture
def cpu(data: Study) -> Drawn:
    """CPU time per operation over each swept axis."""
    for part, points, axis in _axes_of(data, "cpu_ns_per_op"):
        figure, axes = new_axes()
        _curves(axes, points, axis, "cpu_ns_per_op", 1)
        axes.set_ylim(0, None)
        axes.set_ylabel("CPU time of all nodes (ns per operation)")
        _legend(figure, points, axis)
        yield _named("cpu", "CPU time per operation", part, axis), figure


def draw_layers(ceilings: Path, directory: Path) -> Picture:
    """Cost per operation by layer, from what `batchkv-bench ceilings` measured."""
    rows = json.loads(ceilings.read_text(encoding="utf-8").strip().splitlines()[-1])
    figure, axes = new_axes()
    costs = [row["cpu_ns_per_op"] for row in rows]
    medians = [cost["median"] for cost in costs]
    spans = zip(*((c["median"] - c["low"], c["high"] - c["median"]) for c in costs), strict=True)
    colours = [FAINT if row["layer"].startswith("mover") else COLOURS[0] for row in rows]
    axes.barh(range(len(rows)), medians, color=colours, height=0.65)
    axes.errorbar(medians, range(len(rows)), xerr=list(spans), fmt="none", ecolor=INK, capsize=3)
    for place, cost in enumerate(costs):
        text = f"{cost['median']:.3g} ns"
        axes.annotate(text, (cost["high"], place), (5, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [row["layer"] for row in rows])
    axes.set_xlim(0, max(cost["high"] for cost in costs) * 1.15)
    axes.invert_yaxis()
    axes.set_xlabel("CPU time (ns per operation)")
    save(figure, directory / "layers")
    caption = (
        f"Each layer of the standard job alone, with the same bytes, from {ceilings.name}. Grey: "
        "merely moving the bytes. These are not costs of this report's runs."
    )
    return Picture("layers", "Cost per operation by layer", caption)


def _axes_of(data: Study, metric: str = "throughput") -> Iterator[tuple[str, list[Point], str]]:
    """Each part's points that have the metric, once for each axis that it sweeps.

    An axis of words is drawn as lines over the others, and has pictures only where it is alone.
    """
    for name, part in data.grids:
        points = [point for point in part if metric in point.metrics]
        axes = study.swept(points)
        numeric = [axis for axis, values in axes.items() if all(map(study.is_number, values))]
        for axis in numeric or axes:
            yield name, points, axis


def _series(points: list[Point], axis: str) -> dict[str, list[Point]]:
    """Lines of the points that differ in this axis alone, by what they have in common."""
    others = [name for name in study.swept(points) if name != axis]
    ordered = {name: study.swept(points)[name] for name in others}
    lines: dict[str, list[Point]] = {}
    for point in sorted(
        points, key=lambda p: [ordered[name].index(p.values.get(name)) for name in others]
    ):
        lines.setdefault(study.label(point.values, others), []).append(point)
    return lines


def _curves(
    axes: Axes, points: list[Point], axis: str, metric: str, factor: float, first: int = 0
) -> None:
    """A metric over an axis: a line for each setting of the other axes, with its intervals.

    `first` is the place of its first line among all lines of the picture.
    """
    places = _place_axis(axes, axis, study.swept(points)[axis])
    for index, line in enumerate(_series(points, axis).values(), start=first):
        colour, marker = _look(index)
        drawn = [point for point in line if metric in point.metrics]
        drawn.sort(key=lambda point: places[point.values[axis]])
        x = [places[point.values[axis]] for point in drawn]
        y = [point.median(metric) * factor for point in drawn]
        axes.plot(x, y, color=colour, linestyle=_line(index), linewidth=1.3)
        for place, point in zip(x, drawn, strict=True):
            here = study.Interval(place, None, None, 1)
            _mark(axes, here, point.metrics[metric], (1, factor), colour, marker, point.qualified)


def _mark(
    axes: Axes,
    x: study.Interval,
    y: study.Interval,
    factors: tuple[float, float],
    colour: str,
    marker: str,
    qualified: bool,
) -> None:
    axes.errorbar(
        x.median * factors[0],
        y.median * factors[1],
        xerr=_bar(x, factors[0]),
        yerr=_bar(y, factors[1]),
        color=colour,
        marker=marker,
        markersize=5.5,
        markerfacecolor=PAPER if qualified else colour,
        capsize=2.5,
        elinewidth=1,
    )


def _bar(interval: study.Interval, factor: float) -> list[list[float]] | None:
    if interval.low is None or interval.high is None:
        return None
    below, above = interval.median - interval.low, interval.high - interval.median
    return [[max(below, 0) * factor], [max(above, 0) * factor]]


def _look(index: int) -> tuple[str, str]:
    """Colour and marker of a line; the pairs repeat after 24 lines."""
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def _line(index: int) -> object:
    return ("-", *STYLES)[index // len(COLOURS) % (len(STYLES) + 1)]


def _place_axis(axes: Axes, axis: str, values: list) -> dict[object, float]:
    """Scales the horizontal axis for these values; where each of them lies."""
    axes.set_xlabel(study.axis_title(axis))
    if not all(study.is_number(value) for value in values):
        axes.set_xticks(range(len(values)), [study.value_text(value) for value in values])
        axes.set_xlim(-0.4, len(values) - 0.6)
        axes.tick_params(axis="x", rotation=20)
        return {value: place for place, value in enumerate(values)}
    if values[0] > 0 and values[-1] / values[0] >= LOG_RATIO:
        axes.set_xscale("log", base=2)
    axes.set_xticks(values, [study.value_text(value) for value in values])
    axes.xaxis.set_minor_locator(NullLocator())
    if len(values) > 8:
        axes.tick_params(axis="x", rotation=45)
    return {value: value for value in values}


def _milliseconds(axis: object, values: list[float | None]) -> None:
    """A scale for response times, logarithmic where they differ widely."""
    known = [value * US_TO_MS for value in values if value]
    if max(known) / min(known) < LOG_RATIO:
        axis.axes.set_ylim(0, None)
    else:
        axis.axes.set_yscale("log")
        axis.axes.set_ylim(10 ** math.floor(math.log10(min(known))), None)
    axis.set_major_formatter(FuncFormatter(lambda value, _: ms_text(value)))


def _legend(figure: Figure, points: list[Point], axis: str) -> None:
    """The lines' names and the two kinds of marks, below the picture."""
    handles = []
    lines = _series(points, axis)
    for index, name in enumerate(lines if len(lines) > 1 else ()):
        colour, marker = _look(index)
        style = {"marker": marker, "linestyle": _line(index), "markersize": 5}
        handles.append(Line2D([], [], color=colour, label=name, **style))
    if len(figure.axes) == 1:
        handles += [line for line in figure.axes[0].get_lines() if line.get_label()[0] != "_"]
    handles += _mark_handles(points)
    columns = 4 if max(len(handle.get_label()) for handle in handles) < 18 else 2
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def _mark_handles(points: list[Point]) -> list[Line2D]:
    """What the two kinds of marks among these points mean."""
    words = {False: ("all runs VALID", FAINT), True: ("some runs QUALIFIED", PAPER)}
    look = {"marker": "o", "linestyle": "", "markersize": 5, "color": FAINT}
    kinds = [words[qualified] for qualified in sorted({point.qualified for point in points})]
    return [Line2D([], [], label=text, markerfacecolor=face, **look) for text, face in kinds]


def _named(kind: str, what: str, part: str, axis: str) -> Picture:
    caption = "Median of each point's runs with its confidence interval."
    title = titled(f"{what} over {study.axis_name(axis)}", part)
    return Picture(file_name(f"{kind}-{axis}", part), title, caption)


def titled(title: str, part: str) -> str:
    """A title that names its part of the study, unless it does so already."""
    return title if part.lower() in title.lower() else f"{title} · {part}"


def file_name(name: str, part: str) -> str:
    words = "".join(letter if letter.isalnum() else "-" for letter in part.lower())
    return name if words in name else f"{name}-{words}"
