"""A run's page: its pictures, its words and its tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from plots import findings, page, plot, study_figures
from plots.page import Cell, Column, Figure, Page, Table
from plots.style import ms_text, ops_text, percent

# Title and caption of a run's pictures, in the order of the page; others follow under their names.
PICTURES = {
    "throughput": ("Throughput", "Operations answered in each second of the measured window."),
    "latency": (
        "Response time by percentile",
        "From an operation's generation, or in an open loop its intended start, to its answer's "
        "decoding.",
    ),
    "latency-parts": (
        "Response time in parts",
        "Fill: until the operation's batch was closed. Queue: until its frame was written. "
        "Service: network and server, until its answer was decoded. Total: all of it.",
    ),
    "latency-over-time": ("Response time over time", "Each second's own percentiles."),
    "nodes": ("What the nodes used", "CPU, memory and network of each node in each second."),
    "shares": (
        "Share of the servers",
        "Beside what the chooser's probabilities and the placement of the keys make of it.",
    ),
}


# Statistics of summary.json's latencies, and how they are called.
LATENCIES = {name: name for name in ("mean", "p50", "p95", "p99")} | {"p999": "p99.9", "max": "max"}


class RunError(Exception):
    """Why a directory gives no page; the text names the file."""


def make(directory: Path, ceilings: Path | None) -> tuple[Page, int]:
    """Draws a run's pictures and makes its page; how many pictures could not be drawn."""
    summary = plot.read_summary(directory)
    if not summary:
        raise RunError(f"{directory / 'summary.json'} holds no summary of a run")
    problems = plot.draw_run(directory)
    layers = [study_figures.draw_layers(ceilings, directory)] if ceilings else []
    verdict = summary["verdict"]
    return (
        Page(
            kind="run",
            title=f"{ops_text(summary['ops_per_sec'])} operations a second",
            byline=_byline(directory, summary),
            badges=[(verdict, 1)],
            notices=[],
            sentences=_sentences(summary),
            reasons=[(verdict, reason) for reason in summary["reasons"]],
            figures=_figures(summary),
            images=images(directory, last=layers),
            tables=_tables(summary),
            facts=_facts(directory, summary),
            command=_command(directory),
        ),
        problems,
    )


def _byline(directory: Path, summary: dict) -> str:
    counts = f"{_many(len(summary['per_server']), 'server')}, {_many(summary['clients'], 'client')}"
    return f"{directory.resolve().name} · {counts} · commit {summary['commit']}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _sentences(summary: dict) -> list[str]:
    ops, secs = summary["ops_per_sec"], summary["measured_secs"]
    good = {
        "VALID": "no rule spoke",
        "QUALIFIED": "true, but to be read with the reasons given",
        "INVALID": "the figures are wrong or not provably right",
    }[summary["verdict"]]
    said = [
        f"{ops_text(ops)} operations were answered a second, over {secs:g} s. The run is "
        f"{summary['verdict']}: {good}."
    ]
    if latency := summary.get("latency_us"):
        said.append(
            f"Half of the operations were answered within {ms_text(latency['p50'] / 1e3)} ms, 99 % "
            f"within {ms_text(latency['p99'] / 1e3)} ms. {_loop(summary)}"
        )
    if parts := summary.get("latency_parts_us"):
        fill, queue, service = (
            ms_text(parts[part]["mean"] / 1e3) for part in ("fill", "queue", "service")
        )
        said.append(
            f"On average an operation waited {fill} ms until its batch was closed, {queue} ms more "
            f"until it was sent, and {service} ms for its answer."
        )
    said.append(_checks(summary))
    return said + findings.limits(summary)


def _loop(summary: dict) -> str:
    flags = summary["flags"]
    if flags.get("rate"):
        return f"The offered rate was {flags['rate']}."
    return (
        f"The loop is closed: {flags.get('tasks', '?')} tasks with {flags.get('batch-size', '?')} "
        "operations a request wait for their answers, so more load means longer waiting."
    )


def _checks(summary: dict) -> str:
    hits = summary.get("hit_rate")
    found = f", {percent(hits, 4)} of the gets found a value" if hits is not None else ""
    return (
        f"{summary['verified']:,} values were checked, {summary['verify_failures']:,} were wrong; "
        f"{summary['errors']:,} operations failed{found}."
    )


