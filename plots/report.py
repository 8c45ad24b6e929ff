#!/usr/bin/env python3
"""Makes report.html, a page that needs no network: `python -m plots.report DIRECTORY`.

The directory is a run's (logs/latest) or a study's (studies/NAME). Its pictures are drawn beside
the page, each as PNG and as SVG. A picture of the layers' costs is added where the last line of
`batchkv-bench ceilings` was kept as ceilings*.json, in the directory or in bench/out/.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    from plots import page, run_page, study, study_page
except ModuleNotFoundError as error:
    sys.exit(
        f"plots.report: the Python package {error.name} is missing. run-cluster.sh sets it up; by "
        "hand: python3 -m venv .venv && .venv/bin/pip install -r plots/requirements.txt, then "
        ".venv/bin/python -m plots.report DIRECTORY"
    )

BENCH_OUT = Path(__file__).resolve().parent.parent / "bench" / "out"


def newest_ceilings(directory: Path) -> Path | None:
    """The layers' costs that were measured last."""
    files = [path for place in (directory, BENCH_OUT) for path in place.glob("ceilings*.json")]
    return max(files, key=lambda path: path.stat().st_mtime, default=None)


def make(directory: Path) -> int:
    """Writes the page; how many pictures could not be drawn."""
    ceilings = newest_ceilings(directory)
    if (directory / "study.json").exists():
        made, problems = study_page.make(directory, ceilings), 0
    else:
        made, problems = run_page.make(directory, ceilings)
    page.write(made, directory / "report.html")
    return problems


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 0 if arguments in (["--help"], ["-h"]) else 2
    directory = Path(arguments[0])
    try:
        return 1 if make(directory) else 0
    except (study.StudyError, run_page.RunError, OSError) as problem:
        print(f"plots.report: no report.html was made: {problem}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
