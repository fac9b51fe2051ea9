"""PASCAL VOC: images with boxes and label maps, read in place from .tar and .zip archives in the devkit's layout.

    ROOT/JPEGImages/ID.jpg  ROOT/Annotations/ID.xml  ROOT/SegmentationClass/ID.png
    ROOT/ImageSets/Main/LIST.txt (detection)  ROOT/ImageSets/Segmentation/LIST.txt (segmentation)

Several years are one source when their lists have their folders before them, as in the papers' training on 07+12:

    root: VOCdevkit    splits: {train: [VOC2007/trainval, VOC2012/trainval], val: 0.1, test: VOC2007/test}

Without lists a part is two folders, and for segmentation a third one, wherever they lie; every annotation file is an example:

    ROOT/images/ID.png  ROOT/annotations/ID.xml            splits: {train: {images: images, annotations: annotations}, val: 0.1, test: 0.1}
    ROOT/train/ID.jpg   ROOT/train/ID.xml   Roboflow's     splits: {train: {images: train, annotations: train}, test: {...}, ...}

Images and label maps may have any ending that keeps what is in them. With `extra_masks` the training images for segmentation are those of the list and others of the same archive that Hariharan et al.
have drawn label maps for (Semantic Contours from Inverse Detectors, ICCV 2011; benchmark.tgz), all that no split lists:

    extra_masks: {root: benchmark_RELEASE/dataset}    holds train.txt, val.txt and cls/ID.mat

Beside VOC2012's train and val that makes 10,582 training images. These maps have no void pixels around objects. Where the archive
has a map of its own it is taken; a fraction drawn from the training images is drawn from the list alone.

Source: Everingham et al., "The PASCAL Visual Object Classes Challenge 2012 (VOC2012) Development Kit", sections 2-5.
"""

import contextlib
import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BeforeValidator, Field

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Listed, Names, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.images import reading
from pipeline.runtime.entries import Entry
from pipeline.runtime.errors import InputError
from pipeline.sources.voc.annotations import read_annotation, read_names
from pipeline.sources.voc.label_maps import of_our_classes, read_label_map

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


Below = Annotated[str, Field(min_length=1), BeforeValidator(_normal)]
ListName = Annotated[str, Field(pattern=r"^([\w\-]+/)*[\w\-]+$"), BeforeValidator(_normal)]
ListNames = Annotated[tuple[ListName, ...], Field(min_length=1)]


class Place(NamedTuple):
    """Where files lie: folders, each with its slash."""

    images: str
    annotations: str
    masks: str


Image = tuple[Place, str]  # and the id


class Folders(Entry):
    """Folders below the root. An image's files have its name, whatever their endings; files in folders inside are found in the same folders.

    Attributes:
        images: The images' folder.
        annotations: The folder of the annotation files.
        masks: The folder of the label maps, for segmentation.
    """

    images: Below
    annotations: Below
    masks: Below | None = None


