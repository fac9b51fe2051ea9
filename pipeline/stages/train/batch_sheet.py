"""A sheet with the first training batch as the network sees it: with the augmentation of the training, as packed in size."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.drawing import overlays
from pipeline.stages.train.reader import Reader
from pipeline.stages.train.training import Training

COLUMNS, ROWS, SIDE = 6, 4, 224


def draw_batch(path: Path, read: Reader, indices: np.ndarray, ids: np.ndarray, training: Training) -> None:
    """Draw the first examples of the first batch of the first epoch.

    Args:
        path: The PNG to write.
        read: Reads and augments examples.
        indices: int64 (batch,), the examples of the batch.
        ids: Names of all examples of the split.
        training: The training.
    """
    chosen = indices[: COLUMNS * ROWS]
    images, captions = zip(
        *(_drawn(*read.example(index, 0), ids[index], training.classes) for index in chosen), strict=True
    )
    size = " x ".join(map(str, training.input_shape[:2]))
    subtitle = (
        f"{f'{len(chosen)} of ' if len(chosen) < len(indices) else ''}the {len(indices)} examples of the first batch, as the network sees them: {size}, with the augmentation of "
        "the training, which is another one in each epoch"
    )
    sheet = overlays.grid(images, captions, COLUMNS, title=f"{training.title} · training batch", subtitle=subtitle)
    overlays.write_png(path, sheet)


def _drawn(image: np.ndarray, row: Mapping[str, np.ndarray], id: str, classes: Sequence[str]) -> tuple[np.ndarray, str]:
    """The image with the annotations that it has, and its caption."""
    if "boxes" in row:
        boxes = np.asarray(row["boxes"], np.float64) * [*image.shape[1::-1], *image.shape[1::-1]]
        return overlays.draw_boxes(image, boxes, row["box_labels"], classes, dashed=row["difficult"], side=SIDE), str(
            id
        )
    if "masks" in row:
        return overlays.draw_mask(image, row["masks"], classes, side=SIDE), str(id)
    return overlays.fit(image, SIDE), f"{classes[row['labels']]}\n{id}"
