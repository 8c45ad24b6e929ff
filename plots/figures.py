"""A run's pictures. Lines differ in style and marker: print without colour reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from plots.hdr_log import Interval
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

OVER_TIME = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"), (1.0, "max"))
LABELLED_PERCENTILES = (50, 90, 99, 99.9, 99.99)
PART_PERCENTILES = ("p50", "p95", "p99")
# Room that a label takes to its right, as a factor on the logarithmic axis.
LABEL_WIDTH = 20


@dataclass(frozen=True)
class Throughput:
    """Operations answered in each second of the measured window."""

    seconds: list[int]
    total: list[float]
    servers: list[list[float]]  # one list a server


@dataclass(frozen=True)
class Node:
    """What one node used in each second of the measured window."""

    name: str
    role: str
    seconds: list[int]
    cpu: list[float]  # busy cores, in percent of all
    memory: list[float]  # bytes in use on the machine
    network: list[float]  # bytes received and sent


def draw_throughput(data: Throughput, note: str, path: Path) -> None:
    """Total and each server's operations a second. `note` is put behind the title."""
    figure, axes = new_axes()
    alone = "o" if len(data.seconds) == 1 else None  # a line of one point would not be seen
    axes.plot(data.seconds, data.total, color=INK, marker=alone, linewidth=1.8, label="total")
    # One server's line would lie on the total.
    for index, ops in enumerate(data.servers if len(data.servers) > 1 else []):
        axes.plot(
            data.seconds,
            ops,
            color=COLOURS[index % len(COLOURS)],
            linestyle=STYLES[index % len(STYLES)],
            marker=MARKERS[index % len(MARKERS)],
            markevery=max(1, len(data.seconds) // 12),
            markersize=4,
            linewidth=1.2,
            label=f"server {index}",
        )
    axes.set_title(f"Throughput, median {ops_text(median(data.total))} ops/s{note}", loc="left")
    axes.set_xlabel("time in the measured window (s)")
    axes.set_ylabel("answered operations (ops/s)")
    axes.set_xlim(0, data.seconds[-1] + 0.5)
    axes.set_ylim(0, max(max(data.total) * 1.08, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ops_text(value)))
    if len(data.servers) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path)


