"""Segmentation by parts of an image: the model sees each region at its own input size, and their score maps are merged.

`merge: maximum` is the authors' (inference/generate_EDeconvNet_CRF_results.m): the pixel-wise maximum of the raw scores over a
map of zeros, so that negative scores count as 0 and what no region covers is background. `merge: mean` is the mean over the
regions that cover a pixel. Beyond the image's edge a region is black, as theirs is.

Each public function is a kind of regions, and its arguments are the settings of that kind in params.yaml.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import lazy_loader
import numpy as np
from annotated_types import Ge, Gt, Le, MinLen

from cnnkeras.protocols.windows import Box, Proposal, enlarge, inside, surest

cv2 = lazy_loader.load("cv2")  # params.yaml is checked against these signatures, which need no OpenCV

Size = tuple[int, int]  # height and width
Merge = Literal["mean", "maximum"]
Positive = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class Regions:
    """Which regions of an image are segmented, and how their score maps are merged.

    Attributes:
        find: From an image's size, and its object proposals where they come from a file, to the regions.
        merge: `mean` or `maximum` (see the top of this file).
        what: A phrase that says what is seen.
        file: Of object proposals, below the project's folder; none where every image has its regions.
        sha256: The file's checksum.
    """

    find: Callable[[Size, Sequence[Proposal]], list[Box]]
    merge: Merge
    what: str
    file: str | None = None
    sha256: str | None = None

    def merged(self, scores: Iterator[np.ndarray], boxes: Sequence[Box], size: Size, classes: int) -> np.ndarray:
        """Score map float32 (height, width, classes) of an image from those of its regions.

        Args:
            scores: For each box float (h, w, classes), at the model's size.
            boxes: The regions.
            size: Height and width of the image.
            classes: C + 1, background included.
        """
        merged, covered = np.zeros((*size, classes), np.float32), np.zeros((*size, 1), np.float32)
        for small, box in zip(scores, boxes, strict=True):
            left, top, right, bottom = box
            own = cv2.resize(
                np.asarray(small, np.float32), (right - left, bottom - top), interpolation=cv2.INTER_LINEAR
            )
            y0, x0, y1, x1 = inside(box, size)
            part = own[y0 - top : y1 - top, x0 - left : x1 - left]
            if self.merge == "maximum":
                np.maximum(merged[y0:y1, x0:x1], part, out=merged[y0:y1, x0:x1])
            else:
                merged[y0:y1, x0:x1] += part
                covered[y0:y1, x0:x1] += 1
        return merged if self.merge == "maximum" else merged / np.maximum(covered, 1)

    def describe(self) -> str:
        """A phrase that says what is seen, to stand beside the numbers."""
        over = " over a map of zeros" if self.merge == "maximum" else ""
        return f"{self.what}; pixel-wise {self.merge} of the scores{over}"


def sliding_windows(*, side: Positive, stride: Positive, merge: Merge = "mean") -> Regions:
    """Squares of `side` pixels of the image every `stride` pixels, the last ones flush with the image's edge."""

    def find(size: Size, _proposals: Sequence[Proposal]) -> list[Box]:
        return _grid(size, [min(side, whole) for whole in size], [stride, stride])

    return Regions(find, merge, f"windows of {side} pixels every {stride}")


def boxes(
    *,
    fractions: Annotated[tuple[Annotated[float, Gt(0), Le(1)], ...], MinLen(1)] = (1.0, 0.75, 0.5),
    merge: Merge = "maximum",
) -> Regions:
    """Boxes of the image's own shape, of these `fractions` of its sides, every half box."""

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
    """The surest boxes that a file proposes (Noh et al. 2015, section 4.3: 50 enlarged Edge Boxes).

    Args:
        file: JSON, below the project's folder (pipeline/formats/proposals.py reads it).
        sha256: Its checksum.
        max_proposals: Proposals of an image.
        min_side: Those with a shorter side are skipped, in pixels.
        margin: By how much of its sides a box is enlarged at each edge.
        merge: How the score maps are put together.

    Raises:
        ValueError: The checksum is none.
    """
    if not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise ValueError(f"expected a sha256 of 64 digits 0-9, a-f; received: {sha256!r}")

    def find(_size: Size, proposals: Sequence[Proposal]) -> list[Box]:
        chosen = surest(proposals, max_proposals=max_proposals, min_side=min_side)
        return [enlarge(box, margin) for box in chosen]

    what = f"at most {max_proposals} proposals of at least {min_side} pixels from {file}"
    what += f", enlarged by {margin:g} of their sides at each edge" if margin else ""
    return Regions(find, merge, what, file, sha256.lower())


def _grid(size: Sequence[int], sides: Sequence[int], strides: Sequence[int]) -> list[Box]:
    rows, columns = (
        [*range(0, whole - part, stride), whole - part]
        for whole, part, stride in zip(size, sides, strides, strict=True)
    )
    return [(left, top, left + sides[1], top + sides[0]) for top in rows for left in columns]
