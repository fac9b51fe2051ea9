"""Sources of data: one file per kind, found by its name (`kind: voc` in params.yaml is `pipeline/sources/voc.py`).

A kind's file defines

- `TASKS`: the tasks that its examples can serve;
- `class Source(SourceEntry)`: the keys of its entry in params.yaml. It extends `Classified` where the data say classes and the entry lists
  them; otherwise it has `classes`, the class names, in order;
- `fetch(source, folder, *, mirrors)`: put the archives, as published, into the empty `folder`; `mirrors` are folders
  and URLs to look for each file before its own addresses (a kind that generates its data has no use for them);
- `examples(source, folder, *, masks, split)`: that split's `Example`s as a sequence, with label maps if `masks` says so, always in the
  same order, each read from the archives in place when it is asked for.

It may define, so that params.yaml can be checked against the data before they are downloaded,

- `labels_in(source, folder)`: the labels that the training part has, in order, each with the name of its class, of a kind that takes
  `classes: all`; `download` writes them down;
- `HAS_OBJECTS`: whether its examples have objects with boxes, and then no class of their own;
- `SIGNAL_LENGTH`: values of a signal, of a kind that has signals;
- `max_training_examples(source, *, examples)`: how many the training split has at most; `examples` as in a dataset's entry.

What kinds have in common: `Examples` here, `Classified` (files/classes.py), which listed class a label of the data is, `PublishedArchives`
(files/published_archives.py) for data that are published as archives, and `Splits` (files/splits.py), the key that says which published part
serves which split.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from pydantic import model_validator

from cnnkeras import tasks
from cnnkeras.by_name import Files
from pipeline.files.classes import Classes, Classified
from pipeline.files.local import LocalFile
from pipeline.files.published import PublishedFile, distinct_files
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

Task = Literal[*tasks.names()]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One image or signal with what is known about it.

    Attributes:
        id: Unique within its split; safe as a file name.
        image: The image file's bytes as published, a uint8 RGB array (H, W, 3), or a float32 signal (L, 1).
        label: Class index, for classification.
        annotated_size: Width and height of the image as its boxes' annotation states them, if it does; what reads the image compares.
        boxes: float64 (n, 4), corners x0, y0, x1, y1 in pixels, continuous, origin at the image's top-left corner.
        labels: int32 (n,), class index of each box.
        difficult: bool (n,), PASCAL VOC's flag of each box; a crowd's is set, too.
        crowd: bool (n,), COCO's flag of each box; None of a kind that knows no crowds.
        mask: Label map as the bytes of a palette or grayscale file without loss, or uint8 (H, W): 0 background, 1.. classes,
            255 void.
        dropped: How many annotations were left out, by reason.
    """

    id: str
    image: bytes | np.ndarray
    label: int | None = None
    annotated_size: tuple[float, float] | None = None
    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    difficult: np.ndarray | None = None
    crowd: np.ndarray | None = None
    mask: bytes | np.ndarray | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)


class SourceEntry(Entry):
    """What every entry under `sources:` has; a kind adds its own keys.

    Attributes:
        kind: Which file of this folder reads it.
        license: Under which terms the data may be used; `download` shows it.
        citation: What its authors ask to be cited; `download` shows it.
    """

    kind: str
    license: str | None = None
    citation: str | None = None

    @model_validator(mode="after")
    def _has_distinct_files(self) -> "SourceEntry":
        distinct_files(published(self))
        return self


def published(value: Any) -> Iterator[PublishedFile | LocalFile]:
    """The files of an entry, wherever its kind has them."""
    if isinstance(value, PublishedFile | LocalFile):
        yield value
    elif isinstance(value, Entry):
        for name in type(value).model_fields:
            yield from published(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from published(item)


# Why something was left out: an object, a value of a label map, an image.
OTHER, OTHER_AREAS, OTHER_IMAGES = "objects of other classes", "areas of other classes", "images of other classes"


def class_names(source: SourceEntry, folder: Path) -> tuple[str, ...]:
    """Class names of a source, in order, without background.

    Args:
        source: Its entry.
        folder: Its files, as `download` puts them there, of which a source of `classes: all` needs one.

    Raises:
        InputError: The data say which classes there are, and `download` has not written them down.
    """
    return source.table(folder).names if isinstance(source, Classified) else tuple(source.classes)


def listed_class_names(source: SourceEntry) -> tuple[str, ...] | None:
    """The same by the entry alone; None where the data say which classes there are."""
    return None if isinstance(source, Classified) and source.takes_all else class_names(source, Path())


def numbered_labels(labels: np.ndarray, classes: Classes, where: str) -> np.ndarray:
    """The class of each label, -1 of one that is left out; int (n,) both.

    Raises:
        InputError: One has no class, and the entry does not say that it is left out.
    """
    indices = classes.indices()
    values, inverse = np.unique(labels, return_inverse=True)
    for value in values:
        if str(value) not in indices and not classes.drops_others:
            raise classes.refused(str(value), where)
    return np.array([indices.get(str(value), -1) for value in values], np.int64)[inverse]


def refuse_fractions(boxes: np.ndarray, where: str) -> None:
    """Refuse boxes of a whole file that are all below a pixel: they look like fractions of the image.

    Args:
        boxes: float (n, 4), corners x0, y0, x1, y1 as published; those without area do not count.
        where: Names the file.

    Raises:
        InputError: They are.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    with_area = (sides > 0).all(axis=1)
    own, sides = boxes[with_area], sides[with_area]
    if len(own) and ((sides < 1).all() or ((own <= 1).all() and (own % 1 > 0).any())):
        first = ", ".join(f"{value:g}" for value in own[0])
        raise InputError(
            f"{where}: expected boxes in pixels; received: none that is as large as one, such as from {first}. "
            "Are they fractions of the image? Multiply them by its width and height"
        )


Item = TypeVar("Item")


class Examples(Sequence[Example], Generic[Item]):
    """The examples of a split, each read when it is asked for.

    Args:
        items: One for each example, in order: a position, a member's name, whatever `read` takes.
        read: Reads the example of an item.
        left_out: Names of the files that lie where examples are looked for and are none of them.
        others: Names of the images whose class is not listed, which are left out.
    """

    def __init__(
        self,
        items: Sequence[Item],
        read: Callable[[Item], Example],
        left_out: Iterable[str] = (),
        others: Iterable[str] = (),
    ):
        self._items, self._read = items, read
        self.left_out, self.others = frozenset(left_out), frozenset(others)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Example:
        """Read one example.

        Raises:
            InputError: It is missing, damaged or not as its kind defines it.
        """
        return self._read(self._items[index])


class Kind(Protocol):
    """What a kind's module offers."""

    TASKS: Sequence[Task]
    Source: type[SourceEntry]

    def fetch(self, source: SourceEntry, folder: Path, *, mirrors: Sequence[str]) -> None:
        """Put the archives into `folder`."""

    def examples(self, source: SourceEntry, folder: Path, *, masks: bool, split: Split) -> Sequence[Example]:
        """Examples of a split."""


DEFINES = ("TASKS", "Source", "fetch", "examples")

_files = Files(__name__, "a kind")
names, load = _files.names, _files.load
