"""PASCAL VOC: images with boxes and label maps, read in place from .tar and .zip archives in the devkit's layout.

    ROOT/JPEGImages/ID.jpg  ROOT/Annotations/ID.xml  ROOT/SegmentationClass/ID.png
    ROOT/ImageSets/Main/LIST.txt (detection)  ROOT/ImageSets/Segmentation/LIST.txt (segmentation)

Several years are one source when their lists have their folders before them, as in the papers' training on 07+12:

    root: VOCdevkit    splits: {train: [VOC2007/trainval, VOC2012/trainval], val: 0.1, test: VOC2007/test}

With `extra_masks` the training images for segmentation are those of the list and others of the same archive that Hariharan et al.
have drawn label maps for (Semantic Contours from Inverse Detectors, ICCV 2011; benchmark.tgz), all that no split lists:

    extra_masks: {root: benchmark_RELEASE/dataset}    holds train.txt, val.txt and cls/ID.mat

Beside VOC2012's train and val that makes 10,582 training images. These maps have no void pixels around objects. Where the archive
has a map of its own it is taken; a fraction drawn from the training images is drawn from the list alone.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Development Kit", sections 2-5.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError
from pipeline.sources.voc.annotations import read_annotation

TASKS = ("classification", "detection", "segmentation")
HAS_OBJECTS = True
# In the devkit's order: class k has palette index k + 1 in the label maps.
CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
_COLUMN = re.compile(
    r"(.+?)\s+(?:-1|0|1)"
)  # a list of a class says behind each id whether the image has it; 0 is difficult


def _normal(name: Any) -> Any:
    return texts.normal_path(name) if isinstance(name, str) else name


ListName = Annotated[str, Field(pattern=r"^([\w\-]+/)*[\w\-]+$"), BeforeValidator(_normal)]
ListNames = Annotated[tuple[ListName, ...], Field(min_length=1)]
Image = tuple[str, str]  # the folder that holds JPEGImages, with its slash, and the id


class ExtraMasks(Entry):
    """Label maps by others, of images that the archives hold.

    Attributes:
        root: Folder inside the archives that holds the lists and the folder `cls`.
        lists: The lists, NAME.txt.
    """

    root: str
    lists: ListNames = ("train", "val")


class Source(PublishedArchives, sources.Objects, sources.SourceEntry):
    """Entry of a `voc` source.

    Attributes:
        root: Folder inside the archives that holds JPEGImages, or the years' folders; empty where they hold them themselves.
        classes: Class names in the order of the label maps' palette.
        splits: Which of VOC's lists (ImageSets/*/LIST.txt), or which several, serves which split; a folder before a list's name, as in
            VOC2007/trainval, is below the root.
        extra_masks: More training images for segmentation.
    """

    kind: Literal["voc"]
    root: str
    classes: sources.ClassNames = CLASSES
    splits: Splits[ListName | ListNames]
    extra_masks: ExtraMasks | None = None


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Images of a split.

    Raises:
        InputError: The archives are not in VOC's layout.
    """
    archives = source.open(folder)
    listed = _read_lists(archives, source, source.splits.part(split), masks=masks)
    if twice := [id for id, count in Counter(id for _, id in listed).items() if count > 1]:
        raise InputError(f"splits.{split}: expected each id in one list, once; received: {twice[0]} twice")
    listed = [listed[position] for position in source.splits.positions(split, len(listed))]
    if source.extra_masks and masks and split == "train":
        listed += _extra_images(archives, source)
    drops_others = source.other_classes == "drop"
    return read_examples(archives, source.classes, listed, source.extra_masks, masks=masks, drops_others=drops_others)


def _read_lists(archives: Archives, source: Source, names: str | Sequence[str], *, masks: bool) -> list[Image]:
    every = (names,) if isinstance(names, str) else names
    return [image for name in every for image in read_list(archives, source.root, name, masks=masks)]


def _extra_images(archives: Archives, source: Source) -> list[Image]:
    """Those of the extra lists that no split lists, each once, in the lists' order."""
    own = [image for names in source.splits.parts() for image in _read_lists(archives, source, names, masks=True)]
    folders, listed = list(dict.fromkeys(below for below, _ in own)), {id for _, id in own}
    root = image_files.below(source.extra_masks.root)
    known = frozenset().union(*(_ids_in(archives, below) for below in folders))
    lists = (f"{root}{name}.txt" for name in source.extra_masks.lists)
    extra = dict.fromkeys(id for member in lists for id in _read_ids(archives, member, known))
    # Which year's folder holds the image no list says; the first one is what is missed where none does.
    return [
        (next((below for below in folders if f"{below}JPEGImages/{id}.jpg" in archives), folders[0]), id)
        for id in extra
        if id not in listed
    ]


def read_list(archives: Archives, root: str, name: str, *, masks: bool) -> list[Image]:
    """Images in one of VOC's lists: those of ImageSets/Segmentation where label maps are wanted, of ImageSets/Main otherwise.

    Raises:
        InputError: There is no such list, or it is empty.
    """
    year, _, name = name.rpartition("/")
    below = image_files.below(root) + image_files.below(year)
    folder = f"{below}ImageSets/{'Segmentation' if masks else 'Main'}/"
    member = f"{folder}{name}.txt"
    if member not in archives:
        known = sorted(PurePosixPath(known).stem for known in archives if known.startswith(folder))
        listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
        raise InputError(
            f"expected a list {member} in the archive; received: {listed or f'nothing below {folder}'}{archives.note_on_names}"
        )
    return [(below, id) for id in _read_ids(archives, member, _ids_in(archives, below))]


