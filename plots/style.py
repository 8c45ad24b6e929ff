"""How every picture looks: on screen, light or dark, and on paper, without colour too."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 200
SIZE_INCHES = (6.4, 3.8)
# Colour-blind safe (Okabe and Ito), dark enough to tell from white in print.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
STYLES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, FAINT, GRID, PAPER = "#1d1f21", "#6b7075", "#dfe1e4", "#ffffff"
# What a page in the dark shows instead; every other colour is legible on both.
DARK = {
    INK: "#e7e5df",
    FAINT: "#a3a8ad",
    GRID: "#34383d",
    PAPER: "#1c1f23",
    "#0072b2": "#4fa8e0",
    "#d55e00": "#ff8c42",
    "#009e73": "#35c497",
    "#cc79a7": "#e09cc2",
    "#e69f00": "#f2b33d",
    "#56b4e9": "#8fd0f7",
}

matplotlib.rcParams.update(
    {
        "font.size": 10,
        "axes.titlesize": 11,
        "legend.fontsize": 9,
        "svg.hashsalt": "batchkv",  # the same data gives the same file
        "figure.facecolor": PAPER,
        "axes.facecolor": PAPER,
        "grid.color": GRID,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), INK),
        **dict.fromkeys(("xtick.color", "ytick.color"), INK),
    }
)


def new_axes() -> tuple[Figure, Axes]:
    """A picture with one pair of axes."""
    figure, axes = pyplot.subplots(figsize=SIZE_INCHES, layout="constrained")
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """Nothing around the data but two lines and a quiet grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, linewidth=0.6)
    axes.set_axisbelow(True)


def save(figure: Figure, path: Path) -> None:
    """Writes the picture as PNG and as SVG; `path` names either."""
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # the same places in both files, worked out once
    figure.savefig(path.with_suffix(".png"), dpi=DPI)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    pyplot.close(figure)


def themed(svg: str) -> str:
    """The SVG with colours that follow the reader's choice of light or dark."""
    names = {light: f"--c{index}" for index, light in enumerate(DARK)}
    coloured = re.sub(
        "|".join(DARK), lambda match: f"var({names[match[0]]})", svg, flags=re.IGNORECASE
    )
    light = ";".join(f"{name}:{colour}" for colour, name in names.items())
    dark = ";".join(f"{name}:{DARK[colour]}" for colour, name in names.items())
    rule = (
        f"<style>svg{{{light}}}@media (prefers-color-scheme:dark){{svg{{{dark}}}}}"
        "@media print{svg{" + light + "}}</style>"
    )
    return coloured.replace("<defs>", f"{rule}<defs>", 1)


def percent(share: float, decimals: int = 0) -> str:
    return f"{share * 100:.{decimals}f} %"


def ms_text(value: float) -> str:
    """Three digits, never an exponent: 1,290 or 12.3 or 0.0123."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def ops_text(value: float) -> str:
    """A count with its SI prefix: 13.2 M, 640 k, 0."""
    for limit, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit * 0.9995:  # what is rounded to 1,000 has the next prefix
            return f"{value / limit:.3g} {prefix}"
    return f"{value:.3g}"
