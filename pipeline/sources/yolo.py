"""YOLO's text labels: an image's objects are the lines of a .txt file, with numbers of classes and fractions of the image.

    ROOT/images/train/x.jpg  ROOT/labels/train/x.txt  ROOT/data.yaml      Ultralytics'  splits: {train: images/train, val: images/val, test: 0.1}
    ROOT/train/images/x.jpg  ROOT/train/labels/x.txt  ROOT/data.yaml      Roboflow's    splits: {train: train/images, val: valid/images, ...}
    ROOT/obj/x.jpg           ROOT/obj/x.txt           ROOT/train.txt      darknet's     splits: {train: train.txt, val: 0.1, test: test.txt}

    1 0.5 0.5 0.2 0.4                       a box: class, x and y of the centre, width, height
    0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8       a polygon: class, x and y of each corner; its box is the smallest around it

The labels of `images/.../x.jpg` are those of `labels/.../x.txt`, by the last folder called images; of an image in no such folder they lie
beside it. An image without a file, or with an empty one, has no objects. Boxes without area, and those that are written twice, are dropped
and counted; one that sticks out is clipped. A label map has the pixels whose centres lie in a polygon, the smaller object on top.

Source: docs.ultralytics.com/datasets/detect and /datasets/segment, "Ultralytics YOLO format".
"""

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field, model_validator
from ruamel.yaml import YAML, YAMLError

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Listed
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.errors import InputError
from pipeline.sources.coco import fill, paint

