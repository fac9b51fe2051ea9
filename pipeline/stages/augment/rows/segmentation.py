"""Rows of a segmentation dataset: a label map."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkeras.label_maps import encode_png, resize_labels
from pipeline.drawing.overlays import draw_mask
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.stages.augment.rows import PlainRows, count

NEEDS_LABEL = False
UNIT = "pixels"

Columns = dict[str, np.ndarray]


def columns(part: AnnotatedImage, _label: int | None, size: tuple[int, int]) -> tuple[Columns, Columns]:
    """`masks`, the label map at the dataset's size."""
    return {"masks": resize_labels(part.mask, size)}, {}


def original_columns(part: AnnotatedImage) -> Columns:
    """`original_masks`, the label map at the image's own size as a PNG file."""
    return {"original_masks": np.frombuffer(encode_png(part.mask), np.uint8)}


def draw(inputs: np.ndarray, split: Split, row: int, classes: Sequence[str], *, side: int) -> np.ndarray:
    """The image under its label map."""
    return draw_mask(inputs, np.asarray(split["masks"][row]), classes, side=side)


def caption(split: Split, row: int, _classes: Sequence[str]) -> str:
    """The id."""
    return str(split["ids"][row])


def per_class(rows: PlainRows, classes: Sequence[str]) -> dict[str, float]:
    """Which fraction of the pixels each class has, background included, void left out."""
    counts = count(rows.column("masks"), ["background", *classes])
    total = max(sum(counts.values()), 1)
    return {name: round(number / total, 6) for name, number in counts.items()}


def statistics(_rows: PlainRows) -> dict[str, Any]:
    """None."""
    return {}
