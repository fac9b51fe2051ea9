"""labelme: a JSON file for each image, with polygons, rectangles and circles in pixels.

    ROOT/x.jpg  ROOT/x.json        splits: {train: ., val: 0.1, test: 0.1}
    ROOT/train/x.jpg  ROOT/train/x.json  ROOT/test/...        splits: {train: train, val: 0.1, test: test}

An image is the one that the JSON names, beside it, or else the one of the JSON's own name; what the JSON embeds of it is not read. An image without a JSON was
not annotated and is no example. Shapes of one label and one `group_id` are one object. Points and lines, which have no
area, are dropped and counted, and so are labelme's masks and boxes without area or outside the image; what sticks out is clipped. A label map
has the pixels whose centres lie in a shape, the smaller object on top.

Source: github.com/wkentaro/labelme, labelme/label_file.py and docs of version 5.
"""

import contextlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Listed, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.errors import InputError
from pipeline.sources.coco import fill, paint
from pipeline.sources.coco.instances import MAX_NUMBER

TASKS = ("detection", "classification", "segmentation")
HAS_OBJECTS = True
ENDING = ".json"
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_POINTS = {"rectangle": 2, "circle": 2}  # corners; the centre and a point of the edge

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `labelme` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        classes: The labels of the shapes, in the order of the classes; as a mapping, with the name of each class; or `all`.
        splits: Which folder below the root serves which split; `.` is the root itself.
    """

    kind: Literal["labelme"]
    root: str = ""
    classes: Listed
    splits: Splits[Part]


fetch = fetch_archives


@dataclass
class Object:
    """An object: one shape, or those of one group.

    Attributes:
        label: Its label.
        outlines: float64 (n, 2) each, corners of a polygon in pixels.
    """

    label: str
    outlines: list[np.ndarray] = field(default_factory=list)

    @property
    def box(self) -> np.ndarray:
        """float64 (4,), the smallest box around it."""
        points = np.concatenate(self.outlines)
        return np.concatenate([points.min(axis=0), points.max(axis=0)])


@dataclass(frozen=True)
class Annotation:
    """What a JSON says.

    Attributes:
        image: The image's name, without folders.
        size: Width and height, if they are stated.
        objects: Its objects.
        dropped: Shapes without area, by reason.
    """

    image: str
    size: tuple[float, float] | None
    objects: Sequence[Object]
    dropped: Counter


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Images of a split with their boxes and, for segmentation, their label maps; an id is the JSON's path below the root.

    Raises:
        InputError: A folder has no JSON.
    """
    archives, start = source.open(folder), image_files.below(source.root)
    names = _annotations(source, archives, source.splits.part(split))
    indices = source.table(folder).indices()
    positions = source.splits.chosen(
        split,
        names,
        archives=archives,
        root=source.root,
        labels=lambda position: (
            indices[each.label]
            for each in read_annotation(archives[names[position]], names[position]).objects
            if each.label in indices
        ),
    )
    names = [names[position] for position in positions]
    ids = image_files.ids(name[len(start) :] for name in names)
    return sources.Examples(
        list(zip(ids, names, strict=True)),
        _Reader(archives, source.table(folder), masks).read,
    )


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The labels of the training part's shapes that have an area."""
    archives = source.open(folder)
    labels = set()
    for name in _annotations(source, archives, source.splits.train):
        with contextlib.suppress(InputError):  # a broken file is named when its image is read
            labels.update(each.label for each in read_annotation(archives[name], name).objects)
    return in_order(labels)


def _annotations(source: Source, archives: Archives, part: str) -> list[str]:
    """Names of the JSON files of a part."""
    below = image_files.below(source.root) + image_files.below(part)
    names = sorted(name for name in archives if _is_annotation(name, below))
    if not names:
        raise InputError(
            f"{below or './'}: expected a JSON of labelme for each image; received: none{archives.note_on_names}"
        )
    return names


def _is_annotation(name: str, below: str) -> bool:
    return name.startswith(below) and name.endswith(ENDING) and image_files.is_visible(name[len(below) :])


