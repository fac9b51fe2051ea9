"""Images in a folder per class, read in place from archives: Imagenette, ImageNet's layout, any images of one's own.

    ROOT/train/n01440764/x.JPEG  ROOT/val/n01440764/y.JPEG       splits: {train: train, val: 0.1, test: val}
    ROOT/cats/x.jpg  ROOT/dogs/y.jpg                             splits: {train: ., val: 0.1, test: 0.2}
    ROOT/cats/x.jpg  ROOT/train.txt with a line "cats/x.jpg"     splits: {train: train.txt, val: 0.1, test: test.txt}
    ROOT/x.jpg       ROOT/train.txt with a line "x.jpg 0"

In the last, the second column is the class: its position or its folder. A class's folder may be an archive in the archive.

ImageNet's official files are a source: ILSVRC2012_img_train.tar, which holds a .tar a class, ILSVRC2012_img_val.tar and
ILSVRC2012_devkit_t12.tar.gz. A split may be the list of labels in the development kit (its readme.txt says what is in it):

    ILSVRC2012_val_00000001.JPEG     splits: {train: ., val: 0.01,
    ILSVRC2012_devkit_t12/data/               test: ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt}

Line i is the ILSVRC2012_ID of validation image i, counted from 1. Those ids are no positions: the kit numbers its synsets in an
order of its own, and `meta.mat` beside the list says which folder (WNID) each is. Classes here are in the order of `folders`.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from cnnkeras.by_name import unknown
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.archives import Archives
from pipeline.files.fetch import PublishedFile, fetch_files
from pipeline.files.splits import Share, deal
from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
LIST_ENDING, NESTED = ".txt", ".tar"
GROUND_TRUTH = re.compile(r"(ILSVRC\d{4})_validation_ground_truth\.txt")

Place = Annotated[str, Field(min_length=1)]
Labelled = tuple[str, int]  # a member's name and its class


class Splits(Entry):
    """Which images serve which split.

    Attributes:
        train: A folder below the root that holds the classes' folders (`.` for the root itself), or a list, `NAME.txt`, or the
            list of ImageNet's development kit, `ILSVRC2012_validation_ground_truth.txt`.
        val: Likewise, or a share of `train`, drawn by `seed`; train is then the rest.
        test: As `val`.
        seed: Draws the shares.
    """

    train: Place
    val: Share | Place
    test: Share | Place
    seed: Seed = 0


class Source(sources.SourceEntry):
    """Entry of an `image_folder` source.

    Attributes:
        files: The archives.
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        folders: The classes' folders, in the order of the classes; as a mapping, with the name of each class:
            `{n01440764: tench, n02102040: springer}`.
        splits: Which images serve which split.
    """

    kind: Literal["image_folder"]
    files: Annotated[tuple[PublishedFile, ...], Field(min_length=1)]
    root: str = ""
    folders: Annotated[tuple[Place, ...] | dict[str, Place], Field(min_length=1)]
    splits: Splits

    @model_validator(mode="after")
    def _has_distinct_classes(self) -> "Source":
        for names in (tuple(self.folders), self.classes):
            if len(set(names)) != len(names):
                raise ValueError(f"folders: expected distinct names; received: {', '.join(names)}")
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in order."""
        return tuple(self.folders.values()) if isinstance(self.folders, dict) else self.folders


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:
    """Fetch the archives, as published."""
    fetch_files(source.files, folder, mirrors=mirrors)


def examples(source: Source, folder: Path, *, task: str, split: str) -> "Images":  # noqa: ARG001 - there is one task
    """Images of a split.

    Raises:
        InputError: A folder or list is missing or empty, a folder is none of the classes', or a class has no image to train on.
    """
    archives = Archives([folder / file.name for file in source.files])
    shares = {name: share for name in ("val", "test") if isinstance(share := getattr(source.splits, name), float)}
    is_dealt = split == "train" or split in shares
    place = source.splits.train if is_dealt else getattr(source.splits, split)
    labelled = _labelled(archives, source, place)
    if is_dealt:
        if missing := sorted(set(range(len(source.folders))) - {label for _, label in labelled}):
            raise InputError(
                f"{image_files.below(source.root)}{place}: expected images of each class; "
                f"received: none of {', '.join(tuple(source.folders)[label] for label in missing[:8])}"
            )
        labelled = [labelled[position] for position in deal(len(labelled), shares, source.splits.seed)[split]]
    return Images(archives, source.root, labelled)


