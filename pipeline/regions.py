"""Segmentation by parts of an image: the network sees each region at its own input size, and their score maps are merged.

    sliding_windows  squares of `side` pixels every `stride` pixels, the last ones flush with the image's edge
    boxes            boxes of the image's shape, of these shares of its sides, every half box
    proposals        boxes of a file, the surest first (Noh et al. 2015, section 4.3: 50 enlarged Edge Boxes)

`merge: maximum` is the authors' (inference/generate_EDeconvNet_CRF_results.m): the pixel-wise maximum of the raw scores over a
map of zeros, so that negative scores count as 0 and what no region covers is background. `merge: mean` is the mean over the
regions that cover a pixel. Beyond the image's edge a region is black, as theirs is.

A file of proposals is a JSON list of {"id": the image's id, "bbox": [left, top, width, height] in pixels, "score": number}.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from pipeline.params import Boxes, ProposalFile, Regions, SlidingWindows
from pipeline.runtime.errors import InputError

Box = tuple[int, int, int, int]  # left, top, right, bottom; may reach beyond the image
Proposal = tuple[float, Box]  # with its score


def read_proposals(settings: ProposalFile, root: Path) -> dict[str, list[Proposal]]:
    """The boxes of each image by its id, the surest first; of equal scores the earlier one in the file.

    Raises:
        InputError: The file is not there, is another one than the checksum says, or is not as described above.
    """
    file = root / settings.file
    if not file.is_file():
        raise InputError(f"expected object proposals at {settings.file}; received: no such file")
    content = file.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != settings.sha256:
        raise InputError(f"{settings.file}: expected sha256 {settings.sha256}; received: {digest}")
    found: dict[str, list[Proposal]] = {}
    try:
        for row in json.loads(content):
            left, top, width, height = row["bbox"]
            box = (round(left), round(top), round(left + width), round(top + height))
            found.setdefault(row["id"], []).append((float(row["score"]), box))
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f'{settings.file}: expected a JSON list of {{"id", "bbox": [left, top, width, height], "score"}}; '
            f"received: {type(error).__name__} {error}"
        ) from error
    return {id: sorted(boxes, key=lambda scored: -scored[0]) for id, boxes in found.items()}


def boxes_of(settings: Regions, size: tuple[int, int], proposals: Sequence[Proposal] = ()) -> list[Box]:
    """The regions of an image of (height, width) pixels; `proposals` are its own, where they come from a file."""
    if isinstance(settings, SlidingWindows):
        sides = [min(settings.side, side) for side in size]
        return _grid(size, sides, [settings.stride, settings.stride])
    if isinstance(settings, Boxes):
        found = []
        for share in settings.shares:
            sides = [max(1, round(share * side)) for side in size]
            found += _grid(size, sides, [max(1, side // 2) for side in sides])
        return found
    return [enlarged(box, settings.margin) for box in surest(settings, proposals)]


def surest(settings: ProposalFile, proposals: Sequence[Proposal]) -> list[Box]:
    """The proposals of an image that are used, as they are in the file."""
    kept = [box for _, box in proposals if min(box[2] - box[0], box[3] - box[1]) >= settings.smallest_side]
    return kept[: settings.most]


def _grid(size: Sequence[int], sides: Sequence[int], strides: Sequence[int]) -> list[Box]:
    rows, columns = (
        [*range(0, whole - part, stride), whole - part]
        for whole, part, stride in zip(size, sides, strides, strict=True)
    )
    return [(left, top, left + sides[1], top + sides[0]) for top in rows for left in columns]


def enlarged(box: Box, margin: float) -> Box:
    """A box with `margin` of its sides more at each edge."""
    left, top, right, bottom = box
    across, down = round(margin * (right - left)), round(margin * (bottom - top))
    return left - across, top - down, right + across, bottom + down


def cut(image: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """A region of an image (H, W, 3), black beyond its edge, stretched to (height, width) bilinearly."""
    return cv2.resize(window(image, box, 0), size[::-1], interpolation=cv2.INTER_LINEAR)


def window(values: np.ndarray, box: Box, beyond: int) -> np.ndarray:
    """What an image (H, W, 3) or label map (H, W) has inside a box, and `beyond` where the box sticks out."""
    left, top, right, bottom = box
    found = np.full((bottom - top, right - left, *values.shape[2:]), beyond, values.dtype)
    y0, x0, y1, x1 = _inside(box, values.shape[:2])
    found[y0 - top : y1 - top, x0 - left : x1 - left] = values[y0:y1, x0:x1]
    return found


def merge(
    scores: Iterator[np.ndarray], boxes: Sequence[Box], size: tuple[int, int], classes: int, how: str
) -> np.ndarray:
    """Score map float32 (height, width, classes) of an image from those of its regions.

    Args:
        scores: For each box float (h, w, classes), at the network's size.
        boxes: The regions.
        size: Height and width of the image.
        classes: C + 1, background included.
        how: "maximum" or "mean".
    """
    merged, covered = np.zeros((*size, classes), np.float32), np.zeros((*size, 1), np.float32)
    for found, box in zip(scores, boxes, strict=True):
        left, top, right, bottom = box
        own = cv2.resize(np.asarray(found, np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        y0, x0, y1, x1 = _inside(box, size)
        part = own[y0 - top : y1 - top, x0 - left : x1 - left]
        if how == "maximum":
            np.maximum(merged[y0:y1, x0:x1], part, out=merged[y0:y1, x0:x1])
        else:
            merged[y0:y1, x0:x1] += part
            covered[y0:y1, x0:x1] += 1
    return merged if how == "maximum" else merged / np.maximum(covered, 1)


def _inside(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Top, left, bottom and right of what of a box lies in the image."""
    left, top, right, bottom = box
    y0, x0 = min(max(top, 0), size[0]), min(max(left, 0), size[1])
    return y0, x0, max(min(bottom, size[0]), y0), max(min(right, size[1]), x0)


def describe(settings: Regions) -> str:
    """A phrase that says what was seen, to stand beside the numbers."""
    if isinstance(settings, SlidingWindows):
        what = f"windows of {settings.side} pixels every {settings.stride}"
    elif isinstance(settings, Boxes):
        what = f"boxes of {', '.join(f'{share:g}' for share in settings.shares)} of the image's sides, every half box"
    else:
        what = f"at most {settings.most} proposals of at least {settings.smallest_side} pixels from {settings.file}"
        what += f", enlarged by {settings.margin:g} of their sides at each edge" if settings.margin else ""
    over = " over a map of zeros" if settings.merge == "maximum" else ""
    return f"{what}; pixel-wise {settings.merge} of the scores{over}"
