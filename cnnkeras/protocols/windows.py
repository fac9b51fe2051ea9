"""Windows: parts of an image given by boxes in whole pixels, which may extend beyond the image's edge; object proposals."""

from collections.abc import Sequence

import lazy_loader
import numpy as np

cv2 = lazy_loader.load("cv2")

Box = tuple[int, int, int, int]  # left, top, right, bottom
Proposal = tuple[float, Box]  # a score, and the box of a possible object


def surest(proposals: Sequence[Proposal], *, max_proposals: int, min_side: int) -> list[Box]:
    """The first `max_proposals` boxes among those with both sides of at least `min_side` pixels.

    Args:
        proposals: Proposals of an image, in the order of falling scores.
        max_proposals: Maximum number of boxes.
        min_side: Minimum of both sides in pixels.
    """
    boxes = [box for _, box in proposals if min(box[2] - box[0], box[3] - box[1]) >= min_side]
    return boxes[:max_proposals]


def enlarge(box: Box, margin: float) -> Box:
    """A box enlarged at each edge by the fraction `margin` of its sides, rounded to whole pixels."""
    left, top, right, bottom = box
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    return left - across, top - down, right + across, bottom + down


def cut(image: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """A window of an image (H, W, 3), black beyond the image's edge, resized bilinearly to `size` (height, width)."""
    return cv2.resize(window(image, box, 0), size[::-1], interpolation=cv2.INTER_LINEAR)


def window(values: np.ndarray, box: Box, beyond: int) -> np.ndarray:
    """The values of an image (H, W, 3) or label map (H, W) inside a box, and `beyond` outside the image."""
    left, top, right, bottom = box
    content = np.full((bottom - top, right - left, *values.shape[2:]), beyond, values.dtype)
    y0, x0, y1, x1 = clipped(box, values.shape[:2])
    content[y0 - top : y1 - top, x0 - left : x1 - left] = values[y0:y1, x0:x1]
    return content


def clipped(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of a box, clipped to an image of `size` (height, width) pixels."""
    left, top, right, bottom = box
    y0, x0 = min(max(top, 0), size[0]), min(max(left, 0), size[1])
    return y0, x0, max(min(bottom, size[0]), y0), max(min(right, size[1]), x0)
