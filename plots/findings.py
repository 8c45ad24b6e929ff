"""What a study shows, from its points: pure rules, and their results in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from plots.study import Point, Study, label, swept, value_text
from plots.style import ms_text, ops_text, percent

# Shares of the hottest server above the mean that are worth a sentence.
HOT = 1.1
# The part of a machine's cores that other programs may take without a word.
CROWDED = 0.1
# Axes that change the work itself; the others change how much of it is in progress.
WORK_AXES = ("theta", "mix", "workload", "records", "value-bytes", "engine")


# Rules of the verdict that name a bottleneck; `holds-back` and `shared-machine` have words here.
LIMITING_RULES = ("clients-limit", "link-full", "steal", "retransmissions", "rate-missed")


@dataclass(frozen=True)
class Scaled:
    """A point beside what so many servers could do at best."""

    point: Point
    servers: int
    speedup: float  # against the reference: the best with the fewest servers
    ideal: float  # ops/s
    ceiling: float | None  # ops/s, where the hottest server does what the reference server did


def best(points: list[Point]) -> Point | None:
    """The point of the highest median throughput."""
    return max(points, key=lambda point: point.median("throughput"), default=None)


def by_work(points: list[Point]) -> dict[str, list[Point]]:
    """The points of each kind of work, which alone can be compared, by the work's name."""
    varied = [axis for axis in WORK_AXES if axis in swept(points)]
    kinds: dict[str, list[Point]] = {}
    for point in points:
        kinds.setdefault(label(point.values, varied), []).append(point)
    return kinds


def frontier(points: list[Point]) -> list[Point]:
    """The points that no other beats in both throughput and p99, from slow to fast."""
    timed = [point for point in points if point.median("latency_p99_us")]
    chosen: list[Point] = []
    for point in sorted(timed, key=lambda p: (-p.median("throughput"), p.median("latency_p99_us"))):
        if not chosen or point.median("latency_p99_us") < chosen[-1].median("latency_p99_us"):
            chosen.append(point)
    return chosen[::-1]


def knee(points: list[Point]) -> Point | None:
    """Where the frontier bends: the point farthest from the chord between the frontier's ends.

    Throughput against the logarithm of p99, both scaled to 0..1 (the rule of Satopaa et al., 2011).
    None where the frontier has no bend.
    """
    if len(points) < 3:
        return None
    x = _scaled([point.median("throughput") for point in points])
    y = _scaled([math.log(point.median("latency_p99_us")) for point in points])
    distances = [across - up for across, up in zip(x, y, strict=True)]
    farthest = max(distances)
    return points[distances.index(farthest)] if farthest > 0.05 else None


