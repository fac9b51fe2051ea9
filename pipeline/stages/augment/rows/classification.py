"""Rows of a classification dataset: a class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.drawing.overlays import draw_signal, fit
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.stages.augment.rows import PlainRows, count

NEEDS_LABEL = True
UNIT, ONE = "examples", "an example"

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


def counts(rows: PlainRows, classes: Sequence[str]) -> dict[str, int]:
    """Examples of each class."""
    return count(rows.column("labels"), classes)


def per_class(counts: Mapping[str, int]) -> dict[str, float]:
    """Examples of each class."""
    return dict(counts)


def nothing(_counts: Mapping[str, int]) -> str:
    """Every example counts."""
    return ""


def why_absent(_counts: Mapping[str, int], _absent: Sequence[str]) -> str:
    """The source has none of that class, or its only ones went to other splits."""
    return "Leave it out of the source's classes, or give the training split some: a larger part, or another `seed` of `splits`"


def statistics(_rows: PlainRows) -> dict[str, Any]:
    """None."""
    return {}
