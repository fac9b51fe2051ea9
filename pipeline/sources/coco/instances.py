"""COCO's JSON of instances as typed values: what the whole file must have first, what an object must have when its image is read.

An id is a number or a text; a number that is written as text is that number, in a reference as in what it refers to.
"""

import contextlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Le, MinLen
from pydantic import BeforeValidator, FailFast, FiniteFloat, PlainValidator, Strict, TypeAdapter, ValidationError

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.files import texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes
from pipeline.runtime.errors import InputError

MAX_NUMBER = 2**53  # beyond it JSON's numbers, which many programs read as float64, are no longer exact
_NUMBER = re.compile(r"\s*[+-]?[0-9]{1,16}\s*")

Id = int | str


def _id(value: Any) -> Id:
    if (isinstance(value, str) and _NUMBER.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if isinstance(value, str) and value.strip():
        return texts.composed(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER:
        return value
    raise ValueError(f"an id is a text or a whole number up to {MAX_NUMBER:,}")


def _name(value: Any) -> Any:
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return texts.composed(value) if isinstance(value, str) else str(value) if is_number else value


def _no_truth(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"expected a number; received: {value}")
    return value


def _crowd(value: Any) -> bool:
    if value is None:
        return False
    if str(value).strip().lower() in ("0", "1", "0.0", "1.0", "false", "true"):
        return str(value).strip().lower() in ("1", "1.0", "true")
    raise ValueError("expected 0 or 1")


IdOf = Annotated[Any, PlainValidator(_id)]
Number = Annotated[FiniteFloat, Ge(-MAX_NUMBER), Le(MAX_NUMBER), BeforeValidator(_no_truth)]

Side = Annotated[FiniteFloat, Ge(0), Le(MAX_NUMBER), BeforeValidator(_no_truth)]


@dataclass(slots=True)
class _Image:
    id: IdOf
    file_name: Annotated[str, Strict(), MinLen(1)]
    width: Side | None = None
    height: Side | None = None


@dataclass(slots=True)
class _Category:
    id: IdOf
    name: Annotated[str, BeforeValidator(_name)]


@dataclass(slots=True)
class _Annotation:
    image_id: IdOf
    category_id: IdOf
    # Those of an object are checked when its image is read, so that a wrong one costs that image alone.
    bbox: Any = None
    iscrowd: Any = None
    segmentation: Any = None


@dataclass(slots=True)
class _Document:
    images: Annotated[list[_Image], FailFast()]
    categories: Annotated[list[_Category], FailFast()]
    annotations: Annotated[list[_Annotation], FailFast()]


@dataclass(frozen=True, slots=True)
class Object:
    """An object of an image.

    Attributes:
        category_id: Its category.
        bbox: x, y, width, height in pixels.
        iscrowd: It is a crowd.
        segmentation: Its outline, as published.
    """

    category_id: Any
    bbox: tuple[Number, Number, Number, Number]
    iscrowd: Annotated[bool, PlainValidator(_crowd)]
    segmentation: Any


_DOCUMENT, _OBJECT = TypeAdapter(_Document), TypeAdapter(Object)
_EXPECTED = {"bbox": "a bbox of four numbers", "iscrowd": "an iscrowd of 0 or 1"}


@dataclass(frozen=True)
class Instances:
    """What an instances JSON says.

    Attributes:
        images: (id, file name) of each image, by id: the numbers first.
        sizes: Width and height that the JSON states, of each image's id; of some it states none.
        objects: Entries under `annotations` of each image's id, those of our classes; `objects_of` checks them.
        others: How many objects of other classes each image's id has.
        labels: Our class of each category id.
    """

    images: list[tuple[Id, str]]
    sizes: Mapping[Id, tuple[float, float]]
    objects: Mapping[Id, list[_Annotation]]
    others: Counter
    labels: Mapping[Id, int]

    def objects_of(self, image: Id, where: str) -> list[Object]:
        """The objects of our classes in an image.

        Args:
            image: Its id.
            where: Names it in messages.

        Raises:
            InputError: One has no box, or a value that is none of its kind.
        """
        return [_object(entry, where) for entry in self.objects.get(image, ())]


def _object(entry: _Annotation, where: str) -> Object:
    values = {field.name: getattr(entry, field.name) for field in fields(Object)}
    try:
        return _OBJECT.validate_python(values)
    except ValidationError as error:
        key = error.errors(include_url=False)[0]["loc"][0]
        raise InputError(f"{where}: expected {_EXPECTED[key]}; received: {str(values[key])[:80]}") from None


def read_categories(archives: Archives, member: str) -> dict[str, str]:
    """The names of the categories that have objects, in the order of the JSON.

    Raises:
        InputError: It is missing, no JSON of that form, or has an id twice.
    """
    member = texts.normal_path(member)
    document = _parsed(archives[member], member)
    used = {entry.category_id for entry in document.annotations}
    return {name: name for id, name in _categories(document.categories, member).items() if id in used}


def read_instances(archives: Archives, member: str, classes: Classes) -> Instances:
    """Read an instances JSON.

    Raises:
        InputError: It is missing, no JSON of that form, refers to an image or a category that it does not have, has an id or a
            file's name twice, lacks a class, or has boxes that are all below a pixel.
    """
    member = texts.normal_path(member)
    document = _parsed(archives[member], member)
    images = [(image.id, texts.normal_path(image.file_name)) for image in document.images]
    if not images:
        raise InputError(f"{member}: expected images under `images`; received: none")
    _refuse_twice([id for id, _ in images], f"{member}: expected images of different ids")
    _refuse_twice([name for _, name in images], f"{member}: expected images of different file names")
    categories = _categories(document.categories, member)
    labels = _labels(categories, classes, member)
    _refuse_fractions(document.annotations, member)
    sizes = {image.id: (image.width, image.height) for image in document.images if _states_size(image)}
    objects, others, known = defaultdict(list), Counter(), {id for id, _ in images}
    for entry in document.annotations:
        image, category = entry.image_id, entry.category_id
        if image not in known:
            raise InputError(f"{member}: expected an image of id {image!r}; received: none")
        if category in labels:
            objects[image].append(entry)
        elif category in categories and classes.drops_others:
            others[image] += 1
        elif category in categories:
            raise classes.refused(categories[category], member)
        else:
            raise InputError(f"{member}: expected a category of id {category!r}; received: none")
    images.sort(key=lambda image: (isinstance(image[0], str), image[0]))
    return Instances(images, sizes, objects, others, labels)


def _states_size(image: _Image) -> bool:
    """Whether the JSON states an image's width and height: some programs write 0."""
    return min(image.width or 0, image.height or 0) > 0


def _refuse_fractions(annotations: Sequence[_Annotation], member: str) -> None:
    boxes = []
    for entry in annotations:
        with contextlib.suppress(TypeError, ValueError):  # a box that is none is named with its own image
            x, y, w, h = (float(value) for value in entry.bbox)
            boxes.append((x, y, x + w, y + h))
    sources.refuse_fractions(np.array(boxes, np.float64).reshape(-1, 4), member)


def _categories(entries: Sequence[_Category], member: str) -> dict[Id, str]:
    """Name of each category by its id."""
    _refuse_twice([entry.id for entry in entries], f"{member}: expected categories of different ids")
    return {entry.id: entry.name for entry in entries}


def _labels(categories: Mapping[Id, str], classes: Classes, member: str) -> dict[Id, int]:
    """Our class of each category id."""
    counts, ids = Counter(categories.values()), {name: id for id, name in categories.items()}
    for name in classes.labels:
        if name not in ids:
            raise InputError(f"{member}: {unknown(name, ids, 'category')}. Correct it under `classes`")
        if counts[name] > 1:
            raise InputError(f"{member}: expected one category of the name {name!r}; received: {counts[name]}")
    return {ids[name]: label for name, label in classes.indices().items()}


def _refuse_twice(values: Sequence[Id], expected: str) -> None:
    if len(set(values)) != len(values):
        value, count = Counter(values).most_common(1)[0]
        raise InputError(f"{expected}; received: {value!r} {count} times")


def _parsed(content: bytes, member: str) -> _Document:
    encoding, mark = texts.encoding_of(content)
    if encoding == "utf-8":
        content = content[mark:]
    elif encoding is not None:
        content = texts.decode(content, member).encode("utf-8", "surrogatepass")
    try:
        return _DOCUMENT.validate_json(content)
    except ValidationError as error:
        raise InputError(
            f"{member}: expected COCO's JSON of instances (images, annotations, categories); received: {_said(error)}"
        ) from None


def _said(error: ValidationError) -> str:
    """The first thing that is wrong, with its place: `annotations[3]: no key 'image_id'`."""
    first = error.errors(include_url=False)[0]
    *path, last = first["loc"] or ("",)
    if first["type"] == "json_invalid":
        return first["msg"]
    place = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).lstrip(".")
    if first["type"] == "missing":
        return f"no key {last!r}{f' in {place}' if place else ''}"
    reason = first["ctx"]["error"] if first["type"] == "value_error" else first["msg"][:1].lower() + first["msg"][1:]
    place = f"{place}[{last}]" if isinstance(last, int) else f"{place}.{last}".lstrip(".")
    return f"{str(first['input'])[:80]!r} for {place or 'the whole'}: {reason}"
