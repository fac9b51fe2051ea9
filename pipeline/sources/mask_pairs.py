"""Images and label maps in folders of their own, read in place from archives: CamVid as SegNet has it, any such pair.

    ROOT/train/x.png  ROOT/trainannot/x.png                                splits: {train: {images: train, masks: trainannot}, ...}
    ROOT/train/x.jpg  ROOT/masks/x_mask.gif                                {images: train, masks: masks, mask_names: "{}_mask"}
    ROOT/img/a/x_rgb.png  ROOT/gt/a/x_labelIds.png                         {images: img, masks: gt, image_names: "{}_rgb", mask_names: "{}_labelIds"}
    ROOT/train.txt with lines "/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png"   splits: {train: train.txt, ...}

A label map is a palette or grayscale image whose values are labels, of 8 bits or 16; an array (.npy) of whole numbers; or, where values are
given as colours, an image of these: `class_values: [[128, 0, 0], [0, 128, 0]]`. A JPEG file cannot hold them. A mapping of `classes` has the values
and merges them: `{1: road, 2: road, 7: car}`, `{"#800000": car}`. Source of the last layout: Badrinarayanan, Kendall and Cipolla, "SegNet" (2017),
github.com/alexgkendall/SegNet-Tutorial.
"""

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le, Lt
from pydantic import Field, model_validator

from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Listed
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError

TASKS = ("segmentation",)
HAS_OBJECTS = False

Level = Annotated[int, Ge(0), Le(255)]
Value = Annotated[int, Ge(-(2**31)), Lt(2**31)] | tuple[Level, Level, Level]
Template = Annotated[str, Field(pattern=r"^[^{}/]*\{\}[^{}/]*$")]
_VALUE, _COLOR = re.compile(r"0|-?[1-9][0-9]{0,8}"), re.compile("#[0-9a-fA-F]{6}")
ARRAY = ".npy"
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
    """Two folders below the root. An image's label map has its name, in the same folder inside, whatever their endings.

    Attributes:
        images: The images' folder.
        masks: The label maps' folder.
        image_names: What images are called, without their endings, `{}` being what an image and its label map share: `{}_leftImg8bit`. Others are none.
        mask_names: What label maps are called: `{}_mask`.
    """

    images: str
    masks: str
    image_names: Template = "{}"
    mask_names: Template = "{}"

    @model_validator(mode="after")
    def _are_apart(self) -> "Folders":
        if (self.images, self.image_names) == (self.masks, self.mask_names):
            raise ValueError(
                f"mask_names: expected other names than the images' in one folder; received: {self.mask_names!r}"
            )
        return self


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `mask_pairs` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        classes: Class names, in order; as a mapping, by their values in the label maps; or `all`, the values that there are.
        class_values: Each class's value in the label maps, a number or a colour; by default 1, 2, ...
        background_values: Values of what belongs to no class. Among colours a number is a grey.
        void_values: Values of what is neither trained on nor evaluated.
        splits: Which pairs serve which split: a list below the root, with an image and its label map a line; or two folders.
    """

    kind: Literal["mask_pairs"]
    root: str = ""
    classes: Listed
    class_values: tuple[Value, ...] = ()
    background_values: tuple[Value, ...] = (0,)
    void_values: tuple[Value, ...] = (VOID,)
    splits: Splits[ListName | Folders]

    @model_validator(mode="after")
    def _is_unambiguous(self) -> "Source":
        if self.class_values and not isinstance(self.classes, tuple):
            raise ValueError("class_values: expected none beside a mapping of classes, or all; received: some")
        if self.class_values and len(self.class_values) != len(self.classes):
            raise ValueError(
                f"class_values: expected {len(self.classes)} values, one a class; received: {len(self.class_values)}"
            )
        for label in self.classes if isinstance(self.classes, dict) else ():
            if not _VALUE.fullmatch(label) and not _COLOR.fullmatch(label):
                raise ValueError(f"classes: expected values such as 7 or '#800000'; received: {label!r}")
        if self.has_colors and (
            wrong := [value for value in self._given if isinstance(value, int) and not 0 <= value <= 255]
        ):
            raise ValueError(f"class_values: expected colours, or greys from 0 to 255; received: {wrong[0]}")
        values = [*self.values, *self.meaning_nothing]
        if twice := next((value for value in values if values.count(value) > 1), None):
            raise ValueError(
                "class_values, background_values, void_values: expected each value once; "
                f"received: {twice} twice. Where there is no background, say background_values: []"
            )
        return self

    @property
    def _given(self) -> tuple[Value, ...]:
        """All values as they are written."""
        keys = self.classes if isinstance(self.classes, dict) else ()
        listed = self.class_values or (range(1, len(self.classes) + 1) if isinstance(self.classes, tuple) else ())
        numbers = (int(key) if _VALUE.fullmatch(key) else _levels(key) for key in keys)
        return (*numbers, *listed, *self.background_values, *self.void_values)

    @property
    def has_colors(self) -> bool:
        """Whether label maps are colours."""
        return any(isinstance(value, tuple) for value in self._given)

    def label(self, value: Value) -> str:
        """A value as messages and `classes` have it: `7`, or `#800000`."""
        if not self.has_colors:
            return str(value)
        return "#{:02x}{:02x}{:02x}".format(*(3 * (value,) if isinstance(value, int) else value))

    @property
    def values(self) -> list[str]:
        """The labels of the classes' values."""
        count = len(self._given) - len(self.background_values) - len(self.void_values)
        return [self.label(value) for value in self._given[:count]]

    @property
    def meaning_nothing(self) -> list[str]:
        """The labels of the background and of void."""
        return [self.label(value) for value in (*self.background_values, *self.void_values)]

    def table(self, folder: Path) -> Classes:
        """The classes, by the labels of their values."""
        if self.takes_all:
            return super().table(folder)
        names = self.classes.values() if isinstance(self.classes, dict) else self.classes
        labels = dict(zip(self.values, names, strict=True))
        return Classes(labels, "class_values", self.other_classes == "drop")


