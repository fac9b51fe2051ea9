"""Stage `evaluate`: an experiment's predictions on the test split against the truth, in numbers and figures.

Writes metrics.json, plots/ (tables for `dvc plots`) and figures/ (for people). Per-class numbers are a list of rows in
metrics.json, which `dvc metrics show` leaves out of its table: with one column per class nobody could read it.

How predictions are measured and shown differs by task: one file each, with the same `evaluate`.

    evaluate(split, classes, predictions, postprocess) -> Evaluation

takes the test split of the packed dataset, the class names, the folder that the stage `postprocess` wrote and that
experiment's `postprocess` params.
"""

import csv
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.by_name import Files
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import INK, grid, write_png
from pipeline.formats import history, packed
from pipeline.formats.metrics import rounded, write_metrics
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.guard import stage

# Tables for `dvc plots` with the axes that dvc.yaml names.
PLOTS = {
    "confusion": ("actual", "predicted"),
    "per_class": ("class", "score"),
    "precision_recall": ("recall", "precision"),
}
_files = Files(__name__, "a task")
names, load = _files.names, _files.load


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One test example as the figures show it: drawn, with a caption and the colour of the caption's first line."""

    image: np.ndarray
    caption: str
    color: tuple[int, int, int] = INK


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation, ready to be written.

    Attributes:
        metrics: Numbers under the keys of metrics.json, in order.
        headline: The key of `metrics` that sums up the experiment.
        per_class: One row per class: `class`, then numbers; NaN where a class does not occur.
        shown_per_class: Column of `per_class` that is drawn, and what to call it.
        protocol: The protocol's name.
        conditions: What else one must know to compare the numbers, a sentence each.
        unit: What the examples are: "images" or "signals".
        tables: Further tables for `dvc plots`, by name.
        diagrams: Further diagrams: file name to (what it shows, a function that draws it: path, title, subtitle).
        ranking: Example indices, the best result first.
        ranked_by: What the ranking goes by.
        key: How to read a case.
        columns: Cases in a row of a figure.
        show: Draws example i.
        analyses: Further tables for metrics.json, by key.
    """

    metrics: Mapping[str, float]
    headline: str
    per_class: Sequence[Row]
    shown_per_class: tuple[str, str]
    protocol: str
    conditions: Sequence[str]
    unit: str
    tables: Mapping[str, Sequence[Row]]
    diagrams: Mapping[str, tuple[str, Callable[..., None]]]
    ranking: np.ndarray
    ranked_by: str
    key: str
    columns: int
    show: Callable[[int], Case]
    analyses: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def run(name: str) -> None:
    """Evaluate an experiment or an ensemble, which has no training to draw.

    Raises:
        InputError: There is no such experiment, or what it needs has not been made.
    """
    params = load_params()
    experiment = params.measured(name)
    dataset = paths.augmented(experiment.dataset)
    histories = [] if name in params.ensembles else [paths.history(name)]
    inputs = [*packed.split_files(dataset, "test"), *histories, paths.predictions(name)]
    outputs = [paths.metrics(name), paths.plots(name), paths.figures(name)]
    with stage(params.stage("evaluate", name), name, inputs=inputs, outputs=outputs) as (metrics_file, plots, images):
        split, index = packed.open_split(dataset, "test"), packed.open_index(dataset)
        similar = experiment.evaluate.similar_classes
        further = {"similar_classes": similar} if similar else {}
        evaluation = load(index.task).evaluate(
            split, index.classes, paths.predictions(name), experiment.postprocess, **further
        )
        write_metrics(metrics_file, content(evaluation, examples=len(split)))
        write_plots(plots, evaluation)
        for rows in filter(None, map(history.read, histories)):  # a model that was not trained here has none
            diagrams.training_curves(images / "training_curves.png", rows, title=f"{name} · training")
        draw_diagrams(images, name, evaluation, examples=len(split))
        draw_cases(images, name, evaluation, count=experiment.evaluate.images, examples=len(split))


def content(evaluation: Evaluation, *, examples: int) -> dict[str, Any]:
    """Of metrics.json: the metrics, then what they were measured on and how, then the rows per class and the analyses."""
    return {
        **evaluation.metrics,
        "examples": examples,
        "protocol": evaluation.protocol,
        "conditions": list(evaluation.conditions),
        "per_class": evaluation.per_class,
        **evaluation.analyses,
    }


def write_plots(folder: Path, evaluation: Evaluation) -> None:
    """Write each table for `dvc plots` into a folder of its own, for which dvc.yaml names the axes.

    Those that the task does not have get a header only: DVC wants every output of a stage to be there, and draws nothing.
    """
    column, _ = evaluation.shown_per_class
    scores = [{"class": row["class"], "score": row[column]} for row in evaluation.per_class]
    tables = {"per_class": scores, **evaluation.tables}
    for name, axes in PLOTS.items():
        (folder / name).mkdir()
        write_table(folder / name / f"{name}.csv", tables.get(name, ()), columns=axes)


def write_table(file: Path, rows: Sequence[Row], *, columns: Sequence[str]) -> None:
    """Write rows of one set of columns as CSV, of no rows the header only; an undefined number is an empty field."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rounded(rows))


def draw_diagrams(folder: Path, name: str, evaluation: Evaluation, *, examples: int) -> None:
    """Draw the bars per class and the diagrams of the task."""
    score = f"{evaluation.headline} {evaluation.metrics[evaluation.headline]:.3f}"
    subtitle = f"test split, {examples:,} {evaluation.unit} · {evaluation.protocol} · {score}"
    column, label = evaluation.shown_per_class
    diagrams.per_class(
        folder / "per_class.png",
        {row["class"]: row[column] for row in evaluation.per_class},
        metric=label,
        title=f"{name} · per class",
        subtitle=subtitle,
    )
    for file, (what, draw) in evaluation.diagrams.items():
        draw(folder / file, title=f"{name} · {what}", subtitle=subtitle)


def draw_cases(folder: Path, name: str, evaluation: Evaluation, *, count: int, examples: int) -> None:
    """Draw `count` examples spread evenly over the test split, the best ones and the worst ones."""
    count = min(count, examples)
    if count == 0:
        return
    spread = np.unique(np.linspace(0, examples - 1, count).astype(int))
    chosen = {
        "predictions": (spread, f"{count} of {examples:,} test {evaluation.unit}, evenly spaced, not selected"),
        "best": (
            evaluation.ranking[:count],
            f"the highest of {examples:,} test {evaluation.unit} by {evaluation.ranked_by}",
        ),
        "worst": (
            evaluation.ranking[::-1][:count],
            f"the lowest of {examples:,} test {evaluation.unit} by {evaluation.ranked_by}",
        ),
    }
    draw = functools.cache(evaluation.show)
    for file, (indices, choice) in chosen.items():
        cases = [draw(int(index)) for index in indices]
        sheet = grid(
            [case.image for case in cases],
            [case.caption for case in cases],
            evaluation.columns,
            title=f"{name} · {file}",
            subtitle=f"{choice} · {evaluation.key}",
            colors=[case.color for case in cases],
        )
        write_png(folder / f"{file}.png", sheet)
