"""A decoded image with its annotations, and operations that change both together."""

from dataclasses import dataclass

import cv2
import numpy as np

from cnnkeras.label_maps import VOID


@dataclass(frozen=True)
class AnnotatedImage:
    """An image with its boxes and its label map.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        boxes: float64 (n, 4), corners x0, y0, x1, y1 in pixels, or None.
        labels: int32 (n,), class of each box, or None.
        difficult: bool (n,), or None.
        crowd: bool (n,), or None.
        mask: uint8 (H, W): 0 background, 1.. classes, 255 void; or None.
    """

    image: np.ndarray
    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    difficult: np.ndarray | None = None
    mask: np.ndarray | None = None
    crowd: np.ndarray | None = None


def encode(image: np.ndarray) -> bytes:
    """A PNG file of an RGB image."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def cut_out(whole: AnnotatedImage, number: int, margin: float) -> AnnotatedImage:
    """The square around one object.

    It is centred on the object's box; its side is the box's longer side and twice `margin` times that. Beyond the
    image's edge it continues by the edge's pixels, and its label map is void. The label map keeps the pixels of the
    object's class inside its own box, and void; everything else is background.
    """
    x0, y0, x1, y1 = whole.boxes[number]
    side = max(1, round(max(x1 - x0, y1 - y0) * (1 + 2 * margin)))
    columns = round((x0 + x1 - side) / 2) + np.arange(side)
    rows = round((y0 + y1 - side) / 2) + np.arange(side)
    height, width = whole.image.shape[:2]
    inside = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    if whole.mask is None:
        return AnnotatedImage(whole.image[inside])
    mask = whole.mask[inside]
    own_rows = (rows + 0.5 > y0) & (rows + 0.5 < y1)
    own_columns = (columns + 0.5 > x0) & (columns + 0.5 < x1)
    own = np.outer(own_rows, own_columns) & (mask == whole.labels[number] + 1)
    mask = np.where(own | (mask == VOID), mask, np.uint8(0))
    mask[(rows < 0) | (rows >= height)] = VOID
    mask[:, (columns < 0) | (columns >= width)] = VOID
    return AnnotatedImage(whole.image[inside], mask=mask)
