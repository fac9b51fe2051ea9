"""Boxes: formats, intersection over union, non-maximum suppression.

A box is `xyxy`: its left, top, right and bottom edges in continuous coordinates, with the origin at the top-left corner
of the top-left pixel. PASCAL VOC's 1-based inclusive integer corners become (xmin - 1, ymin - 1, xmax, ymax): then the
"+1 widths" of VOC's devkit are plain widths, and one `iou` serves every protocol. Everything here is NumPy on whole
arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Format = Literal["xyxy", "xywh", "cxcywh"]

# Pairs of boxes that NMS compares in one NumPy call: enough to hide the call, few enough to stay in a core's cache.
NMS_BLOCK = 1 << 15
NMS_PAIRS = 1 << 16  # likewise, of boxes that all classes share
NMS_IMAGES, NMS_BITS = (
    256,
    1 << 25,
)  # images whose boxes are suppressed at once; fewer if they have more pairs of boxes than this


@dataclass(frozen=True)
class Detections:
    """Detected boxes of a whole set of images, one row each.

    Attributes:
        images: int (n,), position of the box's image in its set, from 0.
        labels: int (n,), class index.
        boxes: float (n, 4), xyxy.
        scores: float (n,).
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: np.ndarray) -> "Detections":
        """The rows that a mask or an index array picks."""
        return Detections(self.images[rows], self.labels[rows], self.boxes[rows], self.scores[rows])


def in_images(detections: Detections, frames: np.ndarray | None) -> Detections:
    """Detections as fractions of the images, from fractions of a model's inputs.

    Args:
        detections: Boxes as fractions of the inputs.
        frames: (images, 4), left, top, right and bottom of each image, as fractions of its input's sides; None: it fills the input.
    """
    if frames is None:
        return detections
    left, top, right, bottom = np.moveaxis(frames[detections.images], -1, 0)
    start, sides = np.stack([left, top] * 2, axis=-1), np.stack([right - left, bottom - top] * 2, axis=-1)
    return replace(detections, boxes=(detections.boxes - start) / sides)


@dataclass(frozen=True)
class Objects:
    """Annotated boxes of a whole set of images, one row each.

    Attributes:
        images: int (n,), position of the box's image in its set, from 0.
        labels: int (n,), class index.
        boxes: float (n, 4), xyxy, in the unit of the detections that it is compared with.
        difficult: bool (n,), PASCAL VOC's flag.
        crowd: bool (n,), COCO's flag: the box is of many objects that nobody counted. None: there are no crowds.
    """

    images: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_crowd(self) -> np.ndarray:
        """(n,) whether each is a crowd."""
        return np.zeros(len(self), bool) if self.crowd is None else self.crowd

    @property
    def is_uncounted(self) -> np.ndarray:
        """(n,) whether each need not be found: it is difficult, or a crowd."""
        return self.difficult | self.is_crowd


def convert_boxes(boxes: np.ndarray, source: Format, target: Format) -> np.ndarray:
    """Boxes in another format.

    Args:
        boxes: (..., 4) in format `source`.
        source: `xyxy` left, top, right, bottom; `xywh` left, top, width, height (COCO's); `cxcywh` centre, width,
            height.
        target: The same names.

    Returns:
        (..., 4), a new array.

    Raises:
        ValueError: A format is not one of the three.
    """
    boxes = np.asarray(boxes)
    first, second = boxes[..., :2], boxes[..., 2:]
    if source == "xyxy":
        low, high = first, second
    elif source == "xywh":
        low, high = first, first + second
    elif source == "cxcywh":
        low, high = first - second / 2, first + second / 2
    else:
        raise ValueError(f"expected source to be xyxy, xywh or cxcywh; received: {source!r}")
    if target == "xyxy":
        return np.concatenate([low, high], axis=-1)
    if target == "xywh":
        return np.concatenate([low, high - low], axis=-1)
    if target == "cxcywh":
        return np.concatenate([(low + high) / 2, high - low], axis=-1)
    raise ValueError(f"expected target to be xyxy, xywh or cxcywh; received: {target!r}")


