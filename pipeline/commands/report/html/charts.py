"""The diagrams of a result as data for the page's script, and as tables for those who read them so.

Each is made of a file that the stage `train` or `evaluate` wrote; a result without the file is without the diagram.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.report.html.runs import Run
from pipeline.runtime import paths
from pipeline.runtime.reading import reading

CONFUSION, PER_CLASS, PRECISION_RECALL = "confusion", "per_class", "precision_recall"  # tables of `evaluate`
MAX_CLASSES = 100  # with more, a diagram of classes cannot be read, and is left to the figure
MAX_ROWS = 20  # of the most frequent confusions, as a table


@dataclass(frozen=True)
class Chart:
    """A diagram.

    Attributes:
        kind: What page.js calls it.
        title: Heading.
        says: What it shows, for those who do not see it.
        data: What page.js draws.
        columns: Heads of the table.
        rows: The same numbers, or those that matter, as a table.
        figure: File of the figure that shows the same, without its ending.
    """

    kind: str
    title: str
    says: str
    data: dict[str, Any]
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    figure: str


def read(name: str, runs: Sequence[Run]) -> Iterator[Chart]:
    """The diagrams of a result that has metrics, in the order of the story: how it learned, how well it does, what it takes for what."""
    makers: dict[str, Callable[[], Chart | None]] = {
        PER_CLASS: lambda: _per_class(name, runs[0].per_class),
        PRECISION_RECALL: lambda: _precision_recall(name),
        CONFUSION: lambda: _confusion(name),
    }
    if chart := _curves(runs):
        yield chart
    for table, make in makers.items():
        with reading(_file(name, table)):
            chart = make()
        if chart:
            yield chart


def _curves(runs: Sequence[Run]) -> Chart | None:
    trained = [run for run in runs if run.curves]
    if not trained:
        return None
    columns = list(trained[0].curves)
    rows = [
        ([run.title] if len(trained) > 1 else []) + [run.curves[column][row] for column in columns]
        for run in trained
        for row in range(len(run.curves["epoch"]))
    ]
    return Chart(
        kind="curves",
        title="How it learned",
        says=f"Curves over {len(trained[0].curves['epoch'])} epochs: {', '.join(columns[1:])}".replace("_", " "),
        data={"runs": [run.id for run in trained]},
        columns=[*(["training"] if len(trained) > 1 else []), *columns],
        rows=rows,
        figure="training_curves",
    )


def _per_class(name: str, rows: Sequence[dict[str, Any]]) -> Chart | None:
    scores = _table(name, PER_CLASS)
    if not scores or len(scores) > MAX_CLASSES:
        return None
    ordered = sorted((row for row in scores if row["score"]), key=lambda row: float(row["score"]))
    if not ordered:
        return None
    columns = list(rows[0]) if rows else list(scores[0])
    measured = next((key for key in columns if key != "class"), "score")
    ends = " and ".join(f"{row['class']} {float(row['score']):.3f}" for row in (ordered[0], ordered[-1]))
    return Chart(
        kind=PER_CLASS,
        title="Per class",
        says=f"Bars of {measured.replace('_', ' ')} for each of {len(scores)} classes; lowest and highest: {ends}",
        data={
            "measured": measured,
            "classes": [row["class"] for row in scores],
            "scores": [float(row["score"]) if row["score"] else None for row in scores],
        },
        columns=columns,
        rows=[[row[column] for column in columns] for row in rows or scores],
        figure="per_class",
    )


def _precision_recall(name: str) -> Chart | None:
    rows = _table(name, PRECISION_RECALL)
    if not rows or len(rows[0]) > MAX_CLASSES:
        return None
    columns = list(rows[0])
    numbers = {column: [float(row[column]) if row[column] else None for row in rows] for column in columns}
    return Chart(
        kind=PRECISION_RECALL,
        title="Precision and recall",
        says=f"Precision over recall, the mean and a line for each of {len(columns) - 2} classes",
        data=numbers,
        columns=columns,
        rows=[[numbers[column][row] for column in columns] for row in range(0, len(rows), max(1, len(rows) // 10))],
        figure="precision_recall",
    )


def _confusion(name: str) -> Chart | None:
    rows = _table(name, CONFUSION)
    classes = list(dict.fromkeys([*(row["actual"] for row in rows), *(row["predicted"] for row in rows)]))
    if not rows or len(classes) > MAX_CLASSES:
        return None
    order = [row["class"] for row in _table(name, PER_CLASS)]
    classes.sort(key=lambda label: order.index(label) if label in order else len(order))
    counts = Counter((row["actual"], row["predicted"]) for row in rows)
    wrong = [(*pair, count) for pair, count in counts.most_common() if pair[0] != pair[1]]
    right = len(rows) - sum(count for _, _, count in wrong)
    return Chart(
        kind=CONFUSION,
        title="What it takes for what",
        says=f"Confusion matrix of {len(classes)} classes: {right:,} of {len(rows):,} examples are on its diagonal",
        data={"classes": classes, "counts": [[counts[actual, found] for found in classes] for actual in classes]},
        columns=("actual", "predicted", "examples"),
        rows=wrong[:MAX_ROWS],
        figure="confusion_matrix",
    )


def tables(name: str) -> list[Path]:
    """Folders of the tables that the diagrams of a result are made of; each is an output of its own."""
    return [paths.plots(name) / table for table in (CONFUSION, PER_CLASS, PRECISION_RECALL)]


def _table(name: str, table: str) -> list[dict[str, str]]:
    """Rows of a table that `evaluate` wrote; none without the file."""
    file = _file(name, table)
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _file(name: str, table: str) -> Path:
    return paths.plots(name) / table / f"{table}.csv"
