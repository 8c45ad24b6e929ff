"""The pictures of a run. Lines differ in style and marker: print without colour reads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

DPI = 200
SIZE_INCHES = (7.0, 3.6)
# Colour-blind safe (Okabe and Ito), dark enough to tell from white in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
LABELLED_PERCENTILES = (50, 90, 99, 99.9, 99.99)
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
    figure, axes = _axes()
    alone = "o" if len(data.seconds) == 1 else None  # a line of one point would not be seen
    axes.plot(data.seconds, data.total, color="black", marker=alone, linewidth=1.8, label="total")
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
    _save(figure, path)


def draw_latency(counts: Counter[int], note: str, path: Path) -> None:
    """The percentile curve. `counts`: highest value of a slot in nanoseconds -> operations."""
    figure, axes = _axes()
    shares, values = percentile_curve(counts)
    # The position of a share is the number of operations of which one takes longer: 99 % lie at
    # 100. A slot's step begins at the share below it, so the maximum has a place on the axis too.
    positions = [1 / (1 - share) for share in shares[:-1]]
    end = positions[-1] * 1.5
    axes.step([*positions, end], [*values[1:], values[-1]], where="post", color="black")
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
    _save(figure, path)


def draw_nodes(nodes: list[Node], note: str, path: Path) -> None:
    """CPU, memory and network of every node, one above the other."""
    width, height = SIZE_INCHES
    figure, rows = pyplot.subplots(
        3, 1, figsize=(width, 2 * height), sharex=True, layout="constrained"
    )
    for axes in rows:
        _plain(axes)
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
    _save(figure, path)


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
    axes.plot(x, y, marker="o", color="black", markersize=4)
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


def ms_text(value: float) -> str:
    """Three digits, never an exponent: 1,290 or 12.3 or 0.0123."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ops_text(value: float) -> str:
    """A count with its SI prefix: 13.2 M, 640 k, 0."""
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {prefix}"
    return f"{value:.3g}"


def _axes() -> tuple[Figure, Axes]:
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.88", linewidth=0.6)
    axes.set_axisbelow(True)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI)
    pyplot.close(figure)
