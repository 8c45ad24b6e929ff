"""report.html of a real study and of broken ones: what is drawn, what is said, what is left out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from plots import study, style

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def report(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plots.report", directory]
    return subprocess.run(
        command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def made(study_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "study"
    shutil.copytree(study_dir, directory)
    done = report(directory)
    assert (done.returncode, done.stderr) == (0, "")
    return directory


@pytest.fixture
def small(study_dir: Path, tmp_path: Path) -> Path:
    """A copy of the study's files with two points alone, which differ in their tasks."""
    content = json.loads((study_dir / "study.json").read_text())
    content["points"] = content["points"][:2]
    (tmp_path / "study.json").write_text(json.dumps(content))
    shutil.copy(study_dir / "results.jsonl", tmp_path)
    return tmp_path


def test_every_kind_of_picture_is_there(made: Path) -> None:
    names = {path.stem for path in made.glob("*.svg")}
    assert names == {path.stem for path in made.glob("*.png")}
    assert {
        "throughput-batch-size-load",
        "throughput-tasks-load",
        "latency-batch-size-load",
        "throughput-servers-servers-and-clients",
        "frontier",
        "scaling-servers-and-clients",
        "shares-servers-servers-and-clients",
        "shares-theta-skew",
        "server-shares-skew",
    } <= names


def test_the_page_loads_nothing(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "http://" not in page and "https://" not in page
    sources = re.findall(r'<(?:img|script|link)[^>]*?(?:src|href)="([^"]*)"', page)
    assert len(sources) > 7 and all(source.startswith("data:") for source in sources)


def test_the_page_says_what_is_not_in_the_curves(made: Path) -> None:
    page = (made / "report.html").read_text()
    assert "batch size 1,024, tasks 1, repetition 2: " in page and "--no-such-flag" in page
    assert "The study is not complete: 10 of 11 runs are done." in page
    assert "9 runs, too-short. Ten seconds are needed" in page
    assert "points have too few runs for an interval" in page


def test_a_qualified_point_has_its_own_mark(small: Path) -> None:
    """Its mark is hollow: filled with the paper's colour."""

    def marks(qualified: int) -> str:
        content = json.loads((small / "study.json").read_text())
        for point in content["points"]:
            point |= {"valid": 1, "qualified": 0}
        content["points"][0]["qualified"] = qualified
        (small / "study.json").write_text(json.dumps(content))
        assert report(small).returncode == 0
        return (small / "throughput-tasks.svg").read_text()

    hollow = f"fill: {style.PAPER}; stroke: {style.COLOURS[0]}"
    assert hollow in marks(qualified=1) and hollow not in marks(qualified=0)


def test_a_cut_off_line_is_reported(small: Path) -> None:
    lines = (small / "results.jsonl").read_bytes()
    (small / "results.jsonl").write_bytes(lines[:-40])
    assert report(small).returncode == 0
    assert "results.jsonl that could not be read: 1." in (small / "report.html").read_text()


def test_a_run_that_was_done_again_counts_once(small: Path) -> None:
    lines = (small / "results.jsonl").read_text().splitlines(keepends=True)
    (small / "results.jsonl").write_text("".join([*lines, lines[-1]]))
    assert len(study.read(small).runs) == len(lines)


def test_text_of_a_study_is_no_markup(small: Path) -> None:
    content = json.loads((small / "study.json").read_text())
    content["title"] = "<script>alert(1)</script>"
    (small / "study.json").write_text(json.dumps(content))
    assert report(small).returncode == 0
    assert "<script>alert" not in (small / "report.html").read_text()


def test_costs_of_the_layers_are_drawn(small: Path) -> None:
    cost = {"median": 40.0, "low": 38.0, "high": 44.0}
    rows = [
        {"layer": layer, "cpu_ns_per_op": cost} for layer in ("mover, 1 connections", "full path")
    ]
    (small / "ceilings.json").write_text(json.dumps(rows) + "\n")
    assert report(small).returncode == 0
    assert (small / "layers.svg").exists()
    assert "Cost per operation by layer" in (small / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("", "study.json is no study"),
        ("[]", "study.json is no study"),
        ('{"format_version": 2}', "format_version 2, expected 1"),
    ],
)
def test_a_broken_study_is_named(tmp_path: Path, content: str, named: str) -> None:
    (tmp_path / "study.json").write_text(content)
    done = report(tmp_path)
    assert done.returncode == 1 and named in done.stderr
    assert not (tmp_path / "report.html").exists()


def test_a_directory_without_results(tmp_path: Path) -> None:
    done = report(tmp_path)
    assert done.returncode == 1 and "summary.json holds no summary of a run" in done.stderr


def test_a_run_leaves_its_report(run_dir_with_report: Path) -> None:
    page = (run_dir_with_report / "report.html").read_text()
    assert 'id="latency-table"' in page and "ms until its batch was closed, " in page
    assert "To repeat it: " in page and "./run-cluster.sh --servers 2 --local" in page
    for name in ("throughput", "latency", "latency-parts", "latency-over-time", "shares"):
        assert f'href="{name}.svg"' in page


def test_colours_follow_the_reader() -> None:
    svg = style.themed(f'<svg><defs/><defs><path style="fill: {style.INK}"/></defs></svg>')
    assert "fill: var(--c0)" in svg and f"--c0:{style.DARK[style.INK]}" in svg


def test_the_parts_of_the_latency_are_a_table(run_dir_with_report: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir_with_report, tmp_path, dirs_exist_ok=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    micros = dict.fromkeys(("mean", "p50", "p95", "p99", "p999", "max"), 2_750.0)
    parts = dict.fromkeys(("fill", "queue", "service", "server"), micros)
    told = {"latency_us": micros, "latency_parts_us": parts, "pacing": "closed loop"}
    (tmp_path / "summary.json").write_text(json.dumps(summary | told))
    assert report(tmp_path).returncode == 0
    page = (tmp_path / "report.html").read_text()
    table = page[page.index('id="latency-table"') :].split("</table>")[0]
    assert table.count("2.75") == 5 * 6
    assert "of the service: from a frame" in table and "sockets included" not in table


def test_what_the_nodes_used_is_a_table(run_dir_with_report: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir_with_report, tmp_path, dirs_exist_ok=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    usage = dict.fromkeys(("user_cores", "system_cores", "softirq_cores"), 1.25)
    usage |= {"cores": 8, "busiest_core": 0.97, "process_memory_bytes": 64 << 20}
    node = {"name": "node0", "role": "server", "cpu_ns_per_op": 51.5, "bytes_per_op": 130.0}
    (tmp_path / "summary.json").write_text(
        json.dumps(summary | {"nodes": [node | {"usage": usage}]})
    )
    assert report(tmp_path).returncode == 0
    page = (tmp_path / "report.html").read_text()
    assert 'id="utilisation"' in page and "3.75 <small>of 8</small>" in page