class ExtraMasks(Entry):
    """Label maps by others, of images that the archives hold.

    Attributes:
        root: Folder inside the archives that holds the lists and the folder `cls`.
        lists: The lists, NAME.txt.
    """

    root: str
    lists: ListNames = ("train", "val")


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of a `voc` source.

    Attributes:
        root: Folder inside the archives that holds JPEGImages, or the years' folders; empty where they hold them themselves.
        classes: The names in the annotation files, in the order of the classes; as a mapping, with the name of each class; or `all`.
        palette: Names in the order of the label maps' palette, the first of which has index 1. By default VOC's twenty, or `classes` where these
            have others.
        splits: Which of VOC's lists (ImageSets/*/LIST.txt), or which several, serves which split; a folder before a list's name, as in
            VOC2007/trainval, is below the root. Or the folders of a part.
        extra_masks: More training images for segmentation.
    """

    kind: Literal["voc"]
    root: str
    classes: Listed = CLASSES
    palette: Names | None = Field(default=None, exclude_if=lambda palette: palette is None)
    splits: Splits[ListName | ListNames | Folders]
    extra_masks: ExtraMasks | None = None


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:
    """Images of a split.

    Raises:
        InputError: The archives are not in VOC's layout.
    """
    archives = source.open(folder)
    listed = _images(archives, source, source.splits.part(split), masks=masks)
    if twice := [id for id, count in Counter(id for _, id in listed).items() if count > 1]:
        raise InputError(f"splits.{split}: expected each id in one list, once; received: {twice[0]} twice")
    classes = source.table(folder)
    indices = classes.indices()

    def labels(position: int) -> list[int]:
        place, id = listed[position]
        member = f"{place.annotations}{id}.xml"
        return [indices[name] for name in read_names(archives[member], member) if name in indices]

    positions = source.splits.chosen(
        split, _names(archives, listed), archives=archives, root=source.root, labels=labels
    )
    listed = [listed[position] for position in positions]
    if source.extra_masks and masks and split == "train":
        listed += _extra_images(archives, source)
    palette = _palette(source, classes) if masks else ()
    return read_examples(archives, classes, listed, source.extra_masks, masks=masks, palette=palette)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The names of the training part's objects; in VOC's order where all are VOC's."""
    archives, names = source.open(folder), set()
    for place, id in _images(archives, source, source.splits.train, masks=False):
        if (member := f"{place.annotations}{id}.xml") in archives:
            with contextlib.suppress(InputError):  # a broken file is named when its image is read
                names.update(read_names(archives[member], member))
    return {name: name for name in CLASSES if name in names} if names <= set(CLASSES) else in_order(names)


def _names(archives: Archives, listed: Sequence[Image]) -> list[str]:
    """Names of the images, with their endings where they are there."""
    folders = tuple({place.images for place, _ in listed})
    names = {
        name.rpartition(".")[0]: name for name in archives if name.startswith(folders) and image_files.is_image(name)
    }
    return [names.get(f"{place.images}{id}", f"{place.images}{id}.jpg") for place, id in listed]


def _palette(source: Source, classes: Classes) -> tuple[str, ...]:
    """Names by the index, less one, that they have in the label maps."""
    if source.palette is not None:
        return source.palette
    if set(classes.labels) <= set(CLASSES):
        return CLASSES
    if source.takes_all:
        raise InputError(
            "sources: expected the key `palette`, the names in the order of the label maps, beside classes: all; received: none"
        )
    return tuple(classes.labels)


def _images(archives: Archives, source: Source, part: Any, *, masks: bool) -> list[Image]:
    """The images of a part: of a list, of several, or of folders."""
    if isinstance(part, Folders):
        return _in_folders(archives, source.root, part, masks=masks)
    every = (part,) if isinstance(part, str) else part
    return [image for name in every for image in read_list(archives, source.root, name, masks=masks)]


def _in_folders(archives: Archives, root: str, folders: Folders, *, masks: bool) -> list[Image]:
    """An image for each annotation file, or for each label map where these are wanted."""
    if masks and folders.masks is None:
        raise InputError(
            "splits: expected the key `masks`, the folder of the label maps, for segmentation; received: none"
        )
    start = image_files.below(root)
    place = Place(
        *(start + image_files.below(name or ".") for name in (folders.images, folders.annotations, folders.masks))
    )
    folder = place.masks if masks else place.annotations
    inside = (name[len(folder) :] for name in archives if name.startswith(folder))
    found = sorted(
        name.rpartition(".")[0]
        for name in inside
        if image_files.is_visible(name) and (image_files.is_image(name) if masks else name.endswith(".xml"))
    )
    if not found:
        what = "a label map" if masks else "an annotation file ID.xml"
        raise InputError(f"{folder or './'}: expected {what} for each image; received: none{archives.note_on_names}")
    return [(place, id) for id in found]


