"""Figures for a lecture hall: 16:9, few and large letters, equal data giving equal bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, LINE = "#1f2328", "#656d76", "#d0d7de"
COLORS = FIRST, SECOND, THIRD, FOURTH, FIFTH = "#0969da", "#cf222e", "#1a7f37", "#8250df", "#9a6700"
SIZE = (12.8, 7.2)  # inches; at DPI dots per inch 1,920 x 1,080 pixels
DPI = 150
STYLE = {
    "font.size": 19,
    "axes.titlesize": 19,
    "axes.labelcolor": INK,
    "axes.linewidth": 1.4,
    "grid.linewidth": 1.2,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 17,
    "ytick.labelsize": 17,
    "legend.fontsize": 18,
    "lines.linewidth": 3.5,
    "lines.markersize": 10,
}


@contextmanager
def slide(path: Path, title: str) -> "Iterator[Figure]":
    """A figure with its heading, saved when the block ends; the software's version in a PNG would change its hash."""
    # Here, so that the claims' settings can be read without it: matplotlib takes half a second.
    import matplotlib
    from matplotlib.figure import Figure

    from pipeline import figures

    with matplotlib.rc_context(figures.STYLE | STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        figure.suptitle(title, x=0.015, ha="left", fontsize=25, fontweight="bold")
        yield figure
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def show_numbers(
    axes: "Axes", values: np.ndarray, title: str, *, marked: np.ndarray | None = None, size: float = 20
) -> None:
    """A small matrix as a table of numbers on the colours of their size; `marked` cells stand out."""
    values = np.asarray(values, float)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=max(values.max(), 1e-9) * 1.6)
    for (row, column), value in np.ndenumerate(values):
        bold = marked is not None and bool(marked[row, column])
        axes.text(
            column,
            row,
            f"{value:g}",
            ha="center",
            va="center",
            fontsize=size,
            color=SECOND if bold else INK,
            fontweight="bold" if bold else "normal",
        )
    axes.set_title(title, loc="center")
    bare(axes)


def show_picture(axes: "Axes", picture: np.ndarray, title: str = "", *, cmap: str = "gray", **options) -> None:
    """A picture without axes."""
    axes.imshow(picture, cmap=cmap, **options)
    axes.set_title(title, loc="center")
    bare(axes)


def bare(axes: "Axes") -> None:
    """No ticks, no grid, a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set(visible=True, color=LINE)


def bars(
    axes: "Axes", names: Sequence[str], values: Sequence[float], spread: Sequence[float] | None = None, **options
) -> None:
    """Bars with their numbers above them, and their spread as whiskers."""
    places = np.arange(len(names))
    whiskers = (
        {"yerr": spread, "capsize": 8, "error_kw": {"linewidth": 2.5, "ecolor": GREY}} if spread is not None else {}
    )
    axes.bar(places, values, width=0.68, **{"color": FIRST} | options | whiskers)
    for place, value, error in zip(places, values, spread if spread is not None else np.zeros(len(names)), strict=True):
        axes.annotate(
            f"{value:.3g}", (place, value + error), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=18
        )
    axes.set_xticks(places, names)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.15)
