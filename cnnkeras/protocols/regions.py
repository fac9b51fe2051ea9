"""Segmentation by regions: the model gets each region of an image at the model's input size, and the score maps are merged.

`merge: maximum` is that of DeconvNet's authors (inference/generate_EDeconvNet_CRF_results.m): the pixel-wise maximum of the scores
before softmax and of a map of zeros, so negative scores count as 0 and pixels outside all regions are background. `merge: mean` is
the mean over the regions that cover a pixel. Beyond the image's edge a region is black, as in the authors' code.

Each public function makes a kind of regions, and its arguments are the settings of this kind in params.yaml.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import lazy_loader
import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from cnnkeras.protocols.windows import Box, Proposal, clipped, enlarge, surest

cv2 = lazy_loader.load("cv2")  # params.yaml is checked against these signatures, which need no OpenCV

Size = tuple[int, int]  # height and width
Merge = Literal["mean", "maximum"]
Positive = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class Regions:
    """The regions of an image to segment, and the way to merge their score maps.

    Attributes:
        find: A function from an image's size, and its object proposals if they come from a file, to the regions.
        merge: `mean` or `maximum` (see the top of this file).
        phrase: The regions in words.
        file: Path of the file of object proposals, below the project's folder; None for regions that need no file.
        sha256: The file's checksum; None without a file.
    """

    find: Callable[[Size, Sequence[Proposal]], list[Box]]
    merge: Merge
    phrase: str
    file: str | None = None
    sha256: str | None = None

    def merged(self, scores: Iterator[np.ndarray], boxes: Sequence[Box], size: Size, classes: int) -> np.ndarray:
        """Merge the score maps of an image's regions into one of the image, float32 (height, width, classes).

        Args:
            scores: For each box float (h, w, classes), at the size of the model's output.
            boxes: The regions, in pixels of the image.
            size: Height and width of the image in pixels.
            classes: C + 1, background included.
        """
        merged, covered = np.zeros((*size, classes), np.float32), np.zeros((*size, 1), np.float32)
        for score_map, box in zip(scores, boxes, strict=True):
            left, top, right, bottom = box
            resized = cv2.resize(
                np.asarray(score_map, np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR
            )
            y0, x0, y1, x1 = clipped(box, size)
            part = resized[y0 - top : y1 - top, x0 - left : x1 - left]
            if self.merge == "maximum":
                np.maximum(merged[y0:y1, x0:x1], part, out=merged[y0:y1, x0:x1])
            else:
                merged[y0:y1, x0:x1] += part
                covered[y0:y1, x0:x1] += 1
        return merged if self.merge == "maximum" else merged / np.maximum(covered, 1)

    def describe(self) -> str:
        """The regions and their merging in words, to be stored with the outputs."""
        over = " over a map of zeros" if self.merge == "maximum" else ""
        return f"{self.phrase}; pixel-wise {self.merge} of the scores{over}"


def sliding_windows(*, side: Positive, stride: Positive, merge: Merge = "mean") -> Regions:
    """Squares of `side` pixels at every `stride` pixels of the image; the last row and column end at the image's edge."""

    def find(size: Size, _proposals: Sequence[Proposal]) -> list[Box]:
        return _grid(size, [min(side, length) for length in size], [stride, stride])

    return Regions(find, merge, f"windows of {side} pixels every {stride}")


def boxes(
    *,
    fractions: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], MinLen(1)] = (1.0, 0.75, 0.5),
    merge: Merge = "maximum",
) -> Regions:
    """Boxes with the image's aspect ratio and these `fractions` of its sides, at steps of half a box."""

    def find(size: Size, _proposals: Sequence[Proposal]) -> list[Box]:
        boxes = []
        for fraction in fractions:
            sides = [max(1, round(fraction * side)) for side in size]
            boxes += _grid(size, sides, [max(1, side // 2) for side in sides])
        return boxes

    listed = ", ".join(f"{fraction:g}" for fraction in fractions)
    return Regions(find, merge, f"boxes of {listed} of the image's sides, every half box")


def proposals(
    *,
    file: str,
    sha256: str,
    max_proposals: Positive = 50,
    min_side: Annotated[int, Ge(0)] = 112,
    margin: Annotated[float, Ge(0), Le(2)] = 0.0,
    merge: Merge = "maximum",
) -> Regions:
    """The object proposals with the highest scores, read from a file (Noh et al. 2015, section 4.3: 50 enlarged Edge Boxes).

    Args:
        file: Path of a JSON file below the project's folder (pipeline/formats/proposals.py reads it).
        sha256: The file's checksum, 64 hexadecimal digits.
        max_proposals: Number of proposals of an image.
        min_side: Proposals with a side of fewer pixels are skipped.
        margin: Fraction of its sides by which a box is enlarged at each edge.
        merge: `mean` or `maximum` (see the top of this file).

    Raises:
        ValueError: `sha256` is not a checksum.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"expected a sha256 of 64 digits 0-9, a-f; received: {sha256!r}")

    def find(_size: Size, proposals: Sequence[Proposal]) -> list[Box]:
        chosen = surest(proposals, max_proposals=max_proposals, min_side=min_side)
        return [enlarge(box, margin) for box in chosen]

    phrase = f"at most {max_proposals} proposals of at least {min_side} pixels from {file}"
    phrase += f", enlarged by {margin:g} of their sides at each edge" if margin else ""
    return Regions(find, merge, phrase, file, sha256.lower())


def _grid(size: Sequence[int], sides: Sequence[int], strides: Sequence[int]) -> list[Box]:
    rows, columns = (
        [*range(0, length - side, stride), length - side]
        for length, side, stride in zip(size, sides, strides, strict=True)
    )
    return [(left, top, left + sides[1], top + sides[0]) for top in rows for left in columns]