def _extra_images(archives: Archives, source: Source) -> list[Image]:
    """Those of the extra lists that no split lists, each once, in the lists' order."""
    own = [image for part in source.splits.parts() for image in _images(archives, source, part, masks=True)]
    places, listed = list(dict.fromkeys(place for place, _ in own)), {id for _, id in own}
    root = image_files.below(source.extra_masks.root)
    ids = {place: _ids_in(archives, place) for place in places}
    known = frozenset().union(*ids.values())
    lists = (f"{root}{name}.txt" for name in source.extra_masks.lists)
    extra = dict.fromkeys(id for member in lists for id in _read_ids(archives, member, known))
    # Which year's folder holds the image no list says; the first one is what is missed where none does.
    return [(next((place for place in places if id in ids[place]), places[0]), id) for id in extra if id not in listed]


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
    place = Place(f"{below}JPEGImages/", f"{below}Annotations/", f"{below}SegmentationClass/")
    return [(place, id) for id in _read_ids(archives, member, _ids_in(archives, place))]


def _ids_in(archives: Archives, place: Place) -> frozenset[str]:
    """The names of the files in a folder of images, without their endings."""
    folder = place.images
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
    classes: Classes,
    listed: Sequence[Image],
    extra_masks: ExtraMasks | None = None,
    *,
    masks: bool,
    palette: Sequence[str],
) -> sources.Examples:
    """Images of an archive in VOC layout with their boxes and, if `masks`, their label maps, whose indices have the names of `palette`.

    With label maps an image need not have an annotation file; it then has no boxes (None).
    """
    folders = tuple({place.images for place, _ in listed} | {place.masks for place, _ in listed if masks})
    members = image_files.by_stem(
        name
        for name in archives
        if name.startswith(folders) and image_files.is_image(name) and not PurePosixPath(name).name.startswith(".")
    )
    ids = image_files.ids(f"{id}.jpg" for _, id in listed)
    reader = _Reader(archives, classes, members, tuple(palette) if masks else None, extra_masks)
    return sources.Examples(list(zip(ids, listed, strict=True)), reader.read)


@dataclasses.dataclass(frozen=True)
class _Reader:
    """Reads images with their annotations.

    Attributes:
        archives: What holds them.
        classes: Which class a name is.
        members: The images and label maps, by their names without the ending: one each, if all is well.
        palette: Names by the index, less one, in the label maps; None where these are not read.
        extra_masks: Where those of others are.
    """

    archives: Archives
    classes: Classes
    members: Mapping[str, Sequence[str]]
    palette: tuple[str, ...] | None
    extra_masks: ExtraMasks | None

    def read(self, item: tuple[str, Image]) -> sources.Example:
        """The example of an id that is safe as a file's name, and of the folder and the id that a list has.

        Raises:
            InputError: Its file, its annotation or its label map is missing or not as VOC defines it.
        """
        safe_id, (place, id) = item
        member = self._member(f"{place.images}{id}")
        image, annotation = self.archives[member], f"{place.annotations}{id}.xml"
        mask, dropped = self._mask(place, id) if self.palette is not None else (None, {})
        if mask is not None and annotation not in self.archives:
            return sources.Example(id=safe_id, image=image, mask=mask, dropped=dropped)
        read = read_annotation(self.archives[annotation], annotation, self.classes, lambda: reading.size(member, image))
        return dataclasses.replace(read, id=safe_id, image=image, mask=mask, dropped={**read.dropped, **dropped})

    def _member(self, stem: str) -> str:
        """The image of a path without an ending."""
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

    def _mask(self, place: Place, id: str) -> tuple[bytes | np.ndarray, dict[str, int]]:
        """The label map of our classes, and what it lacks of the published one. One whose indices are our labels stays as it is."""
        stem = f"{place.masks}{id}"
        if self.extra_masks is None or stem in self.members:
            member = self._member(stem) if stem in self.members else f"{stem}.png"
            mask: bytes | np.ndarray = self.archives[member]
        else:
            member = f"{image_files.below(self.extra_masks.root)}cls/{id}.mat"
            mask = read_label_map(self.archives[member], member)
        if list(self.palette) == list(self.classes.labels) == list(self.classes.names):
            return mask, {}
        published = reading.read_labels(mask, member) if isinstance(mask, bytes) else mask
        labels, others = of_our_classes(published, self.palette, self.classes, member)
        return labels, {sources.OTHER_AREAS: others} if others else {}
