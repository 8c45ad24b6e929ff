"""A run's directory and its closing lines."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest

from launcher import results
from launcher.errors import LaunchError

NOW = datetime(2026, 11, 21, 3, 4, 5)


def test_run_directories_are_unique_and_latest_follows(tmp_path: Path) -> None:
    logs = tmp_path / "new" / "logs"
    first = results.make_run_dir(logs, NOW)
    second = results.make_run_dir(logs, NOW)
    assert (first.name, second.name) == ("2026-11-21-030405", "2026-11-21-030405-2")
    assert (logs / "latest").readlink() == Path(second.name)
    assert sorted(path.name for path in logs.iterdir()) == [first.name, second.name, "latest"]


def test_a_disk_with_little_room_is_told_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=5 << 20))
    with pytest.raises(LaunchError, match="only 5 MiB are free at .*, and a run wants"):
        results.check_logs(tmp_path / "logs")
    assert list(tmp_path.iterdir()) == []


def test_latest_that_is_no_link_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    with pytest.raises(LaunchError, match="is not a link"):
        results.make_run_dir(tmp_path, NOW)


def test_closing_lines(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    servers = [{"median_ops_per_sec": 6900000.4}, {"median_ops_per_sec": 6300000.4}]
    file.write_text(json.dumps({"per_server": servers}))
    assert results.closing_lines(file) == [
        "node0 median 6900000 op/s",
        "node1 median 6300000 op/s",
        "",
        "total 13200001 op/s",
    ]


@pytest.mark.parametrize("text", ["", "{}", '{"per_server": [{}]}', '{"per_server": 1}'])
def test_no_closing_lines_without_a_summary(tmp_path: Path, text: str) -> None:
    file = tmp_path / "summary.json"
    assert results.closing_lines(file) == []
    file.write_text(text)
    assert results.closing_lines(file) == []
