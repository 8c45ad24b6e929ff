"""What is said of a study, on points made for it."""

from __future__ import annotations

import pytest

from plots import findings, study
from plots.study import Interval, Point


def point(throughput: float, p99_us: float = 1000, share: float | None = None, **values) -> Point:
    metrics = {
        "throughput": Interval(throughput, throughput * 0.99, throughput * 1.01, 3),
        "latency_p99_us": Interval(p99_us, None, None, 3),
    }
    if share:
        metrics["hottest_server_share"] = Interval(share, None, None, 3)
    return Point("", values, "./run-cluster.sh", dict.fromkeys(study.VERDICTS, 0), metrics)


def of(points: list[Point]) -> study.Study:
    return study.Study("s", "S", "sweep", True, 3, 3, "", points, [], 0)


def test_the_frontier_leaves_out_what_is_beaten() -> None:
    slow, beaten, fast = point(1e6, 100), point(2e6, 5000), point(3e6, 2000)
    assert findings.frontier([beaten, fast, slow]) == [slow, fast]


def test_the_knee_is_where_the_frontier_bends() -> None:
    points = [point(1e6, 100), point(8e6, 200), point(9e6, 5000), point(9.5e6, 100_000)]
    assert findings.knee(points) is points[1]


def test_a_straight_frontier_has_no_knee() -> None:
    straight = [point(1e6, 100), point(2e6, 1000), point(3e6, 10_000)]
    assert findings.knee(straight) is None
    assert findings.knee(straight[:2]) is None


def test_scaling_is_measured_against_the_best_with_the_fewest_servers() -> None:
    points = [
        point(8e6, servers=1, clients=1, share=1.0),
        point(10e6, servers=1, clients=2, share=1.0),
        point(15e6, servers=2, clients=2, share=0.6),
    ]
    row = findings.scaling(points)[-1]
    assert (row.servers, row.speedup, row.ideal) == (2, 1.5, 20e6)
    assert row.ceiling == pytest.approx(10e6 / 0.6)


def test_each_skew_scales_on_its_own() -> None:
    points = [
        point(10e6, servers=1, theta=0, share=1.0),
        point(12e6, servers=1, theta=1.2, share=1.0),
        point(20e6, servers=2, theta=0, share=0.5),
        point(12e6, servers=2, theta=1.2, share=0.75),
    ]
    speedups = {row.point.values["theta"]: row.speedup for row in findings.scaling(points)}
    assert speedups == {0: 2.0, 1.2: 1.0}


def test_the_best_point_names_its_rivals() -> None:
    text = findings.sentences(
        of([point(10e6, tasks=1), point(9.9e6, tasks=8), point(1e6, tasks=64)])
    )
    assert text[0].startswith(
        "The highest throughput is 10 M ops/s (9.9 M to 10.1 M), with tasks 1;"
    )
    assert "1 other point's interval overlaps" in text[0]


def test_failures_are_said_or_their_absence() -> None:
    points = [point(9e6, tasks=1), point(8e6, tasks=8)]
    for known in points:
        known.metrics["failure_rate"] = Interval(0.0, None, None, 3)
    assert "No operation failed." in findings.sentences(of(points))
    points[1].metrics["failure_rate"] = Interval(0.0125, None, None, 3)
    assert "Most operations failed with tasks 8: 1.250 % of them." in findings.sentences(of(points))


def test_the_hottest_share_stands_beside_theory() -> None:
    points = [point(9e6, share=0.51, theta=0), point(8e6, share=0.6, theta=1.2)]
    points[1].metrics["hottest_server_expected_share"] = Interval(0.612, None, None, 3)
    said = " ".join(findings.sentences(of(points)))
    assert "from 51.0 % at theta 0 to 60.0 % (in theory 61.2 %) at theta 1.2." in said


def test_nothing_is_claimed_without_a_run() -> None:
    assert findings.sentences(of([])) == ["No run counts yet, so there is nothing to compare."]


def test_the_hottest_server_is_named_as_a_limit() -> None:
    servers = [{"share": 0.6, "address": "10.0.0.1:1"}, {"share": 0.4, "address": "10.0.0.2:1"}]
    said = findings.limits({"per_server": servers, "host": {"cores": 8}})
    assert len(said) == 1 and "60.0 % of the operations, 1.20 times" in said[0]


@pytest.mark.parametrize(
    ("address", "others"),
    [("127.0.0.1:1", 0.25), ("10.0.0.1:1", 1.25)],
)
def test_what_other_programs_used_is_what_the_runs_own_did_not(address: str, others: float) -> None:
    """On one machine all programs of the run share its cores; else each has its own machine's."""
    usage = {"user_cores": 1.0, "system_cores": 0.5, "softirq_cores": 0.5}
    nodes = [{"usage": usage | {"process_cpu_secs": secs}} for secs in (7.5, 10.0)]
    summary = {"measured_secs": 10.0, "nodes": nodes, "host": {"cores": 2}}
    summary["per_server"] = [{"address": address}]
    assert findings.others_cores(summary) == pytest.approx(others)
    assert findings.is_crowded(summary)
    assert not findings.is_crowded({})
