"""Rows of a segmentation dataset: a label map."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.label_maps import VOID, encode_png, resize_labels
from pipeline.drawing.overlays import draw_mask
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.stages.augment.rows import PlainRows

NEEDS_LABEL = False
UNIT, ONE = "pixels", "a pixel"
_OF_VOID = (
    "Void is 255 by default: where objects are 255, say `class_values: [255]` and `void_values: []` (kind mask_pairs)"
)

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


def counts(rows: PlainRows, classes: Sequence[str]) -> dict[str, int]:
    """Pixels of the background, of each class, and of `void`; no class of a segmentation dataset has one of these names."""
    labels = np.zeros(256, np.int64)
    for mask in rows.column("masks"):
        labels += np.bincount(mask.ravel(), minlength=256)
    names = ["background", *classes]
    return dict(zip(names, labels[: len(names)].tolist(), strict=True)) | {"void": int(labels[VOID])}


def per_class(counts: Mapping[str, int]) -> dict[str, float]:
    """Which fraction of the pixels each class has, background included, void left out."""
    numbers = {name: number for name, number in counts.items() if name != "void"}
    total = max(sum(numbers.values()), 1)
    return {name: round(number / total, 6) for name, number in numbers.items()}


def nothing(counts: Mapping[str, int]) -> str:
    """A split that is void everywhere measures nothing."""
    if any(number for name, number in counts.items() if name != "void"):
        return ""
    return f"expected pixels that are not void; received: void everywhere. {_OF_VOID}"


def why_absent(counts: Mapping[str, int], absent: Sequence[str]) -> str:
    """Its pixels are taken for void or for something else, or there are none."""
    named = [name for name in counts if name not in ("background", "void")]
    if counts["void"] and len(absent) == len(named):
        return f"What is no background there is void. {_OF_VOID}"
    return (
        "Has it another value in the label maps (`class_values`), is the background listed among the classes, or are the maps colours? "
        "If there is none of it, leave it out of `classes`, or give the training split some"
    )


def statistics(_rows: PlainRows) -> dict[str, Any]:
    """None."""
    return {}