def _scaled(values: list[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / (high - low or 1) for value in values]


def scaling(points: list[Point]) -> list[Scaled]:
    """A sweep over servers, each point against the best of the same work with the fewest."""
    if "servers" not in swept(points):
        return []
    rows = [
        _scaled_to(_reference(same), point) for same in by_work(points).values() for point in same
    ]
    return sorted(rows, key=lambda row: row.servers)


def _reference(points: list[Point]) -> Point:
    fewest = min(point.values["servers"] for point in points)
    return best([point for point in points if point.values["servers"] == fewest])


def _scaled_to(reference: Point, point: Point) -> Scaled:
    servers, fewest = point.values["servers"], reference.values["servers"]
    throughput = reference.median("throughput")
    hottest = throughput * (reference.median("hottest_server_share") or 1 / fewest)
    share = point.median("hottest_server_share")
    return Scaled(
        point=point,
        servers=servers,
        speedup=point.median("throughput") / throughput,
        ideal=throughput * servers / fewest,
        ceiling=hottest / share if share else None,
    )


def sentences(study: Study) -> list[str]:
    """The study in plain words: the best point, the knee, what limited it."""
    points = study.measured
    top = best(points)
    if top is None:
        return ["No run counts yet, so there is nothing to compare."]
    said = [_best_sentence(top, points), *_knee_sentences(points)]
    said += _mix_sentences(points) + _failure_sentences(points)
    for _, part in study.parts:
        said += _scaling_sentences(study, part) + _skew_sentences(part)
    return said + [_limit_sentence(study, top)]


def _best_sentence(top: Point, points: list[Point]) -> str:
    interval = top.metrics["throughput"]
    span = f" ({range_text(interval.low, interval.high)})" if interval.low is not None else ""
    text = f"The highest throughput is {ops_text(interval.median)} ops/s{span}, with {_at(top)}"
    if p99 := top.median("latency_p99_us"):
        text += f"; 99 % of its operations were answered within {ms_text(p99 / 1e3)} ms"
    rivals = sum(
        point is not top and (point.metrics["throughput"].high or 0) >= (interval.low or math.inf)
        for point in points
    )
    if rivals:
        many = "point's interval overlaps" if rivals == 1 else "points' intervals overlap"
        text += f". {rivals} other {many} with it: they may be as fast"
    return text + "."


def _at(point: Point) -> str:
    return label(point.values) or "the default flags"


def range_text(low: float, high: float) -> str:
    return f"{ops_text(low)} to {ops_text(high)}"


def knees(points: list[Point]) -> list[Point]:
    """The knee of each kind of work that has one."""
    found = (knee(frontier(same)) for same in by_work(points).values())
    return [bend for bend in found if bend]


def _knee_sentences(points: list[Point]) -> list[str]:
    bends = knees(points)
    if not bends:
        return []
    places = [
        f"{_at(bend)} ({ops_text(bend.median('throughput'))} ops/s, p99 "
        f"{ms_text(bend.median('latency_p99_us') / 1e3)} ms)"
        for bend in bends
    ]
    which = "The knee" if len(bends) == 1 else "For each kind of work, the knee"
    return [
        f"{which} of throughput against latency is at {'; '.join(places)}. More load than that "
        "buys mostly waiting."
    ]


def _mix_sentences(points: list[Point]) -> list[str]:
    mixes = swept(points).get("mix", [])
    tops = [best([point for point in points if point.values.get("mix") == mix]) for mix in mixes]
    parts = [
        f"{ops_text(top.median('throughput'))} for {value_text(top.values['mix'])}" for top in tops
    ]
    return [f"The best by mix, in ops/s: {', '.join(parts)}."] if parts else []


def _failure_sentences(points: list[Point]) -> list[str]:
    known = [point for point in points if "failure_rate" in point.metrics]
    if not known:
        return []
    worst = max(known, key=lambda point: point.median("failure_rate"))
    if not worst.median("failure_rate"):
        return ["No operation failed."]
    rate = percent(worst.median("failure_rate"), 3)
    return [f"Most operations failed with {_at(worst)}: {rate} of them."]


def _scaling_sentences(study: Study, points: list[Point]) -> list[str]:
    rows = scaling(points)
    if not rows:
        return []
    most = max(row.servers for row in rows)
    top = max((row for row in rows if row.servers == most), key=lambda row: row.speedup)
    text = (
        f"With {most} servers it reaches {top.speedup:.2g} times the throughput of "
        f"{rows[0].servers}, {percent(top.speedup * rows[0].servers / most)} of ideal scaling"
    )
    if top.ceiling and top.ceiling < top.ideal / 1.02:
        text += (
            f"; skew allows {percent(top.ceiling / top.ideal)}, because the hottest server draws "
            f"{percent(top.point.median('hottest_server_share'), 1)} of the operations"
        )
    run = study.typical_run(top.point)
    if run and on_one_machine(run.summary):
        text += ". All servers shared one machine: that shows what they cost, not how they scale"
    return [text + "."]


def _skew_sentences(points: list[Point]) -> list[str]:
    known = [p for p in points if (p.median("hottest_server_share") or 1) < 1]
    most = max((point.values.get("servers", 0) for point in known), default=0)
    known = [point for point in known if point.values.get("servers", 0) == most]
    thetas = swept(known).get("theta")
    if not thetas:
        return []
    low, high = (
        max(
            (p for p in known if p.values["theta"] == theta),
            key=lambda point: point.median("hottest_server_share"),
        )
        for theta in (thetas[0], thetas[-1])
    )
    where = f"With {most} servers, the" if most else "The"
    return [
        f"{where} hottest server's share goes from {_share_text(low)} at theta {thetas[0]:g} to "
        f"{_share_text(high)} at theta {thetas[-1]:g}."
    ]


def _share_text(point: Point) -> str:
    text = percent(point.median("hottest_server_share"), 1)
    expected = point.median("hottest_server_expected_share")
    return text if expected is None else f"{text} (in theory {percent(expected, 1)})"


def _limit_sentence(study: Study, top: Point) -> str:
    run = study.typical_run(top)
    found = limits(run.summary if run else {})
    seen = {rule: text for other in study.runs_of(top) for rule, text in other.findings.items()}
    found += [seen[rule] for rule in LIMITING_RULES if rule in seen]
    if not found:
        return "Nothing that the runs recorded says what limited the best point."
    return "What limited the best point: " + " ".join(found)


def limits(summary: dict) -> list[str]:
    """What a run's figures say of its bottleneck, in sentences."""
    servers = summary.get("per_server", [])
    said = []
    if len(servers) > 1:
        share = max(server["share"] for server in servers)
        if share * len(servers) > HOT:
            said.append(
                f"The hottest of {len(servers)} servers drew {percent(share, 1)} of the "
                f"operations, {share * len(servers):.2f} times its even part, and sets the pace."
            )
    cores = summary.get("host", {}).get("cores")
    if cores and on_one_machine(summary):
        usages = [node["usage"] for node in summary.get("nodes", ())]
        busy = max((busy_cores(usage) for usage in usages), default=None)
        part = f", of which {busy:.2f} were busy" if busy else ""
        said.append(f"Clients and servers shared one machine's {cores} cores{part}.")
    return said


def busy_cores(usage: dict) -> float:
    """Of a node's machine, on average over the measured window."""
    return sum(usage[f"{kind}_cores"] for kind in ("user", "system", "softirq"))


def is_crowded(summary: dict) -> bool:
    """Whether other programs took more than a tenth of a machine's cores from a run."""
    return others_cores(summary) > CROWDED * summary.get("host", {}).get("cores", math.inf)


def others_cores(summary: dict) -> float:
    """The cores that other programs used, on the machine where they used most; 0 if not known."""
    secs = summary.get("measured_secs")
    usages = [node["usage"] for node in summary.get("nodes", ())] if secs else []
    own = [usage["process_cpu_secs"] / secs for usage in usages]
    if on_one_machine(summary):
        own = [sum(own)] * len(own)
    taken = [busy_cores(usage) - cores for usage, cores in zip(usages, own, strict=True)]
    return max(taken, default=0.0)


def on_one_machine(summary: dict) -> bool:
    """Whether clients and servers of a run shared a machine."""
    servers = summary.get("per_server", ())
    return bool(servers) and all(is_loopback(server.get("address", "")) for server in servers)


def is_loopback(address: str) -> bool:
    return address.startswith(("127.", "[::1]", "localhost"))