def _labelled(archives: Archives, source: Source, place: str) -> list[Labelled]:
    if _is_ground_truth(place):
        return _of_devkit(archives, source, place)
    if place.endswith(LIST_ENDING):
        return _listed(archives, source, place)
    return _found(archives, source, place)


def _is_ground_truth(place: str | float) -> bool:
    return isinstance(place, str) and GROUND_TRUTH.fullmatch(PurePosixPath(place).name) is not None


def _of_devkit(archives: Archives, source: Source, place: str) -> list[Labelled]:
    """The validation images of ImageNet, in the order of their numbers."""
    member = image_files.below(source.root) + place
    year = GROUND_TRUTH.fullmatch(PurePosixPath(place).name)[1]
    folders = _folders_of_ids(archives, f"{member.removesuffix(PurePosixPath(place).name)}meta.mat", f"{year}_ID")
    labels, labelled = {name: label for label, name in enumerate(source.folders)}, []
    for number, (id, *_) in enumerate(image_files.read_lines(archives, member), start=1):
        if id not in folders:
            raise InputError(f"{member}: expected an {year}_ID of meta.mat in line {number}; received: {id!r}")
        if folders[id] not in labels:
            raise InputError(
                f"{member}: line {number}: {unknown(folders[id], labels, 'class folder')}. Name it under `folders`"
            )
        name = image_files.find(archives, source.root, f"{year}_val_{number:08d}.JPEG")
        if name is None:
            raise InputError(
                f"{member}: expected {year}_val_{number:08d}.JPEG, which line {number} labels; received: no such image"
            )
        labelled.append((name, labels[folders[id]]))
    return labelled


def _folders_of_ids(archives: Archives, member: str, key: str) -> dict[str, str]:
    """Folder (WNID) of each id of the development kit, from the struct array `synsets` of its meta.mat."""

    def pick(variables: dict[str, Any]) -> dict[str, str]:
        return {str(int(synset[key])): str(synset["WNID"]) for synset in np.atleast_1d(variables["synsets"])}

    expected = f"a struct array `synsets` with {key} and WNID"
    return image_files.read_matlab(archives[member], member, pick, expected=expected)


def _found(archives: Archives, source: Source, place: str) -> list[Labelled]:
    """The images of a folder with a folder a class, but for those that a development kit labels."""
    folder = image_files.below(source.root) + image_files.below(place)
    labels, labelled = {name: label for label, name in enumerate(source.folders)}, []
    kits = [kit for kit in (source.splits.val, source.splits.test) if _is_ground_truth(kit)]
    of_kits = {name for kit in kits for name, _ in _of_devkit(archives, source, kit)}
    for name in image_files.images(archives, folder):
        if name in of_kits:
            continue
        parts = PurePosixPath(name[len(folder) :]).parts
        if len(parts) < 2:
            raise InputError(f"{name}: expected images in a folder per class; received: one right in {folder or './'}")
        class_folder = parts[0].removesuffix(NESTED)
        if class_folder not in labels:
            raise InputError(f"{folder}: {unknown(class_folder, labels, 'class folder')}. Name it under `folders`")
        labelled.append((name, labels[class_folder]))
    return labelled


def _listed(archives: Archives, source: Source, place: str) -> list[Labelled]:
    """The images of a list, in its order."""
    member, folders = image_files.below(source.root) + place, list(source.folders)
    labels = {name: label for label, name in enumerate(folders)}
    labels |= {str(label): label for label in range(len(folders)) if str(label) not in labels}
    labelled = []
    for path, *column in image_files.read_lines(archives, member):
        name = image_files.find(archives, source.root, path)
        if name is None:
            raise InputError(f"{member}: expected images that are in the archive; received: {path!r}")
        label = column[0] if column else PurePosixPath(path).parent.name
        if label not in labels:
            raise InputError(
                f"{member}: expected a class behind {path!r}, or a folder before it, of {', '.join(folders[:8])}, ... or "
                f"its position from 0 to {len(folders) - 1}; received: {label!r}"
            )
        labelled.append((name, labels[label]))
    return labelled


class Images(Sequence[sources.Example]):
    """Images of archives with their classes; an id is the image's path below the root."""

    def __init__(self, archives: Archives, root: str, labelled: Sequence[Labelled]):
        self._archives, self._labelled = archives, labelled
        start = len(image_files.below(root))
        self._ids = image_files.ids(name[start:] for name, _ in labelled)

    def __len__(self) -> int:
        return len(self._labelled)

    def __getitem__(self, index: int) -> sources.Example:
        """Read one image."""
        name, label = self._labelled[index]
        return sources.Example(id=self._ids[index], image=self._archives[name], label=label)
