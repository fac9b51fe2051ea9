"""COCO: images with boxes and masks from an instances JSON, read in place from archives.

    annotations/instances_train2017.json  train2017/000000000009.jpg
    splits: {train: {annotations: annotations/instances_train2017.json, images: train2017}, ...}

Source: Lin et al., "Microsoft COCO: Common Objects in Context" (2014); cocodataset.org, "Data format".

Boxes are published as x, y, width, height, continuous, and become corners; one without area or outside the image is dropped
and counted, one that sticks out is clipped. An object is an outline of polygons or a run-length code, as numbers or as text; one
that holds no pixel is dropped and counted where label maps are drawn.
A label map has each pixel whose centre lies in an object, the smaller object on top of the larger one. A crowd (`iscrowd`)
is no single object: its box is neither trained on nor to be found in an evaluation (`cnnkeras/metrics/detection.py` says what
becomes of detections in it), and its pixels are void. COCO has many categories: `other_classes` is `drop` here, unless the entry says `error`.
"""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.files.classes import Classified, Listed
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError
from pipeline.sources.coco.instances import MAX_NUMBER, Id, Instances, Object, read_categories, read_instances

TASKS = ("classification", "detection", "segmentation")
HAS_OBJECTS = True
_SHIFT, _BITS, _MAX_BITS = 48, 5, 60  # a character of a run-length code is five bits and "more follow", from "0" on


class Part(Entry):
    """One published part.

    Attributes:
        annotations: The JSON, its path inside the archives.
        images: The images' folder inside the archives.
    """

    annotations: str
    images: str


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `coco` source.

    Attributes:
        classes: Names of the categories that count, in the order that they have here; as a mapping, with the name of each one's class:
            `{car: vehicle, bus: vehicle}`; or `all`.
        splits: Which part serves which split.
        other_classes: What becomes of objects of other categories, of which COCO has many: `drop` leaves them out and counts them, `error` names one.
    """

    kind: Literal["coco"]
    classes: Listed
    splits: Splits[Part]
    other_classes: Literal["error", "drop"] = "drop"


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Images of a split with their boxes and, for segmentation, their label maps; an id is the image's file name.

    Raises:
        InputError: The JSON is not there or none of instances, or a class is none of its categories.
    """
    archives, part = source.open(folder), source.splits.part(split)
    instances = read_instances(archives, part.annotations, source.table(folder))
    start = image_files.below(part.images)
    positions = source.splits.chosen(
        split,
        [start + name for _, name in instances.images],
        archives=archives,
        labels=lambda position: {
            instances.labels[entry.category_id] for entry in instances.objects.get(instances.images[position][0], ())
        },
    )
    images = [instances.images[position] for position in positions]
    ids = image_files.ids(name for _, name in images)
    reader = _Reader(archives, part, instances, has_masks=masks)
    return sources.Examples(list(zip(ids, images, strict=True)), reader.read)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The categories of the training part's objects, in the order of its JSON."""
    return read_categories(source.open(folder), source.splits.train.annotations)


@dataclass(frozen=True)
class _Reader:
    """Reads images with what the JSON says of them.

    Attributes:
        archives: What holds them.
        part: Where in the archives.
        instances: What the JSON says.
        has_masks: Whether label maps are drawn.
    """

    archives: Archives
    part: Part
    instances: Instances
    has_masks: bool

    def read(self, item: tuple[str, tuple[Id, str]]) -> sources.Example:
        """The example of an id, and of the id and file name that the JSON has for it.

        Raises:
            InputError: The image is missing or none, or an object's box or outline is not as COCO defines it.
        """
        id, (number, name) = item
        member = image_files.below(self.part.images) + name
        image = self.archives[member]
        where, stated = f"{self.part.annotations}: {name}", self.instances.sizes.get(number)
        width, height = stated or reading.size(member, image)
        if self.has_masks and stated and sorted(stated) != sorted(size := reading.size(member, image)):
            raise reading.another_size(where, stated, size)  # before anything is drawn at that size
        objects, boxes, areas, dropped = [], [], [], Counter()
        for entry in self.instances.objects_of(number, where):
            box, reason = _corners(entry, width, height)
            if not reason and self.has_masks:
                area = decode_segmentation(entry.segmentation, (int(height), int(width)), where)
                reason = "" if area.any() else "outlines without area"
                areas += [] if reason else [area]
            if reason:
                dropped[reason] += 1
            else:
                objects.append(entry)
                boxes.append(box)
        if others := self.instances.others[number]:
            dropped[sources.OTHER] = others
        labels = [self.instances.labels[entry.category_id] for entry in objects]
        crowd = np.array([entry.iscrowd for entry in objects], bool)
        return sources.Example(
            id=id,
            image=image,
            annotated_size=stated,
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            labels=np.array(labels, np.int32),
            difficult=crowd,
            crowd=crowd,
            mask=paint(areas, labels, (int(height), int(width)), crowds=crowd.tolist()) if self.has_masks else None,
            dropped=dict(dropped),
        )


