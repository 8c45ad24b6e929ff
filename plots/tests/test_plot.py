"""plot.py on recorded result files: whole, empty, cut off and absent ones."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path

import pytest

from plots import figures, hdr_log, style
from plots import plot as plot_module

DATA = Path(__file__).resolve().parent / "data"
CHECKOUT = DATA.parent.parent.parent
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A copy of a recorded run's files: two servers, 30 seconds."""
    for name in ("throughput.csv", "latency.hlog"):
        shutil.copy(DATA / name, tmp_path)
    return tmp_path


def plot(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plots.plot", directory]
    return subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )


def drawn(path: Path) -> bool:
    return path.is_file() and path.read_bytes().startswith(PNG_MAGIC)


def test_draws_all_pictures(run_dir: Path) -> None:
    done = plot(run_dir)
    assert (done.returncode, done.stderr) == (0, "")
    for name in ("throughput", "latency", "latency-over-time"):
        assert drawn(run_dir / f"{name}.png")
        assert "<svg" in (run_dir / f"{name}.svg").read_text()


@pytest.mark.parametrize("expected", [(0.42, 0.58), (None, None)])
def test_shares_are_drawn_beside_theory(
    run_dir: Path, expected: tuple[float | None, float | None]
) -> None:
    servers = [
        {"share": share, "expected_share": theory}
        for share, theory in zip((0.4, 0.6), expected, strict=True)
    ]
    (run_dir / "summary.json").write_text(json.dumps({"per_server": servers}))
    assert plot(run_dir).returncode == 0
    assert drawn(run_dir / "shares.png")
    assert ("in theory" in (run_dir / "shares.svg").read_text()) == (None not in expected)


def test_latency_is_drawn_in_parts(run_dir: Path) -> None:
    """Every figure stands at its bar: the means of the parts, and each one's own percentiles."""
    names = ("mean", "p50", "p95", "p99")
    fill, queue, service, total = (
        dict(zip(names, range(first, first + 400, 100), strict=True))
        for first in (1000, 2000, 4000, 7000)
    )
    parts = {"fill": fill, "queue": queue, "service": service}
    summary = {"latency_us": total, "latency_parts_us": parts}
    (run_dir / "summary.json").write_text(json.dumps(summary))
    assert plot(run_dir).returncode == 0
    assert drawn(run_dir / "latency-parts.png")
    svg = (run_dir / "latency-parts.svg").read_text()
    assert "<!-- total 7 -->" in svg
    for micros in (*fill.values(), *queue.values(), *service.values(), *range(7100, 7400, 100)):
        assert f"<!-- {style.ms_text(micros / 1e3)} -->" in svg


@pytest.mark.parametrize(
    ("broken", "picture", "other"),
    [
        ("throughput.csv", "throughput.png", "latency.png"),
        ("latency.hlog", "latency.png", "throughput.png"),
    ],
)
@pytest.mark.parametrize("how", ["empty", "absent"])
def test_names_the_file_that_gives_no_picture(
    run_dir: Path, broken: str, picture: str, other: str, how: str
) -> None:
    (run_dir / broken).unlink()
    if how == "empty":
        (run_dir / broken).touch()
    done = plot(run_dir)
    assert done.returncode == 1
    reason = "is empty" if how == "empty" else "does not exist"
    assert f"{picture} was not drawn: {run_dir / broken} {reason}" in done.stderr
    assert not (run_dir / picture).exists() and drawn(run_dir / other)


def test_header_alone_holds_nothing_to_draw(run_dir: Path) -> None:
    (run_dir / "throughput.csv").write_text("second,unix_time,ops,server_0_ops\n")
    (run_dir / "latency.hlog").write_text("#[MaxValueDivisor: 1000000.0]\n")
    done = plot(run_dir)
    assert done.returncode == 1
    assert "throughput.csv holds no second" in done.stderr
    assert "latency.hlog holds no latency" in done.stderr


def test_draws_what_is_whole_in_cut_off_files(run_dir: Path) -> None:
    for name in ("throughput.csv", "latency.hlog"):
        content = (run_dir / name).read_bytes()
        (run_dir / name).write_bytes(content[:-25])
    done = plot(run_dir)
    assert done.returncode == 0
    assert "throughput.csv, line 13 is left out" in done.stderr
    assert "latency.hlog, line 33 is left out" in done.stderr
    assert drawn(run_dir / "throughput.png") and drawn(run_dir / "latency.png")


def test_names_a_missing_column(run_dir: Path) -> None:
    (run_dir / "throughput.csv").write_text("time,ops\n1,2\n")
    assert "has no column second" in plot(run_dir).stderr


