"""Rows of a classification dataset: a class."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.drawing.overlays import draw_signal, fit
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.stages.augment.rows import PlainRows, count

NEEDS_LABEL = True
UNIT = "examples"

Columns = dict[str, np.ndarray]


def columns(_part: AnnotatedImage, label: int | None, _size: tuple[int, int]) -> tuple[Columns, Columns]:
    """`labels`, the class of the example."""
    return {"labels": np.int32(label)}, {}


def original_columns(_part: AnnotatedImage) -> Columns:
    """None."""
    return {}


def draw(inputs: np.ndarray, _split: Split, _row: int, _classes: Sequence[str], *, side: int) -> np.ndarray:
    """The image, or the signal."""
    return draw_signal(inputs, side=side) if inputs.ndim == 2 else fit(inputs, side)


def caption(split: Split, row: int, classes: Sequence[str]) -> str:
    """The class and the id."""
    return f"{classes[split['labels'][row]]}\n{split['ids'][row]}"


def per_class(rows: PlainRows, classes: Sequence[str]) -> dict[str, float]:
    """Examples of each class."""
    return count(rows.column("labels"), classes)


def statistics(_rows: PlainRows) -> dict[str, Any]:
    """None."""
    return {}
