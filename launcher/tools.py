"""What has to be there before a run: tools, the built programs, the virtual environment.

As a program, `python3 -m launcher.tools FILE...`: checks the tools and installs requirement files.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from launcher.errors import LaunchError, UsageError

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PLOT_REQUIREMENTS = CHECKOUT / "plots" / "requirements.txt"
RUSTUP = "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"


def least_cargo_version(manifest: str) -> str:
    """The `rust-version` that Cargo.toml declares."""
    match = re.search(r'^rust-version = "([\d.]+)"', manifest, re.MULTILINE)
    if match is None:
        raise LaunchError("Cargo.toml declares no rust-version")
    return match[1]


def missing_tools(cargo_version: str | None, has_compiler: bool, least_cargo: str) -> list[str]:
    """A sentence for each missing tool, with the command that installs it.

    `cargo_version` is what `cargo --version` printed.
    """
    missing = []
    found = re.search(r"\d+(\.\d+)+", cargo_version or "")
    if found is None:
        missing.append(f"cargo (Rust {least_cargo} or newer) is missing: {RUSTUP}")
    elif _version(found[0]) < _version(least_cargo):
        missing.append(
            f"cargo {found[0]} is older than {least_cargo}: `rustup update stable`, or, where "
            f"there is no rustup, {RUSTUP}"
        )
    if not has_compiler:
        missing.append("a C compiler (cc) is missing: sudo apt-get install build-essential")
    return missing


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def check_tools() -> None:
    """Raises a LaunchError that names every missing tool."""
    least = least_cargo_version((CHECKOUT / "Cargo.toml").read_text(encoding="utf-8"))
    missing = missing_tools(_cargo_version(), shutil.which("cc") is not None, least)
    if missing:
        raise LaunchError("\n".join(missing))


def _cargo_version() -> str | None:
    try:
        done = subprocess.run(
            ["cargo", "--version"], cwd=CHECKOUT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def build() -> Path:
    """Builds the programs, as every figure is measured with; the directory they are in."""
    done = subprocess.run(["cargo", "build", "--release", "--workspace"], cwd=CHECKOUT, check=False)
    if done.returncode != 0:
        raise LaunchError("the build failed: see above")
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    target = re.search(r'"target_directory":"([^"]+)"', metadata.stdout)
    return Path(target[1] if target else CHECKOUT / "target") / "release"


def check_flags(program: Path, flags: tuple[str, ...]) -> None:
    """Raises a UsageError with the program's own words if it does not take these flags."""
    try:
        done = subprocess.run([program, *flags, "--check"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise LaunchError(f"{program} does not run: {error}") from None
    if done.returncode != 0:
        # Some complaints begin with the program's name already.
        words = done.stderr.strip().removeprefix(f"{program.name}: ")
        raise UsageError(f"{program.name}: {words}")


def ensure_venv(requirements: Path, venv: Path = VENV) -> Path:
    """The environment's Python, with the requirements installed; at once if they already are."""
    python = venv / "bin" / "python"
    stamp = venv / f"installed-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
    if stamp.exists() and python.exists():
        return python
    made = _run_quietly([sys.executable, "-m", "venv", str(venv)])
    if made:
        raise LaunchError(
            "no virtual environment could be made (is python3-venv missing? "
            f"sudo apt-get install python3-venv): {made}"
        )
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--retries", "1"]
    failed = _run_quietly([*pip, "install", "--timeout", "10", "-r", str(requirements)])
    if failed:
        names = ", ".join(package_names(requirements.read_text(encoding="utf-8")))
        raise LaunchError(
            f"{names} could not be installed; by hand: {python} -m pip install -r {requirements}\n"
            f"{failed}"
        )
    stamp.touch()
    return python


def package_names(requirements: str) -> list[str]:
    """The packages that a requirements file names, each once."""
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    return list(dict.fromkeys(re.split(r"[^\w.-]", line)[0] for line in lines if line))


def _run_quietly(command: list[str]) -> str:
    """Runs a command; the last line of its complaint, or nothing when it succeeded."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    if done.returncode == 0:
        return ""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def main(requirements: list[str]) -> int:
    try:
        check_tools()
        for path in requirements:
            ensure_venv(Path(path))
    except LaunchError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
