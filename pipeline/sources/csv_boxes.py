"""A table with a box a row, as Kaggle has it, and the images beside it.

    train.csv     image,xmin,ymin,xmax,ymax,label      splits: {train: train.csv, val: 0.1, test: 0.1}
                  vid_4_1000.jpg,281,187,327,223,car   box_columns: [xmin, ymin, xmax, ymax]
    train.csv     image_id,bbox                        box_columns: [bbox]    box_format: corner_and_size
                  b6ab77fd7,"[834.0, 222.0, 56.0, 36.0]"

An image is named by its file, with or without its ending, or by a path whose end is below the folder of images; its rows need not
follow each other. A row whose box is empty is an image without objects. Boxes are continuous, with their origin at the image's top-left corner;
one without area or outside the image is dropped and counted, one that sticks out is clipped.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import AfterValidator, Field, model_validator

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import ALL, Classes, Classified, Listed, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.files.tables import Delimiter, GroupColumn, Row, read_rows, refuse_two_groups
from pipeline.images import reading
from pipeline.runtime.errors import InputError
from pipeline.sources.coco.instances import MAX_NUMBER

TASKS = ("detection", "classification")
HAS_OBJECTS = True
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EMPTY = frozenset(("", "nan", "null", "none", "[]", "no_box"))

BoxFormat = Literal["corners", "corner_and_size", "centre_and_size"]
Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `csv_boxes` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        images: Folder of the images, below the root.
        image_column: The column that names the images.
        label_column: The column that has the boxes' classes; left out where there is one class.
        classes: The values of that column, in the order of the classes; as a mapping, with the name of each class; or `all`.
        box_columns: The four columns of a box, or the one that has four numbers: `[281, 187, 327, 223]`.
        box_format: What the four numbers are: `corners` x0, y0, x1, y1; `corner_and_size` x0, y0, width, height; `centre_and_size`.
        box_units: `pixels`, or `fractions` of the image's width and height.
        group_column: The column that says which images belong together, such as those of a patient: a group's images are drawn together.
        delimiter: What is between two values.
        splits: Which table serves which split, its path below the root.
    """

    kind: Literal["csv_boxes"]
    root: str = ""
    images: str = "."
    image_column: str
    label_column: str | None = None
    classes: Listed
    box_columns: Annotated[tuple[str, ...], Field(min_length=1, max_length=4)]
    box_format: BoxFormat = "corners"
    box_units: Literal["pixels", "fractions"] = "pixels"
    group_column: GroupColumn = None
    delimiter: Delimiter = ","
    splits: Splits[Part]

    @model_validator(mode="after")
    def _fits_together(self) -> "Source":
        if len(self.box_columns) not in (1, 4):
            raise ValueError(f"box_columns: expected one column or four; received: {len(self.box_columns)}")
        if self.label_column is None and (self.takes_all or len(self.classes) > 1):
            received = ALL if self.takes_all else len(self.classes)
            raise ValueError(f"classes: expected one class without label_column; received: {received}")
        return refuse_two_groups(self)


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split with their boxes, in the order of their first rows; an id is the image's path below the folder of images.

    Raises:
        InputError: A table is missing or none, a class is not named, a box is none, or all boxes are below a pixel.
    """
    archives, start = source.open(folder), image_files.below(source.root)
    member = start + source.splits.part(split)
    below, classes = start + image_files.below(source.images), source.table(folder)
    labels, paths = classes.indices(), image_files.Paths(archives, below)
    objects: dict[str, list[tuple[tuple[float, ...], int | None]]] = {}
    problems: dict[str, str] = {}
    groups: dict[str, str] = {}
    for row in _rows(source, archives, member):
        image = row.values[0]
        name = (paths.find(image) if image else None) or image
        if name not in objects and name not in archives:
            problems[name] = (
                f"{row.where}: expected an image in {below or './'}; received: {image!r}{archives.note_on_names}"
            )
        group = row.values[1 + len(source.box_columns)] if source.group_column else ""
        if groups.setdefault(name, group) != group:
            raise InputError(f"{row.where}: expected {image} in one group; received: {groups[name]!r} and {group!r}")
        objects.setdefault(name, []).extend(_object(row, source, classes, labels))
    if source.box_units == "pixels":
        published = [corners(box, source.box_format) for each in objects.values() for box, _ in each]
        sources.refuse_fractions(np.array(published, np.float64).reshape(-1, 4), member)
    names = list(objects)
    positions = source.splits.chosen(
        split,
        names,
        archives=archives,
        root=source.root,
        labels=lambda position: [label for _, label in objects[names[position]] if label is not None],
        groups=[groups[name] for name in names] if source.group_column else None,
    )
    names = [names[position] for position in positions]
    ids = image_files.ids(name.removeprefix(below) for name in names)
    reader = _Reader(archives, source, objects, problems)
    return sources.Examples(list(zip(ids, names, strict=True)), reader.read)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The values in the column of classes of the training table, of rows that have a box."""
    rows = _rows(source, source.open(folder), image_files.below(source.root) + source.splits.train)
    return in_order(row.values[-1] for row in rows if not _is_empty(row, source))