def _corners(entry: Object, width: int, height: int) -> tuple[tuple[float, ...], str]:
    """Corners of an object's box inside the image, or why it is dropped."""
    x, y, w, h = entry.bbox
    if w <= 0 or h <= 0:
        return (), "boxes without area"
    if x + w <= 0 or y + h <= 0 or x >= width or y >= height:
        return (), "boxes outside the image"
    return (max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))), ""


def decode_segmentation(segmentation: Any, shape: tuple[int, int], where: str) -> np.ndarray:
    """The pixels of an object, bool (H, W): a list of polygons, one polygon, or a run-length code as numbers or as text.

    A polygon is a list of numbers x, y, x, y, ... or of pairs [x, y]; one of fewer than three points has no pixel.

    Raises:
        InputError: It is none of these, or a code of another size.
    """
    try:
        if isinstance(segmentation, list):
            polygons = [polygon for polygon in _polygons(segmentation) if len(polygon) >= 3]
            return functools.reduce(np.logical_or, (fill(each, shape) for each in polygons), np.zeros(shape, bool))
        counts = segmentation["counts"]
        counts = decode_counts(counts) if isinstance(counts, str) else [int(count) for count in counts]
        size = tuple(segmentation["size"])
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        raise InputError(
            f"{where}: expected a segmentation of polygons or a run-length code; received: {str(segmentation)[:80]!r}"
        ) from None
    if size != shape or sum(counts) != shape[0] * shape[1] or min(counts) < 0:
        raise InputError(
            f"{where}: expected a run-length code of {shape[0]} x {shape[1]} pixels; "
            f"received: size {list(size)}, {sum(counts):,} pixels"
        )
    # Runs of 0 and 1 by turns, down the columns.
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(shape[::-1]).T


def _polygons(segmentation: list) -> list[np.ndarray]:
    """Polygons (n, 2) of a list of them, or of the one that is written without a list around it."""
    if not segmentation:
        return []
    are_pairs = isinstance(segmentation[0], list) and all(
        len(each) == 2 and not isinstance(each[0], list) for each in segmentation
    )
    if are_pairs or not isinstance(segmentation[0], list):  # [x, y], [x, y], ... or x, y, x, y, ...
        segmentation = [segmentation]
    polygons = [np.array(polygon, np.float64) for polygon in segmentation]
    if (
        any(each.ndim != 1 and each.shape[1:] != (2,) for each in polygons)
        or not all((np.abs(each) <= MAX_NUMBER).all() for each in polygons)  # nor is a NaN
        or any(np.asarray(polygon).dtype == bool for polygon in segmentation if polygon)
    ):
        raise ValueError("no polygons")
    return [each.reshape(-1, 2) for each in polygons]


def decode_counts(text: str) -> list[int]:
    """Lengths of the runs in COCO's compressed text.

    Five bits a character, the lowest first, the highest the sign; from the fourth run on, each is the difference from the one two before.
    """
    counts, position = [], 0
    while position < len(text):
        value, bits, more = 0, 0, True
        while more:
            if bits > _MAX_BITS:
                raise ValueError(f"a run of more than {_MAX_BITS} bits")
            code = ord(text[position]) - _SHIFT
            value |= (code & 0x1F) << bits
            more, position, bits = bool(code & 0x20), position + 1, bits + _BITS
        if code & 0x10:
            value -= 1 << bits
        counts.append(value + counts[-2] if len(counts) > 2 else value)
    return counts


def fill(polygon: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The pixels whose centres lie in a polygon (n, 2) of x, y by the even-odd rule, bool (H, W).

    A pixel's centre is at half-integers. Row by row: it lies inside after an odd number of edges to its left.
    """
    starts, ends = polygon, np.roll(polygon, -1, axis=0)
    flips = np.zeros((shape[0], shape[1] + 1), np.int64)
    first = max(0, int(np.floor(polygon[:, 1].min())))
    last = min(shape[0], int(np.ceil(polygon[:, 1].max())))
    for row in range(first, last):
        y = row + 0.5
        crosses = (starts[:, 1] <= y) != (ends[:, 1] <= y)
        (x0, y0), (x1, y1) = starts[crosses].T, ends[crosses].T
        x = x0 + (y - y0) * (x1 - x0) / (y1 - y0)
        np.add.at(flips[row], np.ceil(x - 0.5).clip(0, shape[1]).astype(int), 1)
    return np.cumsum(flips, axis=1)[:, :-1] % 2 == 1


def paint(
    areas: Sequence[np.ndarray], labels: Sequence[int], shape: tuple[int, int], *, crowds: Sequence[bool] = ()
) -> np.ndarray:
    """Label map of objects by their pixels, bool (H, W) each: uint8 (H, W), 0 background, 1.. classes, 255 where a crowd is.

    The smaller object is on top; crowds are below all, so that single objects stand out of them.
    """
    mask, crowds = np.zeros(shape, np.uint8), crowds or [False] * len(areas)
    for number in sorted(range(len(areas)), key=lambda n: (not crowds[n], -int(areas[n].sum()), n)):
        mask[areas[number]] = VOID if crowds[number] else labels[number] + 1
    return mask