def draw_latency(counts: Counter[int], note: str, path: Path) -> None:
    """The percentile curve. `counts`: highest value of a slot in nanoseconds -> operations."""
    figure, axes = new_axes()
    shares, values = percentile_curve(counts)
    # The position of a share is the number of operations of which one takes longer: 99 % lie at
    # 100. A slot's step begins at the share below it, so the maximum has a place on the axis too.
    positions = [1 / (1 - share) for share in shares[:-1]]
    end = positions[-1] * 1.5
    axes.step([*positions, end], [*values[1:], values[-1]], where="post", color=INK)
    _mark_percentiles(axes, counts, positions[-1], values[-1])
    axes.set_xscale("log")
    ticks = percentile_ticks(end)
    axes.set_xticks([1 / (1 - tick / 100) for tick in ticks], [f"{tick:.10g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(1, max(end, 10))
    axes.set_ylim(0, values[-1] * 1.12)
    total = sum(counts.values())
    axes.set_title(f"Response time of an operation, {ops_text(total)} operations{note}", loc="left")
    axes.set_xlabel("percentile of the operations (%)")
    axes.set_ylabel("response time (ms)")
    save(figure, path)


def draw_latency_over_time(intervals: tuple[Interval, ...], note: str, path: Path) -> None:
    """Each second's own percentiles, so that a stall has a place in time."""
    figure, axes = new_axes()
    seconds = [interval.end_secs for interval in intervals if interval.counts]
    for index, (share, name) in enumerate(OVER_TIME):
        axes.plot(
            seconds,
            [value_at(part.counts, share) / 1e6 for part in intervals if part.counts],
            color=COLOURS[index],
            marker=MARKERS[index],
            markevery=max(1, len(seconds) // 12),
            markersize=4,
            linewidth=1.4,
            label=name,
        )
    axes.set_title(f"Response time in each second{note}", loc="left")
    axes.set_xlabel("time in the measured window (s)")
    axes.set_ylabel("response time (ms)")
    axes.set_xlim(0, max(seconds) + 0.5)
    axes.set_ylim(0, max(value_at(part.counts, 1) for part in intervals if part.counts) * 1.08e-6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    # The highest line's name on top, as the lines lie.
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, reverse=True)
    save(figure, path)


def draw_latency_parts(latencies: dict[str, dict[str, float]], note: str, path: Path) -> None:
    """Where an operation waited: the means of the parts end to end, percentiles side by side.

    `latencies`: microseconds by part (`fill`, `queue`, `service`, and `total`, last) and statistic.
    Means add up to the total's; percentiles do not, so each part has its own bar.
    """
    width, height = SIZE_INCHES
    rows = {"height_ratios": (1, 5), "sharex": True, "layout": "constrained"}
    figure, (means, percentiles) = pyplot.subplots(2, 1, figsize=(width, 1.2 * height), **rows)
    looks = dict(zip(latencies, (*COLOURS[:3], FAINT), strict=True))
    for axes in (means, percentiles):
        plain(axes)
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    _stack_means(means, latencies, looks)
    bar = 0.8 / len(looks)
    for place, (part, colour) in enumerate(looks.items()):
        values = [latencies[part][name] / 1e3 for name in PART_PERCENTILES]
        places = [row + (place - (len(looks) - 1) / 2) * bar for row in range(len(values))]
        drawn = percentiles.barh(places, values, bar * 0.9, color=colour, label=part)
        percentiles.bar_label(drawn, [ms_text(value) for value in values], padding=3, fontsize=8)
    percentiles.set_yticks(range(len(PART_PERCENTILES)), PART_PERCENTILES)
    percentiles.invert_yaxis()
    percentiles.margins(x=0.12)
    percentiles.set_title("percentiles of each: they do not add up", loc="left", fontsize=9)
    percentiles.set_xlabel("milliseconds")
    figure.suptitle(f"Response time in parts{note}", x=0.01, ha="left", fontsize=11)
    figure.legend(
        *percentiles.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    save(figure, path)


def _stack_means(
    axes: Axes, latencies: dict[str, dict[str, float]], looks: dict[str, str]
) -> None:
    """One bar of the parts' means; a part too small for its figure has none."""
    total, end = latencies["total"]["mean"] / 1e3, 0.0
    for part, colour in looks.items():
        mean = latencies[part]["mean"] / 1e3
        if part != "total":
            axes.barh("mean", mean, left=end, color=colour, height=0.6)
            if mean > total / 12:
                look = {"ha": "center", "va": "center", "color": PAPER, "fontsize": 8}
                axes.text(end + mean / 2, 0, ms_text(mean), **look)
            end += mean
    look = {"textcoords": "offset points", "va": "center", "fontsize": 8}
    axes.annotate(f"total {ms_text(total)}", (end, 0), (4, 0), **look)
    axes.set_title("means: they add up to the total", loc="left", fontsize=9)


def draw_shares(shares: list[float], expected: list[float], note: str, path: Path) -> None:
    """Each server's share of the operations, beside what theory gives it, if that is known."""
    figure, axes = new_axes()
    places = range(len(shares))
    axes.bar(places, [share * 100 for share in shares], color=COLOURS[0], width=0.6)
    for place, share in zip(places, shares, strict=True):
        axes.annotate(
            f"{share * 100:.1f} %",
            (place, 0),
            (0, 6),
            textcoords="offset points",
            ha="center",
            color=PAPER,
        )
    even = 100 / len(shares)
    axes.axhline(even, color=INK, linestyle="--", linewidth=1.2, label=f"even, {even:.3g} %")
    if expected:
        axes.hlines(
            [share * 100 for share in expected],
            [place - 0.38 for place in places],
            [place + 0.38 for place in places],
            color=COLOURS[1],
            linewidth=2.2,
            label="in theory",
        )
    axes.set_title(f"Share of the operations{note}", loc="left")
    axes.set_xlabel("server")
    axes.set_ylabel("share of the operations (%)")
    axes.set_xticks(list(places))
    axes.set_xlim(-0.6, len(shares) - 0.4)
    axes.set_ylim(0, max([*shares, *expected]) * 115)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path)


def draw_nodes(nodes: list[Node], note: str, path: Path) -> None:
    """CPU, memory and network of every node, one above the other."""
    width, height = SIZE_INCHES
    figure, rows = pyplot.subplots(
        3, 1, figsize=(width, 2 * height), sharex=True, layout="constrained"
    )
    for axes in rows:
        plain(axes)
    for index, node in enumerate(nodes):
        look = {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": "-" if node.role == "server" else "--",
            "marker": MARKERS[index % len(MARKERS)],
            "markevery": max(1, len(node.seconds) // 12),
            "markersize": 4,
            "linewidth": 1.2,
            "label": f"{node.name} ({node.role})",
        }
        for axes, values in zip(rows, (node.cpu, node.memory, node.network), strict=True):
            axes.plot(node.seconds, values, **look)
    cpu, memory, network = rows
    cpu.set_title(f"What the nodes used{note}", loc="left")
    cpu.set_ylabel("CPU (% of all cores)")
    cpu.set_ylim(0, 105)
    memory.set_ylabel("memory in use (B)")
    network.set_ylabel("network, both ways (B/s)")
    network.set_xlabel("time in the measured window (s)")
    network.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    network.set_xlim(0, max(node.seconds[-1] for node in nodes) + 0.5)
    for axes in (memory, network):
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: ops_text(value)))
    cpu.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    save(figure, path)


def _mark_percentiles(axes: Axes, counts: Counter[int], end: float, maximum: float) -> None:
    """Labels the percentiles that people quote, as far as the curve goes, and the maximum."""
    for percentile in LABELLED_PERCENTILES:
        position = 1 / (1 - percentile / 100)
        if position * LABEL_WIDTH < end:
            value = value_at(counts, percentile / 100) / 1e6
            _label(axes, position, value, f"p{percentile:g}", (6, -10), "left")
    _label(axes, end, maximum, "max", (0, 6), "right")


def _label(
    axes: Axes, x: float, y: float, name: str, offset_points: tuple[int, int], side: str
) -> None:
    axes.plot(x, y, marker="o", color=INK, markersize=4)
    axes.annotate(
        f"{name}  {ms_text(y)} ms",
        (x, y),
        textcoords="offset points",
        xytext=offset_points,
        ha=side,
        fontsize=8,
    )


def percentile_curve(counts: Counter[int]) -> tuple[list[float], list[float]]:
    """Shares of the operations (0 to 1) and the milliseconds that they took at most."""
    total = sum(counts.values())
    shares, values = [0.0], [min(counts) / 1e6]
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        shares.append(seen / total)
        values.append(value / 1e6)
    return shares, values


def value_at(counts: Counter[int], share: float) -> int:
    """The least value that at least `share` of the operations do not exceed."""
    wanted = share * sum(counts.values())
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen >= wanted:
            return value
    return max(counts)


def percentile_ticks(end: float) -> list[float]:
    """0, 90, 99, 99.9, … as far as an axis goes that ends at one operation in `end`."""
    ticks = [0.0]
    while 10 ** len(ticks) <= end and len(ticks) <= 8:
        ticks.append(round(100 - 100 / 10 ** len(ticks), 10))
    return ticks


def median(values: list[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2
