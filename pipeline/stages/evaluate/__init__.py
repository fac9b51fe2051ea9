"""Stage `evaluate`: compares an experiment's predictions on the test split with the annotations, in numbers and figures.

Writes metrics.json, plots/ (tables for `dvc plots`, whose templates are in .dvc/plots) and figures/ (for people).

Each task has a file with the function

    evaluate(split, classes, predictions, postprocess) -> Evaluation

Its arguments are the test split of the packed dataset, the class names, the folder of predictions that the stage `postprocess` wrote,
and the experiment's `postprocess` params; for a detector with `similar_classes` also these.
"""

import csv
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import metrics
from cnnkeras.by_name import Files
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import INK, grid, write_png
from pipeline.formats import history, packed
from pipeline.formats.metrics import figures, over_seeds, rounded, write_metrics
from pipeline.images.principal_components import evenly_spaced
from pipeline.params import check_found_classes, load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

# The tables for `dvc plots`, and their columns, which dvc.yaml names as axes.
PLOTS = {
    "training": ("epoch", "value"),
    "confusion": ("actual", "predicted"),
    "per_class": ("class", "score"),
    "precision_recall": ("recall", "precision"),
}
_files = Files(__name__, "a task")
names, load = _files.names, _files.load


Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A test example in a figure: its drawing, uint8 (H, W, 3), its caption, and the RGB colour of the caption's first line."""

    image: np.ndarray
    caption: str
    color: tuple[int, int, int] = INK


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation, ready to be written.

    Attributes:
        metrics: Numbers under the keys of metrics.json, in order.
        headline: The key of `metrics` for the main result.
        per_class: A row for each class: `class`, then numbers; NaN for a class that does not occur.
        shown_per_class: The column of `per_class` to draw, and its label.
        protocol: The protocol's name.
        conditions: Further conditions to know when comparing the numbers, one sentence each.
        unit: "images" or "signals", the word for the examples.
        tables: Further tables for `dvc plots`, by name.
        diagrams: Further diagrams, by file name: a title, and a function that draws the diagram from path, title and subtitle.
        ranking: Indices of the examples, int (n,), the best result first.
        ranked_by: The quantity by which the examples are ranked, in words.
        key: Explanation of the captions and drawings of the cases.
        columns: Number of cases in a row of a figure.
        show: A function that draws the example of an index.
        judged: The predictions and the truth, as a metric of the task takes them (`cnnkeras/metrics/__init__.py`).
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
    judged: tuple[Any, Any]
    analyses: Mapping[str, Sequence[Row]] = field(default_factory=dict)


def run(name: str) -> None:
    """Evaluate an experiment or an ensemble. Only experiments have a training to draw. With several seeds, tables and figures are of the first.

    Args:
        name: A key of `experiments` or `ensembles` in params.yaml.

    Raises:
        InputError: There is no such entry, or an input of the stage is missing.
    """
    params = load_params()
    check_found_classes(params, name)
    experiment = params.measured(name)
    dataset = paths.augmented(experiment.dataset)
    histories = [] if name in params.ensembles else [paths.history(name)]
    inputs = [*packed.split_files(dataset, "test"), *histories, paths.predictions(name)]
    outputs = [paths.metrics(name), paths.plots(name), paths.figures(name)]
    with stage(params.stage("evaluate", name), name, inputs=inputs, outputs=outputs, params=params) as (
        metrics_file,
        plots,
        images,
    ):
        split, index = packed.open_split(dataset, "test"), packed.open_index(dataset)
        similar_classes = experiment.evaluate.similar_classes
        options = {"similar_classes": similar_classes} if similar_classes else {}
        evaluate, repeats = load(index.task).evaluate, params.repeats(name)
        further = functools.partial(with_metrics, chosen=experiment.evaluate.metrics, classes=len(index.classes))
        evaluation, *others = (
            further(
                evaluate(
                    split, index.classes, paths.predictions(name) / repeat.folder, experiment.postprocess, **options
                )
            )
            for repeat in repeats
        )
        numbers = content(evaluation, examples=len(split))
        if others:
            by_seed = zip(repeats, (evaluation, *others), strict=True)
            numbers = over_seeds(numbers, {repeat.seed: one.metrics for repeat, one in by_seed})
        write_metrics(metrics_file, numbers)
        trainings = [
            rows for rows in map(history.read, histories) if rows
        ]  # none for a model that was not trained here
        write_plots(plots, evaluation, trainings)
        title = repeats[0].title
        for rows in trainings:
            diagrams.training_curves(images / "training_curves.png", rows, title=f"{title} · training")
        draw_diagrams(images, title, evaluation, examples=len(split))
        draw_cases(images, title, evaluation, count=experiment.evaluate.images, examples=len(split))
    score = f"{evaluation.headline} {numbers[evaluation.headline]:.3f}"
    outcome.say("evaluate", name, score + (f", mean of {len(repeats)} seeds" if others else ""), paths.metrics(name))


