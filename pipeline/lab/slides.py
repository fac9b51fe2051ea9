"""Figures for a lecture hall: 16:9, with few and large letters. Equal data give equal bytes."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.drawing import colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = FIRST, SECOND, THIRD, FOURTH, FIFTH = colors.SERIES
SIZE = (12.8, 7.2)  # inches; at DPI dots per inch 1,920 x 1,080 pixels
DPI = 150
STYLE = {  # replaces values of pipeline.drawing.diagrams.STYLE
    "font.size": 19,
    "axes.titlesize": 19,
    "axes.linewidth": 1.4,
    "grid.linewidth": 1.2,
    "xtick.labelsize": 17,
    "ytick.labelsize": 17,
    "legend.fontsize": 18,
    "lines.linewidth": 3.5,
    "lines.markersize": 10,
}


@contextmanager
def slide(path: Path, title: str) -> "Iterator[Figure]":
    """Yields an empty figure with a heading; it is saved as PNG when the block ends, without the version of matplotlib in the file."""
    # Imported here, because matplotlib takes half a second and the settings of claims are read without it.
    import matplotlib
    from matplotlib.figure import Figure

    from pipeline.drawing import diagrams, fonts

    inked = dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color"), colors.INK)
    with matplotlib.rc_context(diagrams.STYLE | STYLE | inked):
        figure = Figure(figsize=SIZE, layout="constrained")
        figure.suptitle(title, x=0.015, ha="left", fontsize=25, fontweight="bold")
        yield figure
        fonts.fit_figure(figure)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def show_numbers(
    axes: "Axes", values: np.ndarray, title: str, *, marked: np.ndarray | None = None, size: float = 20
) -> None:
    """Draw a small matrix (rows, columns) as numbers on cells coloured by value; cells in the mask `marked` are bold and coloured."""
    values = np.asarray(values, float)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=max(values.max(), 1e-9) * 2.4)
    for (row, column), value in np.ndenumerate(values):
        bold = marked is not None and bool(marked[row, column])
        axes.text(
            column,
            row,
            f"{value:g}",
            ha="center",
            va="center",
            fontsize=size,
            color=SECOND if bold else colors.INK,
            fontweight="bold" if bold else "normal",
        )
    axes.set_title(title, loc="center")
    bare(axes)


def show_image(axes: "Axes", image: np.ndarray, title: str = "", *, cmap: str = "gray", **options) -> None:
    """Draw an image (H, W) or (H, W, 3) without ticks; `options` are those of `imshow`."""
    axes.imshow(image, cmap=cmap, **options)
    axes.set_title(title, loc="center")
    bare(axes)


def bare(axes: "Axes") -> None:
    """Remove ticks and grid, and draw a thin frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.spines[:].set(visible=True, color=colors.LINE)


def bars(
    axes: "Axes",
    names: Sequence[str],
    values: Sequence[float],
    spread: Sequence[float] | None = None,
    *,
    index: int = 0,
    of: int = 1,
    size: float = 18,
    form: str = ".3g",
    **options,
) -> None:
    """Draw bars with their values above them and their spread as whiskers.

    Args:
        axes: Axes to draw on.
        names: Names below the bars.
        values: Heights of the bars.
        spread: Half lengths of the whiskers; None draws no whiskers.
        index: Position of these bars among the bars of a name, from 0.
        of: Number of bars side by side for each name.
        size: Font size of the values.
        form: Format of the values.
        options: Further options of `bar`.
    """
    width = 0.68 if of == 1 else 0.84 / of
    centres = np.arange(len(names)) + (index - (of - 1) / 2) * width
    errors = np.zeros(len(names)) if spread is None else np.asarray(spread)
    whiskers = {"yerr": errors, "capsize": 8 / of, "error_kw": {"linewidth": 2.5, "ecolor": colors.GREY}}
    axes.bar(centres, values, width, **{"color": FIRST} | options | ({} if spread is None else whiskers))
    for centre, value, error in zip(centres, values, errors, strict=True):
        axes.annotate(
            f"{value:{form}}",
            (centre, value + error),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=size,
        )
    axes.set_xticks(np.arange(len(names)), names)
    axes.grid(axis="x", visible=False)
    axes.margins(y=0.15)