@dataclass(frozen=True)
class Network:
    """What the clients' connections carried in the measured window, bytes a second."""

    sent: float
    received: float
    ops_per_sec: float

    @property
    def bytes_per_op(self) -> float:
        return (self.sent + self.received) / self.ops_per_sec

    @property
    def rate(self) -> str:
        return f"{(self.sent + self.received) * 8 / 1e9:.3g} Gbit/s"

    @property
    def detail(self) -> str:
        sent, received = self.sent / self.ops_per_sec, self.received / self.ops_per_sec
        return f"{sent:.1f} bytes sent and {received:.1f} received an operation"


def network(summary: dict) -> Network | None:
    """None where nothing was measured."""
    secs, ops = summary.get("measured_secs"), summary.get("ops_per_sec")
    if not secs or not ops or "bytes_sent" not in summary:
        return None
    return Network(summary["bytes_sent"] / secs, summary["bytes_received"] / secs, ops)


def _figures(summary: dict) -> list[Figure]:
    made = [
        Figure(
            "Final throughput",
            f"{ops_text(summary['ops_per_sec'])} ops/s",
            f"{ops_text(summary['reads_per_sec'])} reads, "
            f"{ops_text(summary['writes_per_sec'])} writes",
        )
    ]
    if latency := summary.get("latency_us"):
        names = {"p50": "p50", "p95": "p95", "p999": "p99.9"}
        rest = ", ".join(f"{name} {ms_text(latency[key] / 1e3)}" for key, name in names.items())
        made.append(Figure("p99", f"{ms_text(latency['p99'] / 1e3)} ms", rest))
    shares = [server["share"] for server in summary["per_server"]]
    if len(shares) > 1:
        detail = f"even would be {percent(1 / len(shares), 1)}"
        if expected := max(server.get("expected_share") or 0 for server in summary["per_server"]):
            detail += f", in theory {percent(expected, 1)}"
        made.append(Figure("Hottest server", percent(max(shares), 1), detail))
    if moved := network(summary):
        made.append(Figure("Network", moved.rate, moved.detail))
    return made


def images(
    base: Path, folder: str = "", last: Iterable[study_figures.Picture] = ()
) -> list[page.Image]:
    """Every picture in a folder of the page's own directory, the known ones first."""
    directory = base / folder
    words = PICTURES | {picture.name: (picture.title, picture.caption) for picture in last}
    found = sorted({path.stem for kind in ("svg", "png") for path in directory.glob(f"*.{kind}")})
    known = [name for name in words if name in found]
    rest = [name for name in found if name not in words]
    return [
        page.image(base, str(PurePosixPath(folder, name)), *words.get(name, (_title(name), "")))
        for name in [*known, *rest]
    ]


def _title(name: str) -> str:
    return name.replace("-", " ").replace("_", " ").capitalize()


def _tables(summary: dict) -> list[Table]:
    makers = (_latency_table, _servers_table, _nodes_table, _flags_table)
    tables = [make_table(summary) for make_table in makers]
    return [page.dense(table) for table in tables if table.rows]


def _latency_table(summary: dict) -> Table:
    """All of an operation's latency and its parts; without rows where nothing was measured."""
    meanings = {
        "fill": "until its batch was closed",
        "queue": "until its frame was written",
        "service": "network and server, until its answer was decoded",
        "server": "of the service: from a frame's reading to its answers' finishing",
        "network": "of the service: the rest, waiting in sockets included",
        "total": "from its generation to its answer",
    }
    total = summary.get("latency_us")
    parts = {**(summary.get("latency_parts_us") or {}), "total": total} if total else {}

    def row(name: str, micros: dict) -> list[Cell]:
        figures = [page.number(ms_text(micros[key] / 1e3), micros[key]) for key in LATENCIES]
        return [Cell(name, name, "word"), Cell(meanings[name], meanings[name]), *figures]

    return Table(
        key="latency",
        title="Response time",
        note=f"{summary.get('pacing', '')}. The means of fill, queue and service add up to the "
        "total's; percentiles do not.",
        columns=[
            Column("part"),
            Column("meaning"),
            *(Column(name, "ms", "number") for name in LATENCIES.values()),
        ],
        rows=[row(name, parts[name]) for name in meanings if name in parts],
    )