def _levels(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - always
    """Images of a split with their label maps; an id is the image's file name.

    Raises:
        InputError: A folder or list is missing or empty.
    """
    archives, part = source.open(folder), source.splits.part(split)
    pairs, left_out = _pairs(archives, source.root, part)
    reader = _Reader(archives, source, _labels_of_values(source, source.table(folder)))

    def labels(position: int) -> set[int]:
        found = np.unique(reader.values(pairs[position].mask)).tolist() if not pairs[position].problem else ()
        return {label for value in found if (label := reader.labels.get(value)) not in (None, 0, VOID)}

    positions = source.splits.chosen(
        split, [pair.image for pair in pairs], archives=archives, root=source.root, labels=labels
    )
    pairs = [pairs[position] for position in positions]
    ids = image_files.ids(PurePosixPath(pair.image).name for pair in pairs)
    return sources.Examples(list(zip(ids, pairs, strict=True)), reader.read, left_out)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The values of the training part's label maps, but for those of the background and of void."""
    archives = source.open(folder)
    reader, values = _Reader(archives, source, {}), set()
    for pair in _pairs(archives, source.root, source.splits.train)[0]:
        with contextlib.suppress(InputError):  # a broken pair is named when it is read
            values.update(np.unique(reader.values(pair.mask)).tolist() if not pair.problem else ())
    found = sorted(values - {source_value(label) for label in source.meaning_nothing})
    return (
        {f"#{value:06x}": f"#{value:06x}" for value in found}
        if source.has_colors
        else {str(value): f"class_{value}" for value in found}
    )


def _pairs(archives: Archives, root: str, part: str | Folders) -> tuple[list[Pair], list[str]]:
    """The pairs of a part, and the files beside its images that are none."""
    return (_listed(archives, root, part), []) if isinstance(part, str) else _paired(archives, root, part)


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
    masks_of = _by_shared_name(
        image_files.images(archives, below_masks, also=(ARRAY,)), below_masks, folders.mask_names
    )
    taken = {name for names in masks_of.values() for name in names}
    images = [
        name for name in image_files.images(archives, below_images) if below_images != below_masks or name not in taken
    ]
    images_of = _by_shared_name(images, below_images, folders.image_names)
    if not images_of:
        raise InputError(
            f"{below_images}: expected images called {folders.image_names}; received: {len(images):,} others"
        )
    pairs = []
    for stem, names in sorted(images_of.items(), key=lambda item: item[1]):
        own, problem = masks_of.get(stem, []), ""
        parent, slash, file = stem.rpartition("/")
        missing = parent + slash + folders.mask_names.replace("{}", file)
        if len(names) > 1:
            problem = f"{below_images}{stem}: expected one image of that name; received: {_all(names, below_images)}. Rename one"
        elif not own:
            problem = f"expected a label map {below_masks}{missing}.png for {names[0]}; received: none of that name"
        elif len(own) > 1:
            problem = f"{below_masks}{missing}: expected one label map of that name; received: {_all(own, below_masks)}. Remove one"
        mask = own[0] if own else f"{below_masks}{missing}.png"
        pairs.extend(Pair(name, mask, problem) for name in names)
    return pairs, image_files.left_out(archives, below_images)


def _all(names: Sequence[str], below: str) -> str:
    return " and ".join(name[len(below) :] for name in names)


def _by_shared_name(names: Iterable[str], below: str, template: str) -> dict[str, list[str]]:
    """Files by their folders inside and what a template leaves of their names; those that are called otherwise are left out."""
    start, _, end = template.partition("{}")
    found = defaultdict(list)
    for name in names:
        parent, slash, file = name[len(below) :].rpartition("/")
        stem = PurePosixPath(file).stem
        if stem.startswith(start) and stem.endswith(end) and len(stem) > len(start) + len(end):
            found[parent + slash + stem[len(start) : len(stem) - len(end)]].append(name)
    return dict(found)


def source_value(label: str) -> int:
    """A value's label as a number; a colour's is that of its hexadecimal digits."""
    return int(label[1:], 16) if label.startswith("#") else int(label)


def _labels_of_values(source: Source, classes: Classes) -> dict[int, int]:
    """What each value of a label map means: 0 background, 1.. classes, 255 void."""
    labels = {source_value(label): index + 1 for label, index in classes.indices().items()}
    labels |= {source_value(source.label(value)): 0 for value in source.background_values}
    return labels | {source_value(source.label(value)): VOID for value in source.void_values}


@dataclass(frozen=True)
class _Reader:
    """Reads pairs.

    Attributes:
        archives: What holds them.
        source: The entry.
        labels: The label of each value that means something.
    """

    archives: Archives
    source: Source
    labels: Mapping[int, int]

    def values(self, member: str) -> np.ndarray:
        """The values of a label map, int32 (H, W); of a colour its hexadecimal digits' number.

        Raises:
            InputError: It is none.
        """
        content, has_colors = self.archives[member], self.source.has_colors
        if member.lower().endswith(ARRAY):
            return reading.read_array(content, member, colors=has_colors)
        return (reading.read_colors if has_colors else reading.read_values)(content, member)

    def read(self, item: tuple[str, Pair]) -> sources.Example:
        """The example of an id and a pair.

        Raises:
            InputError: One of the two is not there, the label map is none, or holds a value that means nothing.
        """
        id, pair = item
        if pair.problem:
            raise InputError(pair.problem)
        values = self.values(pair.mask)
        found, places = np.unique(values, return_inverse=True)
        labels = np.array([self.labels.get(value, -1) for value in found.tolist()])
        others = found[labels < 0].tolist()
        if others and self.source.other_classes == "error":
            shown = f"#{others[0]:06x}" if self.source.has_colors else others[0]
            raise InputError(
                f"{pair.mask}: expected the values of the classes, of the background and of void; "
                f"received: {shown}. Name it under class_values, background_values or void_values, or say other_classes: drop"
            )
        mask = labels.clip(0).astype(np.uint8)[places].reshape(values.shape)
        dropped = {sources.OTHER_AREAS: len(others)} if others else {}
        return sources.Example(id=id, image=self.archives[pair.image], mask=mask, dropped=dropped)
