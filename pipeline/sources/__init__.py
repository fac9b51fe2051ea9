"""Sources of data: one file per kind, found by its name (`kind: voc` in params.yaml is `pipeline/sources/voc.py`).

A kind's file defines

- `TASKS`: the tasks that its examples can serve;
- `class Source(SourceEntry)`: the keys of its entry in params.yaml, with `classes` (the class names, in order);
- `fetch(source, folder, *, mirrors)`: put the archives, as published, into the empty `folder`; `mirrors` are folders
  and URLs to look for each file before its own addresses (a kind that generates its data has no use for them);
- `examples(source, folder, *, task, split)`: that split's `Example`s as a sequence, always in the same order, each read
  from the archives in place when it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from cnnkeras.by_name import Files
from pipeline.runtime.entries import Entry

Task = Literal["classification", "detection", "segmentation"]
Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Example:
    """One image or signal with what is known about it.

    Attributes:
        id: Unique within its split; safe as a file name.
        image: The image file's bytes as published, a uint8 RGB array (H, W, 3), or a float32 signal (L, 1).
        label: Class index, for classification.
        boxes: float64 (n, 4), corners x0, y0, x1, y1 in pixels, continuous, origin at the image's top-left corner.
        labels: int32 (n,), class index of each box.
        difficult: bool (n,), PASCAL VOC's flag of each box.
        mask: Label map as the bytes of a palette or grayscale PNG, or uint8 (H, W): 0 background, 1.. classes, 255
            void.
        dropped: How many annotations were left out, by reason.
    """

    id: str
    image: bytes | np.ndarray
    label: int | None = None
    boxes: np.ndarray | None = None
    labels: np.ndarray | None = None
    difficult: np.ndarray | None = None
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


class Kind(Protocol):
    """What a kind's module offers."""

    TASKS: Sequence[Task]
    Source: type[SourceEntry]

    def fetch(self, source: SourceEntry, folder: Path, *, mirrors: Sequence[str]) -> None:
        """Put the archives into `folder`."""

    def examples(self, source: SourceEntry, folder: Path, *, task: Task, split: Split) -> Sequence[Example]:
        """Examples of a split."""


_files = Files(__name__, "a kind")
names, load = _files.names, _files.load
