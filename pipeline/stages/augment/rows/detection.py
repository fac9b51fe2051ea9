"""Rows of a detection dataset: boxes with classes, and whether they are difficult."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.drawing.overlays import draw_boxes
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.stages.augment.rows import PlainRows, count

NEEDS_LABEL = False
UNIT, ONE = "objects", "an object"
GRIDS = (5, 7, 10, 13, 14, 19, 20, 26)  # cells along a side: YOLO's 7, and those of larger inputs and later nets

Columns = dict[str, np.ndarray]


def columns(part: AnnotatedImage, _label: int | None, _size: tuple[int, int]) -> tuple[Columns, Columns]:
    """`boxes` as fractions of the image, `box_labels` and `difficult`."""
    height, width = part.image.shape[:2]
    boxes = (part.boxes / [width, height, width, height]).astype(np.float32)
    return {}, {"boxes": boxes, "box_labels": part.labels, "difficult": part.difficult}


def original_columns(part: AnnotatedImage) -> Columns:
    """`original_boxes` in pixels, and which are a `crowd`, of sources that know crowds."""
    return {"original_boxes": part.boxes, **({} if part.crowd is None else {"crowd": part.crowd})}


def draw(inputs: np.ndarray, split: Split, row: int, classes: Sequence[str], *, side: int) -> np.ndarray:
    """The image with its boxes, those of difficult objects dashed."""
    height, width = inputs.shape[:2]
    boxes = np.asarray(split["boxes"][row], np.float64) * [width, height, width, height]
    return draw_boxes(inputs, boxes, split["box_labels"][row], classes, dashed=split["difficult"][row], side=side)


def caption(split: Split, row: int, _classes: Sequence[str]) -> str:
    """The id."""
    return str(split["ids"][row])


def nothing(_counts: Mapping[str, int]) -> str:
    """A split without objects measures false positives."""
    return ""


def why_absent(_counts: Mapping[str, int], _absent: Sequence[str]) -> str:
    """The source has none of that class, or only difficult ones, or its only ones went to other splits."""
    return (
        "Difficult objects and crowds do not count. Leave the class out of the source's classes, or give the training split some: "
        "a larger part, or another `seed` of `splits`"
    )


def per_class(counts: Mapping[str, int]) -> dict[str, float]:
    """Objects of each class, without difficult ones."""
    return dict(counts)


def counts(rows: PlainRows, classes: Sequence[str]) -> dict[str, int]:
    """Objects of each class, without difficult ones."""
    columns = zip(rows.column("box_labels"), rows.column("difficult"), strict=True)
    return count((labels[~difficult] for labels, difficult in columns), classes)


def statistics(rows: PlainRows) -> dict[str, Any]:
    """`boxes`."""
    return {"boxes": _boxes(rows)}


def _boxes(rows: PlainRows) -> dict[str, Any]:
    """Objects per image, their sizes as fractions of the image's sides, and how many share their centre's cell.

    A cell of YOLO's grid predicts one class; of the objects in a cell, a grid of S x S loses all but one.
    """
    boxes = [
        boxes[~difficult].astype(np.float64)
        for boxes, difficult in zip(rows.column("boxes"), rows.column("difficult"), strict=True)
    ]
    counts = np.array([len(each) for each in boxes])
    if not counts.sum():
        return {"objects": 0}
    sides = np.concatenate(boxes)
    sides = sides[:, 2:] - sides[:, :2]
    lost = {str(grid): sum(_lost(each, grid) for each in boxes) / int(counts.sum()) for grid in GRIDS}
    return {
        "objects": int(counts.sum()),
        "per_image": {"mean": round(float(counts.mean()), 3), "max": int(counts.max())},
        "width": _quantiles(sides[:, 0]),
        "height": _quantiles(sides[:, 1]),
        "lost_by_grid": {grid: round(fraction, 4) for grid, fraction in lost.items()},
    }


def _lost(boxes: np.ndarray, grid: int) -> int:
    """How many of an image's objects are not the only or first one whose centre lies in its cell."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = np.floor(centres * grid).clip(0, grid - 1)
    return len(boxes) - len(np.unique(cells, axis=0))


def _quantiles(values: np.ndarray) -> dict[str, float]:
    quantiles = np.quantile(values, [0, 0.25, 0.5, 0.75, 1]).round(4).tolist()
    return dict(zip(("min", "quarter", "median", "three_quarters", "max"), quantiles, strict=True))