def _rows(source: Source, archives: Archives, member: str) -> list[Row]:
    last = [column for column in (source.group_column, source.label_column) if column]
    columns = (source.image_column, *source.box_columns, *last)
    return read_rows(archives, member, columns, source.delimiter)


def _is_empty(row: Row, source: Source) -> bool:
    return all(value.lower() in _EMPTY for value in row.values[1 : 1 + len(source.box_columns)])


def _object(
    row: Row, source: Source, classes: Classes, labels: Mapping[str, int]
) -> list[tuple[tuple[float, ...], int | None]]:
    """The box and the class of a row, None of another class that is left out; nothing of a row whose box is empty."""
    values = row.values[1 : 1 + len(source.box_columns)]
    if _is_empty(row, source):
        return []
    if len(values) == 1:
        values = tuple(re.split(r"[\s,;]+", values[0].strip("[](){} ")))
    if len(values) != 4 or not all(map(_NUMBER.fullmatch, values)):
        columns = ", ".join(source.box_columns)
        raise InputError(
            f"{row.where}: expected the four numbers of a box in {columns}; received: {', '.join(values)[:80]!r}"
        )
    box = tuple(map(float, values))
    if max(map(abs, box)) > MAX_NUMBER:
        raise InputError(f"{row.where}: expected the four numbers of a box; received: {max(box, key=abs)}")
    if source.box_units == "fractions" and not all(-0.01 <= value <= 1.01 for value in box):
        raise InputError(
            f"{row.where}: expected fractions of the image, from 0 to 1; received: {max(box, key=abs):g}. Say box_units: pixels"
        )
    value = row.values[-1] if source.label_column else next(iter(labels))
    if value not in labels and not classes.drops_others:
        raise classes.refused(value, row.where)
    return [(box, labels.get(value))]


def corners(box: tuple[float, ...], box_format: str) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a box's four numbers in one of the formats of `box_format`."""
    a, b, c, d = box
    if box_format == "corners":
        return min(a, c), min(b, d), max(a, c), max(b, d)
    if box_format == "corner_and_size":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


@dataclass(frozen=True)
class _Reader:
    """Reads images with the boxes of their rows.

    Attributes:
        archives: What holds them.
        source: The entry.
        objects: Numbers of a box, and its class, of each image's name.
        problems: Why an image is not there.
    """

    archives: Archives
    source: Source
    objects: dict[str, list[tuple[tuple[float, ...], int | None]]]
    problems: dict[str, str]

    def read(self, item: tuple[str, str]) -> sources.Example:
        """The example of an id and of an image's name.

        Raises:
            InputError: The image is not there, or none.
        """
        id, name = item
        if name in self.problems:
            raise InputError(self.problems[name])
        image = self.archives[name]
        width, height = reading.size(name, image)
        scale = (width, height) if self.source.box_units == "fractions" else (1, 1)
        objects = [
            (np.array(corners(box, self.source.box_format)) * [*scale, *scale], label)
            for box, label in self.objects[name]
        ]
        return inside(id, image, objects, (width, height))


def inside(
    id: str, image: bytes, objects: Sequence[tuple[Sequence[float], int | None]], size: tuple[int, int]
) -> sources.Example:
    """An example with the objects that show in its image: those of other classes, without area or outside are dropped, one that sticks out is clipped.

    Args:
        id: The example's.
        image: The image's file.
        objects: Corners x0, y0, x1, y1 in pixels and the class of each object, None of another class.
        size: The image's width and height in pixels.
    """
    boxes, labels, dropped = [], [], Counter()
    width, height = size
    for (x0, y0, x1, y1), label in objects:
        if label is None:
            dropped[sources.OTHER] += 1
        elif x0 >= x1 or y0 >= y1:
            dropped["boxes without area"] += 1
        elif x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
            dropped["boxes outside the image"] += 1
        else:
            boxes.append((max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)))
            labels.append(label)
    return sources.Example(
        id=id,
        image=image,
        boxes=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.array(labels, np.int32),
        difficult=np.zeros(len(labels), bool),
        dropped=dict(dropped),
    )