def with_metrics(evaluation: Evaluation, *, chosen: Sequence[Mapping[str, Any]], classes: int) -> Evaluation:
    """The evaluation with further metrics beside the task's: `name` and settings of each.

    Raises:
        InputError: A metric did not give the numbers that it names.
    """
    numbers = dict(evaluation.metrics)
    for settings in chosen:
        name = settings["name"]
        module, arguments = metrics.load(name), {key: value for key, value in settings.items() if key != "name"}
        measured = module.measure(*evaluation.judged, classes=classes, **arguments)
        try:
            numbers |= figures(measured, module.METRICS)
        except ValueError as error:
            raise InputError(f"metric {name}: {error}") from error
    return replace(evaluation, metrics=numbers)


def content(evaluation: Evaluation, *, examples: int) -> dict[str, Any]:
    """Content of metrics.json: the metrics, the number of examples, then in lists the protocol, the rows per class and the analyses."""
    return {
        **evaluation.metrics,
        "examples": examples,
        "protocol": [evaluation.protocol],
        "conditions": list(evaluation.conditions),
        "per_class": evaluation.per_class,
        **evaluation.analyses,
    }


def write_plots(folder: Path, evaluation: Evaluation, trainings: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Write each table for `dvc plots` into a separate folder, for which dvc.yaml names the axes.

    A table that the task does not have consists of a header: DVC requires every output of a stage to exist, and draws nothing of it.
    """
    column, _ = evaluation.shown_per_class
    scores = [{"class": row["class"], "score": row[column]} for row in evaluation.per_class]
    curves = [row for rows in trainings for row in training_table(rows)]
    tables = {"training": curves, "per_class": scores, **evaluation.tables}
    for name, axes in PLOTS.items():
        (folder / name).mkdir()
        write_table(folder / name / f"{name}.csv", tables.get(name, ()), columns=axes)


def training_table(rows: Mapping[str, np.ndarray]) -> list[Row]:
    """The columns of a history that training and validation both have, the loss first: a row for each quantity, split and epoch."""
    quantities = sorted((name for name in rows if f"val_{name}" in rows), key=lambda name: (name != "loss", name))
    return [
        {"epoch": int(epoch), "value": value, "quantity": quantity, "split": split}
        for quantity in quantities
        for split, values in (("training", rows[quantity]), ("validation", rows[f"val_{quantity}"]))
        for epoch, value in zip(rows["epoch"], values, strict=True)
    ]


def write_table(file: Path, rows: Sequence[Row], *, columns: Sequence[str]) -> None:
    """Write rows with equal columns as CSV. Without rows the file has only a header; a NaN is an empty field."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rounded(rows))


def draw_diagrams(folder: Path, name: str, evaluation: Evaluation, *, examples: int) -> None:
    """Draw the bars per class and the diagrams of the task."""
    score = f"{evaluation.headline} {evaluation.metrics[evaluation.headline]:.3f}"
    subtitle = f"test split, {examples:,} {evaluation.unit} · {evaluation.protocol} · {score}"
    column, axis_label = evaluation.shown_per_class
    diagrams.per_class(
        folder / "per_class.png",
        {row["class"]: row[column] for row in evaluation.per_class},
        metric=axis_label,
        title=f"{name} · per class",
        subtitle=subtitle,
    )
    for file, (label, draw) in evaluation.diagrams.items():
        draw(folder / file, title=f"{name} · {label}", subtitle=subtitle)


def draw_cases(folder: Path, name: str, evaluation: Evaluation, *, count: int, examples: int) -> None:
    """Draw three sheets of at most `count` examples: evenly spaced in the test split, the best, and the worst."""
    count = min(count, examples)
    if count == 0:
        return
    spread = evenly_spaced(examples, count)
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