def _nodes_table(summary: dict) -> Table:
    """Utilisation; without rows where the run did not look at its nodes."""

    def row(node: dict) -> list[Cell]:
        usage = node["usage"]
        busy = findings.busy_cores(usage)
        memory = usage["process_memory_bytes"]
        return [
            Cell(node["name"], node["name"], "word"),
            Cell(node["role"], node["role"], "word"),
            page.number(f"{busy:.2f}", busy, f"of {usage['cores']}"),
            page.number(f"{usage['busiest_core'] * 100:.0f}", usage["busiest_core"]),
            page.number(f"{node['cpu_ns_per_op']:.3g}", node["cpu_ns_per_op"]),
            page.number(f"{node['bytes_per_op']:.1f}", node["bytes_per_op"]),
            page.number(f"{memory / 2**20:,.0f}", memory),
        ]

    return Table(
        key="utilisation",
        title="Utilisation",
        note="Busy cores, busiest core and network are the whole machine's, on average over the "
        "measured window; CPU time an operation and memory are the program's own.",
        columns=[
            Column("node"),
            Column("role"),
            Column("busy cores", "", "number"),
            Column("busiest core", "%", "number"),
            Column("CPU", "ns/op", "number"),
            Column("network", "bytes/op", "number"),
            Column("memory", "MiB", "number"),
        ],
        rows=[row(node) for node in summary.get("nodes", ())],
    )


def _servers_table(summary: dict) -> Table:
    def row(index: int, server: dict) -> list[Cell]:
        answered, unknown = server["answered"], server["unknown"]
        expected = server.get("expected_share")
        return [
            page.number(str(index), index),
            Cell(server["address"], server["address"]),
            page.number(ops_text(server["ops_per_sec"]), server["ops_per_sec"]),
            page.number(ops_text(server["median_ops_per_sec"]), server["median_ops_per_sec"]),
            page.number(f"{server['share'] * 100:.1f}", server["share"]),
            page.number(f"{(expected or 0) * 100:.1f}", expected),
            page.number(f"{answered['gets']:,}", answered["gets"]),
            page.number(f"{answered['puts']:,}", answered["puts"]),
            page.number(f"{sum(unknown.values()):,}", sum(unknown.values())),
        ]

    return Table(
        key="servers",
        title="Servers",
        note="Rates and shares are of the measured window, counts of the whole run.",
        columns=[
            Column("server", "", "number"),
            Column("address"),
            Column("throughput", "ops/s", "number"),
            Column("median second", "ops/s", "number"),
            Column("share", "%", "number"),
            Column("in theory", "%", "number"),
            Column("gets", "answered", "number"),
            Column("puts", "answered", "number"),
            Column("unknown", "", "number"),
        ],
        rows=[row(index, server) for index, server in enumerate(summary["per_server"])],
    )


def _flags_table(summary: dict) -> Table:
    return Table(
        key="flags",
        title="Flags",
        note="As a client of the run took them, defaults included.",
        columns=[Column("flag"), Column("value")],
        rows=[
            [Cell(f"--{name}", name), Cell(value, value)]
            for name, value in sorted(summary["flags"].items())
        ],
    )


def host_text(summary: dict) -> str:
    host = summary.get("host", {})
    if not host:
        return ""
    return f"{host.get('cpu_model')}, {host.get('cores')} cores, Linux {host.get('kernel')}"


def _facts(directory: Path, summary: dict) -> list[tuple[str, str]]:
    workload = summary.get("workload", {})
    facts = [
        ("machine", host_text(summary)),
        ("commit", summary["commit"]),
        ("workload", workload.get("line")),
        ("fingerprint", workload.get("fingerprint")),
        ("files", str(directory.resolve())),
    ]
    return [(name, value) for name, value in facts if value]


def _command(directory: Path) -> str:
    """What was typed for this run; nothing where it was not kept."""
    path = directory / "command.txt"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