def clip_boxes(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Boxes cut at the edges of their images.

    Args:
        boxes: (n, 4) xyxy in pixels.
        sizes: (n, 2) or (2,), height and width of each box's image in pixels.

    Returns:
        (n, 4); a box outside its image becomes one without area.
    """
    height, width = np.asarray(sizes)[..., 0], np.asarray(sizes)[..., 1]
    limits = np.stack([width, height, width, height], axis=-1)
    return np.clip(boxes, 0, limits)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, pair by pair: |a ∩ b| / |a ∪ b|, 0 where the union has no area.

    Args:
        a: (..., 4) xyxy.
        b: (..., 4) xyxy in the same unit; the two are broadcast: `iou(a[:, None], b)` is the matrix of all pairs.

    Returns:
        (...,) between 0 and 1.
    """
    shared = _intersection(a, b)
    union = area(a) + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def covered_fraction(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How much of a box lies in another, pair by pair: |a ∩ b| / |a|, 0 where a has no area; arguments as for `iou`."""
    shared = _intersection(a, b)
    whole = np.broadcast_to(area(a), shared.shape)
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)


def _intersection(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # An edge at a time: arrays (...,) of one coordinate are several times faster than arrays (..., 2).
    width = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    height = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def area(boxes: np.ndarray) -> np.ndarray:
    """Area (...,) of boxes (..., 4) in xyxy."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def non_maximum_suppression(
    boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, *, iou_threshold: float
) -> np.ndarray:
    """Greedy non-maximum suppression of a whole set of images at once.

    Within each group, from the highest score down, a box is kept unless its IoU with a box kept before is greater than
    the threshold (YOLO's code, `do_nms_sort`). Of equal scores the earlier row comes first.

    Args:
        boxes: (n, 4) xyxy.
        scores: (n,).
        groups: int (n,): boxes suppress each other only within a group, say a number for each (image, class).
        iou_threshold: between 0 and 1.

    Returns:
        int (m,): rows that are kept, by group and then from the highest score down.

    Raises:
        ValueError: The lengths differ, or the threshold is out of its range.
    """
    if not len(boxes) == len(scores) == len(groups):
        raise ValueError(
            f"expected as many boxes as scores and groups; received: {len(boxes)}, {len(scores)}, {len(groups)}"
        )
    if not 0 <= iou_threshold <= 1:
        raise ValueError(f"expected an iou_threshold between 0 and 1; received: {iou_threshold}")
    # Groups of similar size are the rows of one array, so that NumPy works on all of them at once, rank by rank.
    boxes, scores, groups = (
        np.asarray(boxes, np.float64),
        np.asarray(scores),
        np.asarray(groups),
    )
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=groups[order[:1]] - 1))
    sizes = np.diff(starts, append=len(order))
    kept = np.ones(len(order), bool)
    for block in _blocks_of_similar_size(sizes):
        places = starts[block, None] + np.arange(sizes[block].max())  # (groups of the block, rank)
        exists = places < (starts + sizes)[block, None]
        rows = order[np.where(exists, places, 0)]
        by_score = np.argsort(np.where(exists, -scores[rows], np.inf), axis=1, kind="stable")
        rows = np.take_along_axis(rows, by_score, axis=1)
        order[places[exists]] = rows[exists]
        kept[places[exists]] = _survivors(boxes[rows], exists, iou_threshold)[exists]
    return order[kept]


