"""Fixtures of the system tests."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from support import Launcher  # noqa: E402


@pytest.fixture
def fake(tmp_path: Path) -> Launcher:
    """The launcher with stand-ins for the two programs, which can be told to fail."""
    programs = tmp_path / "programs"
    shutil.copytree(HERE / "programs", programs)
    return Launcher(programs, tmp_path / "logs")
