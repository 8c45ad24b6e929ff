"""What a page is made of, and the one template that makes a single file of it.

A page loads nothing: style, script and pictures are in the file.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace
from itertools import compress
from pathlib import Path

import jinja2

from plots.style import themed

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Cell:
    """One field of a table. `kind`: number, text, word, verdict, command or link (to `sort`)."""

    text: str
    sort: float | str
    kind: str = "text"
    detail: str = ""  # what stands small beside the text


@dataclass(frozen=True)
class Column:
    name: str
    unit: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Table:
    key: str  # its place in the page: letters and dashes
    title: str
    note: str
    columns: list[Column]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Figure:
    """A final figure: what a reader came for."""

    name: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class Image:
    name: str  # of NAME.svg and NAME.png beside the page
    title: str
    caption: str
    source: str  # a data: address


@dataclass(frozen=True)
class Page:
    kind: str  # what the page is about: `study` or `run`
    title: str
    byline: str
    badges: list[tuple[str, int]]  # verdict, runs
    notices: list[str]  # what a reader must know before the figures
    sentences: list[str]
    reasons: list[tuple[str, str]]  # verdict, sentence
    figures: list[Figure]
    images: list[Image]
    tables: list[Table]
    facts: list[tuple[str, str]]
    notes: list[str] = field(default_factory=list)
    command: str = ""  # what repeats it all


def number(text: str, sort: float | None, detail: str = "") -> Cell:
    """A figure; what is not known stands last when sorted."""
    return Cell(
        text if sort is not None else "–", sort if sort is not None else "", "number", detail
    )


def verdict(name: str) -> Cell:
    return Cell(name, ("VALID", "QUALIFIED", "INVALID", "FAILED").index(name), "verdict")


def command(text: str) -> Cell:
    return Cell(text, text, "command")


def dense(table: Table) -> Table:
    """The table without the columns in which nothing is known."""
    known = [
        any(row[place].sort != "" for row in table.rows) for place in range(len(table.columns))
    ]
    rows = [list(compress(row, known)) for row in table.rows]
    return replace(table, columns=list(compress(table.columns, known)), rows=rows)


def image(directory: Path, name: str, title: str, caption: str) -> Image:
    """A picture of the directory, to be held in the page: the SVG, or the PNG where it is alone."""
    svg = directory / f"{name}.svg"
    if svg.is_file():
        kind, content = "svg+xml", themed(svg.read_text(encoding="utf-8")).encode()
    else:
        kind, content = "png", (directory / f"{name}.png").read_bytes()
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Image(name, title, caption, source)


def write(page: Page, path: Path) -> None:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("report.html").render(page=page)
    path.write_text(text, encoding="utf-8")
