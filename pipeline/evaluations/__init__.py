"""How predictions are measured and shown: one file per task, each with the same `evaluate`.

    evaluate(split, classes, predictions, postprocess) -> Evaluation

takes the test split of the packed dataset, the class names, the folder that the stage `postprocess` wrote and that
experiment's `postprocess` params.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.drawing import INK

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One test example as the figures show it: drawn, with a caption and the colour of the caption's first line."""

    picture: np.ndarray
    caption: str
    color: tuple[int, int, int] = INK


@dataclass(frozen=True)
class Evaluation:
    """What came out, ready to be written.

    Attributes:
        metrics: Numbers under the keys of metrics.json, in order.
        headline: The key of `metrics` that sums up the experiment.
        per_class: One row per class: `class`, then numbers; NaN where a class does not occur.
        shown_per_class: Column of `per_class` that is drawn, and what to call it.
        protocol: The protocol's name.
        conditions: What else one must know to compare the numbers, a sentence each.
        unit: What the examples are: "pictures" or "signals".
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


def read_protocol(predictions: Path) -> list[str]:
    """What `postprocess` wrote of how the outputs came about, where that is not one look of one network; else nothing."""
    file = predictions / "protocol.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