def suppress_by_class(
    boxes: np.ndarray, scores: np.ndarray, *, score_threshold: float, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Greedy non-maximum suppression in each image and class, of boxes that all classes of an image share.

    It keeps what `non_maximum_suppression` keeps of the boxes with a score above the threshold. Which boxes overlap is computed once
    for all classes of an image, and is a bit for each pair of its boxes.

    Args:
        boxes: (n, K, 4) xyxy.
        scores: float32 (n, K, C).
        score_threshold: at least 0; a box is one of a class if its score is greater.
        iou_threshold: between 0 and 1.

    Returns:
        Images, boxes and classes of what is kept, int (m,) each, by image, class and falling score; of equal scores the earlier box first.
    """
    count, classes = scores.shape[1:]
    # As many images as the numbers that are sorted have bits for, too.
    fits = (1 << 32 - count.bit_length()) // classes, NMS_BITS // max(count, 1) ** 2
    step = max(1, min(NMS_IMAGES, *fits))
    starts = range(0, max(len(boxes), 1), step)
    found = [
        _suppress_some(boxes[start : start + step], scores[start : start + step], score_threshold, iou_threshold)
        for start in starts
    ]
    images, candidates, labels = (np.concatenate(values) for values in zip(*found, strict=True))
    return images + np.repeat(starts, [len(each[0]) for each in found]), candidates, labels


def _suppress_some(
    boxes: np.ndarray, scores: np.ndarray, score_threshold: float, iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `suppress_by_class`, of a few images: all their groups, an image's boxes of a class, at once, rank by rank."""
    classes, is_candidate = scores.shape[2], scores > score_threshold
    images, candidates, labels = np.nonzero(is_candidate)
    # Boxes of no class are left out: those of an image that are of one come first, and are numbered anew.
    is_used = is_candidate.any(axis=2)
    count = int(is_used.sum(axis=1).max(initial=0))
    chosen = np.argsort(~is_used, axis=1, kind="stable")[:, :count]
    numbers = np.cumsum(is_used, axis=1) - 1
    # One number for group, falling score (the bits of positive floats are in their order) and box, so that any sort gives one order.
    falling = 0xFFFFFFFF - scores[is_candidate].view(np.uint32).astype(np.uint64)
    shift, box_bits = np.uint64(32), np.uint64(max(count - 1, 1).bit_length())
    keys = (images * classes + labels).astype(np.uint64) << shift | falling
    keys = np.sort(keys << box_bits | numbers[images, candidates].astype(np.uint64))
    number = (keys & (np.uint64(1) << box_bits) - np.uint64(1)).astype(np.int64)
    groups = (keys >> (shift + box_bits)).astype(np.int64)
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    sizes = np.diff(starts, append=len(groups))
    # The boxes of rank 0 of all groups, the largest group's first, then those of rank 1 of groups that have one, and so on.
    by_size = np.empty(len(sizes), np.int64)
    by_size[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    ranks = np.arange(len(groups)) - np.repeat(starts, sizes)
    counts = np.bincount(ranks)
    places = (np.cumsum(counts) - counts)[ranks] + np.repeat(by_size, sizes)
    order = np.empty(len(places), np.int64)
    order[places] = np.arange(len(places))
    overlapping = _overlap_bits(np.take_along_axis(boxes, chosen[:, :, None], axis=1), iou_threshold)
    survives = _survivors_by_rank(overlapping, groups[order] // classes, number[order], counts)[places]
    groups, number = groups[survives], number[survives]
    return groups // classes, chosen[groups // classes, number], groups % classes


def _survivors_by_rank(
    overlapping: np.ndarray, images: np.ndarray, boxes: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """Which boxes survive, rank by rank: bool (m,).

    Args:
        overlapping: As `_overlap_bits` returns it.
        images: int (m,), those of `counts[0]` groups' boxes of rank 0, then of the first `counts[1]` groups' boxes of rank 1, and so on.
        boxes: int (m,), likewise.
        counts: int (ranks,), falling.
    """
    words = range(overlapping.shape[2])
    own_bits = np.uint64(1) << (boxes & 63).astype(np.uint64)
    own = [np.where(boxes >> 6 == word, own_bits, np.uint64(0)) for word in words]
    others = [overlapping[images, boxes, word] for word in words]
    suppressed = [np.zeros(counts[0] if len(counts) else 0, np.uint64) for _ in words]
    survives, stop = np.empty(len(boxes), bool), 0
    for count in counts:
        start, stop = stop, stop + count
        hits = suppressed[0][:count] & own[0][start:stop]
        for word in words[1:]:
            hits |= suppressed[word][:count] & own[word][start:stop]
        survives[start:stop] = hits == 0
        for word in words:
            suppressed[word][:count] |= others[word][start:stop] * survives[start:stop]
    return survives


def _overlap_bits(boxes: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Of boxes (n, K, 4) whether their IoU is greater than the threshold: uint64 (n, K, words), a bit for each box of the image."""
    n, count = boxes.shape[:2]
    words = -(-count // 64)
    bits = np.zeros((n, count, words * 8), np.uint8)
    left, top, right, bottom = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    areas = (right - left) * (bottom - top)
    step = max(1, NMS_PAIRS // max(count, 1) ** 2)
    width, height, other = (np.empty((step, count, count)) for _ in range(3))
    for start in range(0, n, step):
        some = slice(start, min(start + step, n))
        w, h, o = (array[: some.stop - start] for array in (width, height, other))
        for low, high, side in ((left[some], right[some], w), (top[some], bottom[some], h)):
            np.minimum(high[:, :, None], high[:, None], out=side)
            np.maximum(low[:, :, None], low[:, None], out=o)
            np.subtract(side, o, out=side)
            np.maximum(side, 0, out=side)
        shared = np.multiply(w, h, out=w)
        union = np.add(areas[some, :, None], areas[some, None], out=h)
        union -= shared
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(shared, union, out=shared)
        overlaps = ~(shared <= iou_threshold) & (union > 0)
        packed = np.packbits(overlaps, axis=-1, bitorder="little")
        bits[some, :, : packed.shape[-1]] = packed
    return bits.view("<u8")


def _blocks_of_similar_size(sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the groups of two or more boxes, in blocks of groups whose sizes differ by a quarter at most."""
    order = np.argsort(sizes, kind="stable")
    ascending = sizes[order]
    start = int(np.searchsorted(ascending, 2))
    while start < len(order):
        smallest = int(ascending[start])
        similar = int(np.searchsorted(ascending, smallest * 5 // 4, side="right"))
        stop = min(similar, start + max(1, NMS_BLOCK // smallest))
        yield order[start:stop]
        start = stop


def _survivors(boxes: np.ndarray, exists: np.ndarray, iou_threshold: float) -> np.ndarray:
    """Which boxes (groups, ranks, 4), by falling score, survive; `exists` (groups, ranks) is False for padding."""
    survives = exists.copy()
    for rank in range(boxes.shape[1] - 1):
        groups = np.flatnonzero(survives[:, rank])
        if not len(groups):
            continue
        overlap = iou(boxes[groups, rank, None], boxes[groups, rank + 1 :])
        survives[groups, rank + 1 :] &= overlap <= iou_threshold
    return survives