def read_annotation(content: bytes, member: str) -> Annotation:
    """What a JSON of labelme says.

    Raises:
        InputError: It is none, or has a shape that is none.
    """
    try:
        found = json.loads(texts.decode(content, member))
    except (ValueError, RecursionError) as error:
        raise (
            error if isinstance(error, InputError) else InputError(f"{member}: expected JSON; received: {error}")
        ) from error
    shapes = found.get("shapes") if isinstance(found, dict) else None
    if not isinstance(shapes, list):
        raise InputError(f"{member}: expected a JSON of labelme, with `shapes`; received: {str(found)[:80]!r}")
    objects: dict[Any, Object] = {}
    dropped: Counter[str] = Counter()
    for number, shape in enumerate(shapes):
        where = f"{member}: shapes[{number}]"
        if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
            raise InputError(f"{where}: expected a shape with a label; received: {str(shape)[:80]!r}")
        kind, label = shape.get("shape_type") or "polygon", texts.composed(shape["label"].strip())
        if kind in _WITHOUT_AREA:
            dropped["points and lines"] += 1
            continue
        if kind == "mask":
            dropped["masks of labelme"] += 1
            continue
        group = shape.get("group_id")
        key = number if group is None else (label, str(group))
        objects.setdefault(key, Object(label)).outlines.append(_outline(shape.get("points"), kind, where))
    size = found.get("imageWidth"), found.get("imageHeight")
    stated = all(isinstance(side, int | float) and not isinstance(side, bool) and side > 0 for side in size)
    image = found.get("imagePath")
    name = PurePosixPath(texts.normal_path(image)).name if isinstance(image, str) else ""
    return Annotation(name, size if stated else None, list(objects.values()), dropped)


def _outline(points: Any, kind: str, where: str) -> np.ndarray:
    """Corners of a shape's polygon, float64 (n, 2)."""
    expected = _POINTS.get(kind)
    if kind not in (*_POINTS, "polygon"):
        raise InputError(f"{where}: expected a polygon, rectangle or circle; received: {str(kind)[:80]!r}")
    is_list = isinstance(points, list) and all(isinstance(point, list) and len(point) == 2 for point in points)
    if not is_list or not all(_is_number(value) for point in points for value in point):
        raise InputError(f"{where}: expected points [x, y] in pixels; received: {str(points)[:80]!r}")
    if len(points) != expected and (expected or len(points) < 3):
        raise InputError(f"{where}: expected {expected or '3 points or more'} of a {kind}; received: {len(points)}")
    corners = np.array(points, np.float64)
    if kind == "rectangle":
        (x0, y0), (x1, y1) = corners
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    if kind == "circle":
        angles = np.arange(64) * (2 * math.pi / 64)
        return corners[0] + np.hypot(*(corners[1] - corners[0])) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return corners


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER  # nor is a NaN


@dataclass(frozen=True)
class _Reader:
    """Reads images with what their JSON files say.

    Attributes:
        archives: What holds them.
        classes: Which class a label is.
        has_masks: Whether label maps are drawn.
    """

    archives: Archives
    classes: Classes
    has_masks: bool

    def read(self, item: tuple[str, str]) -> sources.Example:
        """The example of an id and of a JSON's name.

        Raises:
            InputError: The JSON is none of labelme's, has a label that is no class, or its image is not there.
        """
        id, member = item
        annotation = read_annotation(self.archives[member], member)
        name = image_of(self.archives, member, annotation.image)
        image = self.archives[name]
        width, height = annotation.size or reading.size(name, image)
        if self.has_masks and annotation.size and sorted(annotation.size) != sorted(size := reading.size(name, image)):
            raise reading.another_size(member, annotation.size, size)  # before anything is drawn at that size
        indices, objects, boxes, dropped = self.classes.indices(), [], [], Counter(annotation.dropped)
        for each in annotation.objects:
            if each.label not in indices and not self.classes.drops_others:
                raise self.classes.refused(each.label, member)
            x0, y0, x1, y1 = each.box.tolist()
            if each.label not in indices:
                dropped[sources.OTHER] += 1
            elif x0 >= x1 or y0 >= y1:
                dropped["boxes without area"] += 1
            elif x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                dropped["boxes outside the image"] += 1
            else:
                objects.append(each)
                boxes.append((max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)))
        labels = [indices[each.label] for each in objects]
        shape = int(height), int(width)
        return sources.Example(
            id=id,
            image=image,
            annotated_size=annotation.size,
            boxes=np.array(boxes, np.float64).reshape(-1, 4),
            labels=np.array(labels, np.int32),
            difficult=np.zeros(len(labels), bool),
            mask=paint([_area(each, shape) for each in objects], labels, shape) if self.has_masks else None,
            dropped=dict(dropped),
        )


def image_of(archives: Archives, member: str, stated: str) -> str:
    """Name of the image that a JSON is of.

    Raises:
        InputError: It is not beside the JSON.
    """
    folder, stem = member[: -len(PurePosixPath(member).name)], member.removesuffix(ENDING)
    if stated and folder + stated in archives:
        return folder + stated
    found = [name for name in archives if name.rpartition(".")[0] == stem and image_files.is_image(name)]
    if len(found) != 1:
        received = " and ".join(found) or "none"
        raise InputError(f"{member}: expected its image {stated or 'of the same name'} beside it; received: {received}")
    return found[0]


def _area(labelled: Object, shape: tuple[int, int]) -> np.ndarray:
    """The pixels of an object's outlines, bool (H, W)."""
    return np.any([fill(outline, shape) for outline in labelled.outlines], axis=0)