def _ids_in(archives: Archives, below: str) -> frozenset[str]:
    """The names of the files in a folder of images, without their endings."""
    folder = f"{below}JPEGImages/"
    return frozenset(name[len(folder) :].rpartition(".")[0] for name in archives if name.startswith(folder))


def _read_ids(archives: Archives, member: str, known: frozenset[str]) -> list[str]:
    return [_read_id(line, known, member) for line in image_files.read_lines(archives, member)]


def _read_id(line: str, known: frozenset[str], member: str) -> str:
    """The id in a line of a list: it may hold spaces, and a column of 1, 0 or -1 may be behind it."""
    column = _COLUMN.fullmatch(line)
    ids = [_id_of_path(text, known) for text in ((line, column[1]) if column else (line,))]
    there = list(dict.fromkeys(id for id in ids if id in known))
    if len(there) > 1:
        raise InputError(
            f"{member}: expected lines that are one image; received: {line!r}, which may be {there[0]!r} or {there[1]!r}. Rename one"
        )
    return there[0] if there else ids[-1]


def _id_of_path(text: str, known: frozenset[str]) -> str:
    """The id that a list means by an id, a file's name or a path."""
    path = texts.normal_path(text)
    name = path.rpartition("/")[2]
    found = (id for id in (path, name, name.rpartition(".")[0]) if id and id in known)
    return next(found, path)


def read_examples(
    archives: Archives,
    classes: Sequence[str],
    listed: Sequence[Image],
    extra_masks: ExtraMasks | None = None,
    *,
    masks: bool,
    drops_others: bool = False,
) -> sources.Examples:
    """Images of an archive in VOC layout with their boxes and, if `masks`, their label maps.

    With label maps an image need not have an annotation file; it then has no boxes (None).
    """
    folders = tuple({f"{below}JPEGImages/" for below, _ in listed})
    members = image_files.by_stem(
        name
        for name in archives
        if name.startswith(folders) and image_files.is_image(name) and not PurePosixPath(name).name.startswith(".")
    )
    ids = image_files.ids(f"{id}.jpg" for _, id in listed)
    return sources.Examples(
        list(zip(ids, listed, strict=True)), _Reader(archives, classes, members, masks, extra_masks, drops_others).read
    )


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads images with their annotations.

    Attributes:
        archives: What holds them.
        classes: Class names, in order.
        members: The members of each image, by its name without the ending: one, if all is well.
        has_masks: Whether label maps are read.
        extra_masks: Where those of others are.
        drops_others: Whether objects of classes that are not listed are left out.
    """

    archives: Archives
    classes: Sequence[str]
    members: Mapping[str, Sequence[str]]
    has_masks: bool
    extra_masks: ExtraMasks | None
    drops_others: bool

    def read(self, item: tuple[str, Image]) -> sources.Example:
        """The example of an id that is safe as a file's name, and of the folder and the id that a list has.

        Raises:
            InputError: Its file, its annotation or its label map is missing or not as VOC defines it.
        """
        safe_id, (below, id) = item
        image = self.archives[self._member(below, id)]
        annotation = f"{below}Annotations/{id}.xml"
        mask = self._mask(below, id) if self.has_masks else None
        if mask is not None and annotation not in self.archives:
            return sources.Example(id=safe_id, image=image, mask=mask)
        read = read_annotation(
            self.archives[annotation],
            annotation,
            self.classes,
            lambda: reading.size(self._member(below, id), image),
            drops_others=self.drops_others,
        )
        return dataclasses.replace(read, id=safe_id, image=image, mask=mask)

    def _member(self, below: str, id: str) -> str:
        """The image of an id."""
        stem = f"{below}JPEGImages/{id}"
        members = self.members.get(stem, ())
        if len(members) > 1:
            raise InputError(
                f"{stem}: expected one image of that name; received: {' and '.join(members)}. Remove one from the archive"
            )
        if not members:
            others = [name for name in self.archives if name.startswith(f"{stem}.")]
            raise InputError(
                f"expected an image {stem}.jpg in the archive; received: {'none' if not others else ' and '.join(others)}"
            )
        return members[0]

    def _mask(self, below: str, id: str) -> bytes | np.ndarray:
        own = f"{below}SegmentationClass/{id}.png"
        if self.extra_masks is None or own in self.archives:
            return self.archives[own]
        member = f"{image_files.below(self.extra_masks.root)}cls/{id}.mat"
        return read_label_map(self.archives[member], member)


def read_label_map(mat: bytes, member: str) -> np.ndarray:
    """Label map uint8 (H, W) of a file of Hariharan et al.: `GTcls.Segmentation`, 0 background, 1.. classes.

    Args:
        mat: The file, MATLAB's format 5.
        member: Its name, for messages.

    Raises:
        InputError: It is no such file.
    """

    def pick(variables: dict[str, Any]) -> np.ndarray:
        labels = np.asarray(variables["GTcls"]["Segmentation"])
        if labels.ndim != 2 or labels.dtype != np.uint8:
            raise ValueError(f"{labels.dtype} {labels.shape}")
        return labels

    expected = "MATLAB's format 5 with GTcls.Segmentation, uint8 (height, width)"
    return image_files.read_matlab(mat, member, pick, expected=expected)