def test_one_second_is_drawn(run_dir: Path) -> None:
    (run_dir / "throughput.csv").write_text("second,ops,server_0_ops\n1,1000,1000\n")
    assert plot(run_dir).returncode == 0


def test_wrong_usage() -> None:
    assert plot(Path("--bogus")).returncode == 2
    done = plot(Path("/nonexistent"))
    assert done.returncode == 1 and "/nonexistent is not a directory" in done.stderr


def test_percentiles_are_those_of_the_library_that_wrote_the_log() -> None:
    """The values that the Rust crate hdrhistogram 7.6 gave for the data it wrote."""
    log = hdr_log.read_log(DATA / "latency.hlog")
    expected = {
        0.5: 51478527,
        0.9: 73924607,
        0.95: 85983231,
        0.99: 125042687,
        0.999: 202768383,
        0.9999: 296222719,
        1.0: 483917823,
    }
    assert (len(log.intervals), sum(log.counts.values())) == (30, 983040000)
    assert [interval.end_secs for interval in log.intervals] == [float(n) for n in range(1, 31)]
    assert {share: figures.value_at(log.counts, share) for share in expected} == expected


def intervals() -> list[str]:
    lines = (DATA / "latency.hlog").read_text().splitlines()
    return [line.split(",")[3] for line in lines if not line.startswith(("#", '"'))]


def test_every_truncation_of_a_histogram_is_an_error() -> None:
    packed = base64.b64decode(intervals()[0])
    for length in range(0, len(packed), 7):
        with pytest.raises(hdr_log.LogError):
            hdr_log.decode_histogram(base64.b64encode(packed[:length]).decode())


def test_a_plain_histogram_reads_like_the_compressed_one() -> None:
    text = intervals()[0]
    plain = zlib.decompress(base64.b64decode(text)[8:])
    encoded = base64.b64encode(plain).decode()
    assert hdr_log.decode_histogram(encoded) == hdr_log.decode_histogram(text)


def test_lines_of_different_tags_are_not_added_up(tmp_path: Path) -> None:
    log = tmp_path / "latency.hlog"
    whole, fill = intervals()[:2]
    lines = f"0.0,1.0,2.0,{whole}\nTag=fill,0.0,1.0,2.0,{fill}\n"
    log.write_text(f'"StartTimestamp","Interval"\n{lines}')
    read = hdr_log.read_log(log)
    assert (len(read.intervals), read.counts) == (1, hdr_log.decode_histogram(whole))
    assert hdr_log.read_log(log, "fill").counts == hdr_log.decode_histogram(fill)


def test_percentile_curve_is_monotonic_and_ends_at_one() -> None:
    shares, values = figures.percentile_curve(Counter({10: 1, 30: 1, 20: 2}))
    assert shares == [0.0, 0.25, 0.75, 1.0]
    assert values == sorted(values)


def test_ticks_reach_as_far_as_the_curve() -> None:
    assert figures.percentile_ticks(5) == [0.0]
    assert figures.percentile_ticks(1000) == [0.0, 90.0, 99.0, 99.9]
    assert figures.percentile_ticks(1e5)[-1] == 99.999


def test_numbers_are_short() -> None:
    values = (0, 640_000, 999_700, 13_240_000)
    assert [style.ops_text(value) for value in values] == ["0", "640 k", "1 M", "13.2 M"]


def test_draws_what_the_nodes_used(run_dir: Path) -> None:
    columns = (
        "second,unix_time,node,role,cores,user_cores,system_cores,softirq_cores,steal_cores,"
        "busiest_core,memory_used_bytes,process_memory_bytes,received_bytes,sent_bytes,"
        "received_packets,sent_packets,retransmissions,context_switches,link_use\n"
    )
    rows = [
        f"{second},179000000{second}.000,{name},{role},4,1.5,0.5,0.25,0,0.9,5e9,1e9,2e8,3e8,9,9,0,7,0\n"
        for name, role in (("node0", "server"), ("node1", "client"))
        for second in (1, 2, 3)
    ]
    nodes = run_dir / "nodes.csv"
    nodes.write_text(columns + "".join(rows) + "4,1790000004.000,node1")
    read = plot_module.read_nodes(nodes)
    assert [(node.name, node.role, node.seconds) for node in read] == [
        ("node0", "server", [1, 2, 3]),
        ("node1", "client", [1, 2, 3]),
    ]
    assert (read[0].cpu[0], read[0].network[0]) == (56.25, 5e8)
    done = plot(run_dir)
    assert done.returncode == 0 and "line 8 is left out" in done.stderr
    assert drawn(run_dir / "nodes.png")
