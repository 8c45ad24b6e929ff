"""What theory says of the servers' shares: keys hashed at random, drawn by Zipf's exact law."""

from __future__ import annotations

from functools import cache

import numpy

PARTITIONS = 256
# Ranks that are placed one by one; the colder rest is as good as evenly spread.
HEAD = 1 << 14
PLACEMENTS = 200


@cache
def hottest_share(servers: int, records: int, theta: float) -> tuple[float, float]:
    """The range that holds the hottest server's share in 90 of 100 random placements."""
    weights = numpy.arange(1, records + 1, dtype=float) ** -theta
    weights /= weights.sum()
    head = weights[:HEAD]
    rest = 1.0 - head.sum()
    owned = numpy.bincount(numpy.arange(PARTITIONS) % servers, minlength=servers) / PARTITIONS
    random = numpy.random.default_rng(1)
    hottest = []
    for _ in range(PLACEMENTS):
        owners = random.integers(PARTITIONS, size=len(head)) % servers
        hottest.append((numpy.bincount(owners, head, servers) + rest * owned).max())
    low, high = numpy.quantile(hottest, (0.05, 0.95))
    return float(low), float(high)


def of_workload(workload: dict[str, str], servers: int) -> tuple[float, float] | None:
    """The range for a summary's `workload`; none where its keys do not follow Zipf's exact law."""
    chooser = workload.get("chooser")
    try:
        theta = {"zipf": float(workload.get("theta", "nan")), "uniform": 0.0}[chooser]
        records = int(workload["records"])
    except (KeyError, ValueError):
        return None
    return hottest_share(servers, records, theta) if servers > 1 else None
