"""The diagrams of evaluations and datasets, in one style, sized for a slide. Equal data give equal bytes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.drawing import colors, fonts
from pipeline.drawing.colors import GREY, INK, LINE
from pipeline.drawing.overlays import class_color

STYLE = {
    "font.family": fonts.FAMILY,
    "font.size": 11,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": GREY,
    "axes.edgecolor": LINE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#eaeef2",
    "xtick.color": GREY,
    "ytick.color": GREY,
    "lines.linewidth": 2.2,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.12,
    "figure.constrained_layout.w_pad": 0.12,
}
WIDTH = 10.0  # inches: 1,500 pixels at DPI dots per inch
DPI = 150
PATCH = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # behind numbers that a line may cross
MAX_NAMED_CLASSES = 40  # with more classes not every class has its name on an axis
MAX_NUMBERED_CLASSES = 21  # VOC's with background; with more classes the cells of a confusion matrix hold no numbers
MIN_PERCENT_COUNT = 10_000  # from this count on, too long to read in a cell, cells hold percentages


def training_curves(path: Path, history: Mapping[str, np.ndarray], *, title: str) -> None:
    """Loss, metrics and learning rate over the epochs, training against validation.

    Args:
        path: The PNG to write.
        history: Columns of history.csv by name: epoch, loss, val_loss, ... and learning_rate.
        title: Heading of the figure.
    """
    epochs = history["epoch"]
    names = [name for name in history if name != "epoch" and not name.startswith("val_")]
    names.sort(key=lambda name: (name != "loss", name == "learning_rate"))  # loss first, learning rate last
    best_row = (
        None if "val_loss" not in history or np.isnan(history["val_loss"]).all() else np.nanargmin(history["val_loss"])
    )
    minimum = "" if best_row is None else f" · lowest validation loss after epoch {epochs[best_row]:g} (dotted)"
    with _figure(path, title, f"{len(epochs)} epochs{minimum}", 4.2) as figure:
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
            _curves(axes, epochs, history, name)
            if best_row is not None:
                axes.axvline(epochs[best_row], color=GREY, linewidth=1.2, linestyle=":")


def confusion_matrix(path: Path, counts: np.ndarray, classes: Sequence[str], *, title: str, subtitle: str) -> None:
    """How many examples of each true class (row) are predicted as each class (column), coloured by the fraction of the row.

    Args:
        path: The PNG to write.
        counts: int (C, C), a row for each true class.
        classes: C names.
        title: Heading of the figure.
        subtitle: The protocol in one line.
    """
    row_fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with _figure(path, title, subtitle, 8.6) as figure:
        axes = figure.subplots()
        image = axes.imshow(row_fractions, cmap="Blues", vmin=0, vmax=1)
        is_percent = counts.max() >= MIN_PERCENT_COUNT
        label = (
            "fraction of the true class (numbers: percent)"
            if is_percent
            else "fraction of the true class (numbers: examples)"
        )
        figure.colorbar(image, ax=axes, label=label, shrink=0.8).outline.set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if len(classes) <= MAX_NAMED_CLASSES:
            are_vertical = (
                sum(len(fonts.written(name)) for name in classes) > 60
            )  # horizontal names of more letters would overlap
            axes.set_xticks(range(len(classes)), classes, rotation=90 if are_vertical else 0)
            axes.set_yticks(range(len(classes)), classes)
        if len(classes) <= MAX_NUMBERED_CLASSES:
            visible = row_fractions >= 0.005 if is_percent else counts > 0
            for row, column in np.argwhere(visible):
                color = "white" if row_fractions[row, column] > 0.5 else INK
                text = f"{100 * row_fractions[row, column]:.0f}" if is_percent else f"{counts[row, column]}"
                axes.text(
                    column, row, text, ha="center", va="center", color=color, fontsize=10 if len(classes) <= 12 else 9
                )


def precision_recall(
    path: Path,
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    mean: tuple[np.ndarray, np.ndarray],
    *,
    title: str,
    subtitle: str,
) -> None:
    """Precision over recall, a curve for every class and one for the mean.

    Args:
        path: The PNG to write.
        curves: For each class, by its text in the legend: recall and precision, 0..1.
        mean: Recall and mean precision over all classes.
        title: Heading of the figure.
        subtitle: The protocol in one line.
    """
    with _figure(path, title, subtitle, 6.0) as figure:
        axes = figure.subplots()
        for label, (text, (recall, precision)) in enumerate(curves.items()):
            axes.plot(recall, precision, color=_hex(label), linewidth=1.6, label=text)
        axes.plot(*mean, color=INK, linewidth=2.8, linestyle="--", label="mean")
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02))
        if len(curves) <= MAX_NAMED_CLASSES:
            columns = 1 + len(curves) // 18
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns, title="average precision")


def f1(
    path: Path,
    thresholds: np.ndarray,
    curves: Mapping[str, np.ndarray],
    total: np.ndarray,
    *,
    marked: tuple[float, str],
    title: str,
    subtitle: str,
) -> None:
    """F1 over the threshold of the score, a curve for every class and one for all together.

    Args:
        path: The PNG to write.
        thresholds: (n,), 0..1.
        curves: F1 of each class, (n,), by its name; NaN where it is not defined.
        total: F1 over all classes, (n,).
        marked: The threshold in use, and what it is in words.
        title: Heading of the figure.
        subtitle: The protocol in one line.
    """
    with _figure(path, title, subtitle, 6.0) as figure:
        axes = figure.subplots()
        for label, (name, values) in enumerate(curves.items()):
            is_named = len(curves) <= MAX_NAMED_CLASSES
            axes.plot(thresholds, values, color=_hex(label), linewidth=1.6, label=name if is_named else None)
        axes.plot(thresholds, total, color=INK, linewidth=2.8, linestyle="--", label="all classes")
        position, words = marked
        value = total[int(np.argmin(np.abs(thresholds - position)))]
        axes.axvline(position, color=colors.RED, linewidth=1.6, linestyle=":", label=f"{words}\nF1 {value:.3f}")
        axes.set(xlabel="threshold of the score", ylabel="F1", xlim=(0, 1.01), ylim=(0, 1.02))
        columns = 1 + len(axes.get_legend_handles_labels()[0]) // 18
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=columns)


def per_class(path: Path, values: Mapping[str, float], *, metric: str, title: str, subtitle: str) -> None:
    """One bar per class, in the order of falling values, and the mean over the classes.

    Args:
        path: The PNG to write.
        values: The metric of each class, 0..1; NaN for a class that does not occur.
        metric: Label of the axis.
        title: Heading of the figure.
        subtitle: The protocol in one line.
    """
    names = sorted(values, key=lambda name: -np.nan_to_num(values[name], nan=-1.0))
    if len(names) > MAX_NAMED_CLASSES:  # the best and the worst classes say most
        half = MAX_NAMED_CLASSES // 2
        names = names[:half] + names[-half:]
        subtitle += f" · the {half} best and the {half} worst of {len(values)} classes"
    heights = np.array([values[name] for name in names])
    with _figure(path, title, subtitle, 1.9 + 0.3 * len(names)) as figure:
        axes = figure.subplots()
        axes.barh(range(len(names)), np.nan_to_num(heights), color=colors.BLUE, height=0.72)
        for row, height in enumerate(heights):
            text = "does not occur" if np.isnan(height) else f"{height:.3f}"
            left = np.nan_to_num(height) + 0.008
            axes.text(left, row, text, va="center", color=GREY, fontsize=10, bbox=PATCH)
        mean = float(np.nanmean(list(values.values()))) if not np.isnan(list(values.values())).all() else 0.0
        axes.axvline(mean, color=colors.RED, linewidth=1.6, linestyle="--", label=f"mean over classes {mean:.3f}")
        axes.set(xlim=(0, 1.08), xlabel=metric, ylim=(len(names) - 0.4, -0.6))
        axes.set_yticks(range(len(names)), names, color=INK)
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def fractions(
    path: Path, fractions: Sequence[tuple[str, Sequence[float]]], kinds: Sequence[str], *, title: str, subtitle: str
) -> None:
    """One bar per row, divided into kinds; of too many rows only the first, their summary.

    Args:
        path: The PNG to write.
        fractions: For each row its name and its fractions, one a kind; NaN for a row without counts.
        kinds: Names of the kinds.
        title: Heading of the figure.
        subtitle: The protocol in one line.
    """
    shown = fractions if len(fractions) <= MAX_NAMED_CLASSES + 1 else fractions[:1]
    values = np.nan_to_num(np.array([row for _, row in shown], np.float64))
    starts = np.cumsum(values, axis=1) - values
    with _figure(path, title, subtitle, 2.2 + 0.32 * len(shown)) as figure:
        axes = figure.subplots()
        for column, kind in enumerate(kinds):
            color = colors.KINDS[column]
            axes.barh(
                range(len(shown)), values[:, column], left=starts[:, column], color=color, height=0.74, label=kind
            )
        for row, column in np.argwhere(values >= 0.03):
            text = f"{100 * values[row, column]:.0f}"
            center = starts[row, column] + values[row, column] / 2
            axes.text(center, row, text, ha="center", va="center", color="white", fontsize=9)
        axes.set(xlim=(0, 1), xlabel="fraction (numbers: percent)", ylim=(len(shown) - 0.4, -0.6))
        axes.set_yticks(range(len(shown)), [name for name, _ in shown], color=INK)
        axes.grid(axis="y", visible=False)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(kinds), borderaxespad=0.2)


def dataset(path: Path, report: Mapping[str, Any], *, unit: str, title: str, subtitle: str) -> None:
    """The classes of a packed dataset in each split, its colours, and for detection the fraction of objects that grids lose.

    Args:
        path: The PNG to write.
        report: The report of the stage `augment`.
        unit: The counted things: "examples", "objects" or "pixels".
        title: Heading of the figure.
        subtitle: The report in one line.
    """
    splits = report["splits"]
    names = sorted(splits["train"]["per_class"], key=lambda name: -splits["train"]["per_class"][name])
    if len(names) > MAX_NAMED_CLASSES:
        half = MAX_NAMED_CLASSES // 2
        subtitle += f" · the {half} most and the {half} least frequent of {len(names)} classes"
        names = names[:half] + names[-half:]
    lost = {split: entry["boxes"].get("lost_by_grid") for split, entry in splits.items() if "boxes" in entry}
    with _figure(path, title, subtitle, max(3.4, 1.7 + 0.3 * len(names))) as figure:
        further = ("colours" in report) + any(lost.values())
        panels = np.atleast_1d(figure.subplots(1, 1 + further, width_ratios=[1.5, *[1] * further]))
        _class_fractions(panels[0], splits, names, unit)
        if "colours" in report:
            _components(panels[-1], np.array(report["mean"]) / 255, report["colours"])
        if any(lost.values()):
            for (split, lost_fractions), color in zip(lost.items(), colors.SPLITS, strict=True):
                if lost_fractions:
                    grids = [int(grid) for grid in lost_fractions]
                    panels[1].plot(grids, list(lost_fractions.values()), "o-", color=color, label=split)
            panels[1].set(xlabel="cells along a side of the grid", ylabel="fraction of the objects", ylim=(0, None))
            panels[1].set_title("lost in shared cells")
            panels[1].legend()


def _components(axes: Axes, mean: np.ndarray, colours: Mapping[str, Any]) -> None:
    """A strip for each principal component: the colours up to two standard deviations along it from the mean colour."""
    values, vectors = np.array(colours["eigenvalues"]), np.array(colours["eigenvectors"])
    steps = np.linspace(-2, 2, 101)
    strips = (
        mean + steps[None, :, None] * (np.sqrt(values)[:, None] * vectors)[:, None, :]
    )  # (component, step, channel)
    axes.imshow(strips.clip(0, 1), aspect="auto", extent=(-2, 2, len(values) - 0.5, -0.5), interpolation="nearest")
    axes.axvline(0, color="white", linewidth=1)
    axes.hlines(np.arange(1, len(values)) - 0.5, -2, 2, color="white", linewidth=6)
    variance_fractions = values / max(values.sum(), 1e-12)
    axes.set_yticks(range(len(values)), [f"{fraction:.1%}" for fraction in variance_fractions], color=INK)
    axes.set(xlabel="deviations from the mean", ylabel="fraction of the variance")
    axes.set_title("principal colours")
    axes.grid(visible=False)


def _class_fractions(axes: Axes, splits: Mapping[str, Any], names: Sequence[str], unit: str) -> None:
    """A bar for each class and split: the class's fraction of the split."""
    height = 0.8 / len(splits)
    for number, ((split, entry), color) in enumerate(zip(splits.items(), colors.SPLITS, strict=True)):
        counts = np.array([entry["per_class"][name] for name in names])
        total = max(sum(entry["per_class"].values()), 1e-12)
        rows = np.arange(len(names)) + (number - (len(splits) - 1) / 2) * height
        axes.barh(rows, counts / total, height=height, color=color, label=split)
    axes.set_yticks(range(len(names)), names, color=INK)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlabel=f"fraction of the split's {unit}")
    axes.set_title("classes")
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, 1.6 * axes.get_xlim()[1])  # space for the legend beside the bars
    axes.legend(loc="lower right")


@contextmanager
def _figure(path: Path, title: str, subtitle: str, height: float) -> Iterator[Figure]:
    """A figure with its heading, saved as PNG at the end of the block, without the software's version, which would change the bytes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        inch = 1 / height
        figure.text(0.015, 1 - 0.14 * inch, title, fontsize=16, fontweight="bold", va="top")
        figure.text(0.015, 1 - 0.46 * inch, subtitle, fontsize=10.5, color=GREY, va="top")
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - 0.72 * inch))
        yield figure
        fonts.fit_figure(figure)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})


def _curves(axes: Axes, epochs: np.ndarray, history: Mapping[str, np.ndarray], name: str) -> None:
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, history[name], color=colors.BLUE, marker=marker, label="training")
    if f"val_{name}" in history:
        axes.plot(epochs, history[f"val_{name}"], color=colors.RED, marker=marker, label="validation")
        axes.legend(loc="best")
    axes.set_title(name.replace("_", " "))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    if name == "learning_rate":
        axes.set_yscale("log")


def _hex(label: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*class_color(label))