TASKS = ("detection", "classification", "segmentation")
HAS_OBJECTS = True
LIST_ENDING = ".txt"
_BOX_NUMBERS, _MIN_POLYGON_NUMBERS = 4, 6
_MAX_EXCESS = 0.01  # by which rounding, and clicks beside an image, may leave 0..1; Ultralytics has the same
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CLASS = re.compile(r"([0-9]{1,6})(\.0*)?")
_NUMBER_OF_CLASS = re.compile("0|[1-9][0-9]{0,5}")
_MAX_YAML_BYTES = 2**20  # of data.yaml: the names of a thousand classes have 20,000
LISTS_OF_NAMES = ("classes.txt", "obj.names", "_darknet.labels")


Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]
Parts = Annotated[tuple[Part, ...], Field(min_length=1)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `yolo` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        names: The classes' names as data.yaml has them: a list, in the order of their numbers, or a mapping `{0: person, 2: car}`; or `all`,
            the numbers that the training part has, with the names of a data.yaml or a list of names below the root.
        splits: Which images serve which split: those of a folder, of a list `NAME.txt` with an image a line, or of several of these.
    """

    CLASSES, NUMBERED = "names", True

    kind: Literal["yolo"]
    root: str = ""
    names: Listed
    splits: Splits[Part | Parts]

    @model_validator(mode="after")
    def _has_numbers(self) -> "Source":
        if isinstance(self.names, dict) and (
            wrong := [key for key in self.names if not _NUMBER_OF_CLASS.fullmatch(key)]
        ):
            raise ValueError(f"names: expected numbers of classes; received: {wrong[0]!r}")
        return self


fetch = fetch_archives


class Object(NamedTuple):
    """An object of a line.

    Attributes:
        label: Number of its class.
        points: float64 (n, 2), fractions of width and height: two corners of a box, or a polygon's.
        is_polygon: Whether it is a polygon.
        line: Its line, from 1.
    """

    label: int
    points: np.ndarray
    is_polygon: bool
    line: int


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Images of a split with their boxes and, for segmentation, their label maps; an id is the image's path below the root.

    Raises:
        InputError: A folder or list is missing or empty, or no image of it has labels.
    """
    archives = source.open(folder)
    names = _labelled(archives, source, source.splits.part(split))
    indices = source.table(folder).indices()

    def labels(position: int) -> list[int]:
        file = label_file(names[position])
        found = read_objects(archives[file], file) if file in archives else []
        return [indices[str(each.label)] for each in found if str(each.label) in indices]

    positions = source.splits.chosen(split, names, archives=archives, root=source.root, labels=labels)
    names = [names[position] for position in positions]
    ids = image_files.ids(name[len(image_files.below(source.root)) :] for name in names)
    reader = _Reader(archives, source.table(folder), masks)
    return sources.Examples(list(zip(ids, names, strict=True)), reader.read)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The numbers of the objects in the training part, with the names that data.yaml or a list of names has for them."""
    archives, numbers = source.open(folder), set()
    for name in _labelled(archives, source, source.splits.train):
        if (file := label_file(name)) in archives:
            with contextlib.suppress(InputError):  # a broken file is named when its image is read
                numbers.update(each.label for each in read_objects(archives[file], file))
    names = read_names(archives, source.root)
    return {str(number): names.get(number, f"class_{number}") for number in sorted(numbers)}


def _labelled(archives: Archives, source: Source, part: str | Sequence[str]) -> list[str]:
    """Names of the images of a part, some of which have labels."""
    parts = (part,) if isinstance(part, str) else part
    names = list(dict.fromkeys(name for each in parts for name in _images(archives, source.root, each)))
    if not names:
        raise InputError(f"{', '.join(parts)}: expected an image a line; received: an empty list")
    if not any(label_file(name) in archives for name in names):
        raise InputError(
            f"{', '.join(parts)}: expected labels of images, such as {label_file(names[0])}; received: none of {len(names):,} images"
        )
    return names


def read_names(archives: Archives, root: str) -> dict[int, str]:
    """Names of classes by number, of a data.yaml right below the root, or else of a list of names; none where neither is there."""
    start = image_files.below(root)
    inside = sorted(name for name in archives if name.startswith(start) and "/" not in name[len(start) :])
    for name in inside:
        if name.endswith((".yaml", ".yml")) and (names := names_of(read_data_yaml(archives[name], name))):
            return names
    listed = next((name for name in inside if name[len(start) :].lower() in LISTS_OF_NAMES), None)
    return dict(enumerate(texts.lines(archives[listed], listed))) if listed else {}


def read_data_yaml(content: bytes, name: str) -> dict[str, Any]:
    """The keys of a YAML file; none of a file that is no mapping, or no YAML."""
    with contextlib.suppress(YAMLError, InputError, ValueError):
        if len(content) <= _MAX_YAML_BYTES:
            found = YAML(typ="safe", pure=True).load(texts.decode(content, name))
            return found if isinstance(found, dict) else {}
    return {}


def names_of(document: dict[str, Any]) -> dict[int, str]:
    """Names of classes by number, as data.yaml has them: a list, or a mapping."""
    names = document.get("names")
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    if isinstance(names, dict) and all(_NUMBER_OF_CLASS.fullmatch(str(key)) for key in names):
        return {int(key): str(name) for key, name in names.items()}
    return {}


def _images(archives: Archives, root: str, part: str) -> Iterator[str]:
    if not part.lower().endswith(LIST_ENDING):
        yield from image_files.images(archives, image_files.below(root) + image_files.below(part))
        return
    member, paths = image_files.below(root) + part, image_files.Paths(archives, root)
    for number, line in texts.numbered_lines(archives[member], member):
        name = paths.find(line)
        if name is None:
            raise InputError(f"{member}, line {number}: expected an image of the archive; received: {line!r}")
        yield name


def label_file(image: str) -> str:
    """Name of the file with an image's labels."""
    *folders, file = PurePosixPath(image).parts
    if "images" in folders:
        folders[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return "/".join([*folders, str(PurePosixPath(file).with_suffix(".txt"))])


def read_objects(content: bytes, member: str) -> list[Object]:
    """The objects of a file of labels; `member` is its name, for messages.

    Raises:
        InputError: A line is no box and no polygon, or has points outside the image.
    """
    found = []
    for number, line in texts.numbered_lines(content, member):
        where = f"{member}, line {number}"
        first, *others = line.split()
        is_box = len(others) == _BOX_NUMBERS
        wrong = len(others) < _MIN_POLYGON_NUMBERS or len(others) % 2
        if (wrong and not is_box) or not _CLASS.fullmatch(first) or not all(map(_NUMBER.fullmatch, others)):
            raise InputError(
                f"{where}: expected a class and x, y, width, height, or a class and x, y of three corners or more; received: {line[:80]!r}"
            )
        values = np.array(others, np.float64)
        if not ((values >= -_MAX_EXCESS) & (values <= 1 + _MAX_EXCESS)).all():
            outside = next(
                text for text, value in zip(others, values, strict=True) if not -_MAX_EXCESS <= value <= 1 + _MAX_EXCESS
            )
            raise InputError(
                f"{where}: expected fractions of the image, from 0 to 1; received: {outside}. Divide pixels by its width and height"
            )
        points = _corners(values) if is_box else values.reshape(-1, 2)
        found.append(Object(int(_CLASS.fullmatch(first)[1]), points, not is_box, number))
    return found


def _corners(values: np.ndarray) -> np.ndarray:
    centre, size = values[:2], values[2:]
    return np.stack([centre - size / 2, centre + size / 2])


@dataclass(frozen=True)
class _Reader:
    """Reads images with the objects of their files.

    Attributes:
        archives: What holds them.
        classes: Which class a number is.
        has_masks: Whether label maps are drawn.
    """

    archives: Archives
    classes: Classes
    has_masks: bool

    def read(self, item: tuple[str, str]) -> sources.Example:
        """The example of an id and of an image's name.

        Raises:
            InputError: The image is none, its labels are not YOLO's, or a label map is wanted where there is a box.
        """
        id, name = item
        image, file = self.archives[name], label_file(name)
        width, height = reading.size(name, image)
        content = self.archives[file] if file in self.archives or file in self.archives.refused else b""
        indices, objects, boxes, dropped = self.classes.indices(), [], [], Counter()
        for each in read_objects(content, file):
            if str(each.label) not in indices and not self.classes.drops_others:
                raise self.classes.refused(str(each.label), f"{file}, line {each.line}")
            points = (each.points * [width, height]).clip(0, [width, height])
            box = (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())
            if str(each.label) not in indices:
                dropped[sources.OTHER] += 1
            elif box[0] >= box[2] or box[1] >= box[3]:
                dropped["boxes without area"] += 1
            elif any(each.label == other.label and np.array_equal(each.points, other.points) for other in objects):
                dropped["boxes that are written twice"] += 1
            else:
                objects.append(each)
                boxes.append(box)
        labels = [indices[str(each.label)] for each in objects]
        return sources.Example(
            id=id,
            image=image,
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            labels=np.array(labels, np.int32),
            difficult=np.zeros(len(objects), bool),
            mask=_label_map(objects, labels, (height, width), file) if self.has_masks else None,
            dropped=dict(dropped),
        )


def _label_map(objects: Sequence[Object], labels: Sequence[int], shape: tuple[int, int], file: str) -> np.ndarray:
    """uint8 (H, W): 0 background, 1.. classes, the smaller object on top."""
    if box := next((each for each in objects if not each.is_polygon), None):
        raise InputError(
            f"{file}, line {box.line}: expected a polygon, for label maps; received: a box. Use task: detection"
        )
    areas = [fill(each.points * shape[::-1], shape) for each in objects]
    return paint(areas, labels, shape)
