#!/usr/bin/env python3
"""Draws a run's result files: `python -m plots.plot logs/latest`.

Reads throughput.csv and latency.hlog (and the verdict, the latency's parts and the servers' shares
from summary.json, and nodes.csv, if they are there) and writes the pictures beside them, each as PNG and as SVG. What
can be drawn is drawn; it ends with exit code 1 and a sentence that names the file when a picture
could not be drawn at all.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

try:
    from plots import figures, hdr_log
except ModuleNotFoundError as error:
    sys.exit(
        f"plot.py: the Python package {error.name} is missing. run-cluster.sh sets it up; by hand: "
        "python3 -m venv .venv && .venv/bin/pip install -r plots/requirements.txt, then "
        ".venv/bin/python -m plots.plot DIR"
    )


class FileProblem(Exception):
    """Why a file gives no picture; the text names the file."""


def read_throughput(path: Path) -> figures.Throughput:
    """Reads throughput.csv; a row that is cut off is skipped with a warning."""
    _require(path)
    data = figures.Throughput([], [], [])
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        absent = [name for name in ("second", "ops") if name not in columns]
        if absent:
            raise FileProblem(f"{path} has no column {' and no column '.join(absent)}")
        servers = [name for name in columns if name.startswith("server_")]
        data.servers.extend([] for _ in servers)
        for row in rows:
            try:
                if row[columns[-1]] is None:
                    raise ValueError("columns are missing")
                second, ops = int(row["second"]), float(row["ops"])
                parts = [float(row[name]) for name in servers]
            except (TypeError, ValueError) as error:
                warn(f"{path}, line {rows.line_num} is left out: {error}")
                continue
            data.seconds.append(second)
            data.total.append(ops)
            for server, part in zip(data.servers, parts, strict=True):
                server.append(part)
    if not data.seconds:
        raise FileProblem(f"{path} holds no second that could be drawn")
    return data


def read_latency(path: Path) -> hdr_log.Log:
    """Reads latency.hlog; a line that is cut off is skipped with a warning."""
    _require(path)
    log = hdr_log.read_log(path)
    for number in log.broken_lines:
        warn(f"{path}, line {number} is left out: cut off or damaged")
    if not log.counts:
        raise FileProblem(f"{path} holds no latency that could be drawn")
    return log


def read_nodes(path: Path) -> list[figures.Node]:
    """Reads nodes.csv; a row that is cut off is skipped with a warning."""
    nodes: dict[str, figures.Node] = {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.DictReader(file)
        for row in rows:
            try:
                busy = sum(float(row[f"{kind}_cores"]) for kind in ("user", "system", "softirq"))
                network = float(row["received_bytes"]) + float(row["sent_bytes"])
                cpu = 100 * busy / float(row["cores"])
                second, memory = int(row["second"]), float(row["memory_used_bytes"])
            except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                warn(f"{path}, line {rows.line_num} is left out: {error}")
                continue
            fresh = figures.Node(row["node"], row["role"], [], [], [], [])
            node = nodes.setdefault(row["node"], fresh)
            node.seconds.append(second)
            node.cpu.append(cpu)
            node.memory.append(memory)
            node.network.append(network)
    return list(nodes.values())


def _require(path: Path) -> None:
    if not path.is_file():
        raise FileProblem(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise FileProblem(f"{path} is empty")


def read_summary(directory: Path) -> dict:
    """A run's summary.json; empty where there is none that can be read."""
    try:
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return summary if isinstance(summary, dict) else {}


def verdict_note(summary: dict) -> str:
    """What a title says of a run that is not plainly valid."""
    verdict = summary.get("verdict", "VALID")
    return "" if verdict == "VALID" else f" ({verdict} run)"


def draw_throughput(directory: Path, summary: dict) -> None:
    data = read_throughput(directory / "throughput.csv")
    figures.draw_throughput(data, verdict_note(summary), directory / "throughput.png")


def draw_latency(directory: Path, summary: dict) -> None:
    log = read_latency(directory / "latency.hlog")
    note = verdict_note(summary)
    figures.draw_latency(log.counts, note, directory / "latency.png")
    figures.draw_latency_over_time(log.intervals, note, directory / "latency-over-time.png")


def draw_latency_parts(directory: Path, summary: dict) -> None:
    """Nothing where the run has no parts: nothing was measured."""
    total, parts = summary.get("latency_us"), summary.get("latency_parts_us")
    if total and parts:
        # Server and network, where they are told apart, lie within the service.
        latencies = {name: parts[name] for name in ("fill", "queue", "service")}
        figures.draw_latency_parts(
            latencies | {"total": total}, verdict_note(summary), directory / "latency-parts.png"
        )


def draw_shares(directory: Path, summary: dict) -> None:
    """Nothing for a single server: it has all."""
    servers = summary.get("per_server", ())
    if len(servers) > 1:
        expected = [server.get("expected_share") for server in servers]
        figures.draw_shares(
            [server["share"] for server in servers],
            [] if None in expected else expected,
            verdict_note(summary),
            directory / "shares.png",
        )


def draw_nodes(directory: Path, summary: dict) -> None:
    """Nothing where no node told what it used: without such counters the table is empty."""
    path = directory / "nodes.csv"
    if path.is_file() and (nodes := read_nodes(path)):
        figures.draw_nodes(nodes, verdict_note(summary), directory / "nodes.png")


# Each draws one or more pictures from a run's directory and its summary.
DRAWN = {
    "throughput.png": draw_throughput,
    "latency.png": draw_latency,
    "latency-parts.png": draw_latency_parts,
    "shares.png": draw_shares,
    "nodes.png": draw_nodes,
}


def draw_run(directory: Path) -> int:
    """Draws what the directory's files give; how many could not be drawn."""
    summary = read_summary(directory)
    problems = 0
    for name, draw in DRAWN.items():
        try:
            draw(directory, summary)
        except (FileProblem, OSError) as problem:
            warn(f"{name} was not drawn: {problem}")
            problems += 1
    return problems


def warn(text: str) -> None:
    print(f"plot.py: {text}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    directory = Path(arguments[0])
    if not directory.is_dir():
        warn(f"{directory} is not a directory of result files")
        return 1
    return 1 if draw_run(directory) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
