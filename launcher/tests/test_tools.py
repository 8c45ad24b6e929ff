"""Missing tools are named with the command that installs them; the environment is re-used."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher import tools
from launcher.errors import LaunchError


def test_nothing_is_missing_here() -> None:
    tools.check_tools()


def test_every_missing_tool_is_named() -> None:
    cargo, compiler = tools.missing_tools(None, False, "1.89")
    assert "Rust 1.89" in cargo and tools.RUSTUP in cargo
    assert "apt-get install build-essential" in compiler


@pytest.mark.parametrize(
    ("version", "fits"), [("1.89.0", True), ("1.100.0", True), ("1.75.0", False), ("1.9.0", False)]
)
def test_an_old_cargo_counts_as_missing(version: str, fits: bool) -> None:
    missing = tools.missing_tools(f"cargo {version} (abc 2026-01-01)", True, "1.89")
    assert missing == [] if fits else f"cargo {version} is older than 1.89" in missing[0]


def test_least_version_comes_from_the_manifest() -> None:
    assert tools.least_cargo_version('a = 1\nrust-version = "1.89"\n') == "1.89"
    with pytest.raises(LaunchError):
        tools.least_cargo_version("")


def test_package_names() -> None:
    text = '# why\nmatplotlib==3.10; python_version < "3.11"\nmatplotlib==3.11\npytest>=9\n'
    assert tools.package_names(text) == ["matplotlib", "pytest"]


def test_the_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# nothing needed\n")
    python = tools.ensure_venv(requirements, tmp_path / "venv")
    assert python.exists()
    monkeypatch.setattr(tools, "_run_quietly", lambda _: pytest.fail("set up again"))
    assert tools.ensure_venv(requirements, tmp_path / "venv") == python


def test_a_failed_install_names_package_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("matplotlib==3\n")
    monkeypatch.setattr(tools, "_run_quietly", lambda command: "offline" * ("pip" in command))
    with pytest.raises(LaunchError) as error:
        tools.ensure_venv(requirements, tmp_path / "venv")
    assert "matplotlib could not be installed; by hand: " in str(error.value)
    assert f"pip install -r {requirements}" in str(error.value)


@pytest.mark.parametrize("own_name", ["", "program: "])
def test_flags_that_a_program_refuses(tmp_path: Path, own_name: str) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\n[ "$1" = --check ] || {{ echo {own_name}no $1 >&2; exit 2; }}\n')
    program.chmod(0o755)
    tools.check_flags(program, ())
    with pytest.raises(tools.UsageError, match="^program: no --bogus"):
        tools.check_flags(program, ("--bogus",))
