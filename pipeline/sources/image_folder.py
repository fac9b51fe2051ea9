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
from collections.abc import Container, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import AfterValidator, Field

from pipeline import sources
from pipeline.files import image_files, texts
from pipeline.files.archives import Archives
from pipeline.files.classes import Classes, Classified, Name, distinct, in_order
from pipeline.files.published_archives import PublishedArchives, fetch_archives
from pipeline.files.splits import Splits
from pipeline.runtime.errors import InputError

TASKS = ("classification",)
HAS_OBJECTS = False
LIST_ENDING, NESTED = ".txt", ".tar"
GROUND_TRUTH = re.compile(r"(ILSVRC\d{4})_validation_ground_truth\.txt")

Part = Annotated[str, Field(min_length=1), AfterValidator(texts.normal_path)]
Folders = (
    Annotated[tuple[Part, ...], Field(min_length=1), AfterValidator(distinct)]
    | Annotated[dict[Part, Name], Field(min_length=1)]
    | Literal["all"]
)


class Labelled(NamedTuple):
    """An image and its class.

    Attributes:
        name: Of the member.
        folder: The class's folder.
        where: Names in messages what says so.
        problem: Why there is no such image; it is said when the example is read.
    """

    name: str
    folder: str
    where: str
    problem: str = ""


class Source(PublishedArchives, Classified, sources.SourceEntry):
    """Entry of an `image_folder` source.

    Attributes:
        root: Folder inside the archives that everything else is below; empty where that is the archive itself.
        folders: The classes' folders, in the order of the classes; as a mapping, with the name of each class:
            `{n01440764: tench, n02102040: springer}`; or `all`.
        splits: Which images serve which split: those of a folder below the root that holds the classes' folders (`.` for the root
            itself), of a list, `NAME.txt`, or of the list of ImageNet's development kit,
            `ILSVRC2012_validation_ground_truth.txt`.
    """

    CLASSES = "folders"

    kind: Literal["image_folder"]
    root: str = ""
    folders: Folders
    splits: Splits[Part]


fetch = fetch_archives


def examples(source: Source, folder: Path, *, masks: bool, split: str) -> sources.Examples:  # noqa: ARG001 - there are none
    """Images of a split with their classes; an id is the image's path below the root.

    Raises:
        InputError: A folder or list is missing or empty, a folder is none of the classes', or a class has no image to train on.
    """
    archives, part, classes = source.open(folder), source.splits.part(split), source.table(folder)
    indices, labelled, others = classes.indices(), [], []
    for image in _labelled(archives, source, part, tuple(indices)):
        if image.folder in indices or image.problem:
            labelled.append(image)
        elif classes.drops_others:
            others.append(image.name)
        else:
            raise InputError(f"{classes.refused(image.folder, image.where, 'class folder')}{archives.note_on_names}")
    left_out = [] if part.lower().endswith(LIST_ENDING) else _beside_images(archives, source, part, indices)
    if source.splits.is_drawn(split):
        _check_each_class(source, classes, part, labelled, left_out)
    positions = source.splits.chosen(
        split,
        [image.name for image in labelled],
        archives=archives,
        root=source.root,
        labels=lambda position: [indices.get(labelled[position].folder)],
    )
    labelled = [labelled[position] for position in positions]
    start = len(image_files.below(source.root))
    ids = image_files.ids(image.name[start:] for image in labelled)

    def read(item: tuple[str, Labelled]) -> sources.Example:
        id, image = item
        if image.problem:
            raise InputError(image.problem)
        return sources.Example(id=id, image=archives[image.name], label=indices[image.folder])

    return sources.Examples(list(zip(ids, labelled, strict=True)), read, left_out, others)


def labels_in(source: Source, folder: Path) -> dict[str, str]:
    """The folders that the images of the training part are in, or that its list says."""
    labelled = _labelled(source.open(folder), source, source.splits.train, ())
    return in_order(image.folder for image in labelled if not image.problem)


def _check_each_class(
    source: Source, classes: Classes, part: str, labelled: Sequence[Labelled], left_out: Sequence[str]
) -> None:
    present = {classes.labels[image.folder] for image in labelled if image.folder in classes.labels}
    if missing := [folder for folder, name in classes.labels.items() if name not in present]:
        if problem := next((image.problem for image in labelled if image.problem), ""):
            raise InputError(problem)  # of such a line nobody knows the class
        others = f", but {image_files.by_ending(left_out)}" if left_out else ""
        raise InputError(
            f"{image_files.below(source.root)}{part}: expected images of each class; "
            f"received: none of {', '.join(missing[:8])}{others}"
        )


def _beside_images(archives: Archives, source: Source, part: str, folders: Container[str]) -> list[str]:
    """The files in the classes' folders that are no images."""
    start = image_files.below(source.root) + image_files.below(part)
    return [name for name in image_files.left_out(archives, start) if _class_folder(name[len(start) :]) in folders]


def _class_folder(path: str) -> str:
    """The folder that a path is in, of those right below a split's; empty for a file that is in none."""
    folders = PurePosixPath(path).parent.parts
    return folders[0].removesuffix(NESTED) if folders else ""


def _labelled(archives: Archives, source: Source, part: str, folders: Sequence[str]) -> list[Labelled]:
    """The images of a part, each with its class's folder, whether that is listed or not."""
    if _is_ground_truth(part):
        return _of_devkit(archives, source, part)
    if part.lower().endswith(LIST_ENDING):
        return _in_list(archives, source, part, folders)
    return _in_folders(archives, source, part)


def _is_ground_truth(part: str) -> bool:
    return GROUND_TRUTH.fullmatch(PurePosixPath(part).name) is not None


def _of_devkit(archives: Archives, source: Source, part: str) -> list[Labelled]:
    """The validation images of ImageNet, in the order of their numbers."""
    member = image_files.below(source.root) + part
    year = GROUND_TRUTH.fullmatch(PurePosixPath(part).name)[1]
    folders = _folders_of_ids(archives, f"{member.removesuffix(PurePosixPath(part).name)}meta.mat", f"{year}_ID")
    paths, labelled = image_files.Paths(archives, source.root), []
    for number, line in enumerate(image_files.read_lines(archives, member), start=1):
        id = line.split()[0]
        if id not in folders:
            raise InputError(f"{member}: expected an {year}_ID of meta.mat in line {number}; received: {id!r}")
        file = f"{year}_val_{number:08d}.JPEG"
        name = paths.find(file)
        problem = f"{member}: expected {file}, which line {number} labels; received: no such image"
        labelled.append(Labelled(name or file, folders[id], f"{member}: line {number}", "" if name else problem))
    return labelled


def _folders_of_ids(archives: Archives, member: str, key: str) -> dict[str, str]:
    """Folder (WNID) of each id of the development kit, from the struct array `synsets` of its meta.mat."""

    def pick(variables: dict[str, Any]) -> dict[str, str]:
        return {str(int(synset[key])): str(synset["WNID"]) for synset in np.atleast_1d(variables["synsets"])}

    expected = f"a struct array `synsets` with {key} and WNID"
    return image_files.read_matlab(archives[member], member, pick, expected=expected)


def _in_folders(archives: Archives, source: Source, part: str) -> list[Labelled]:
    """The images of a folder with a folder a class, but for those that a development kit labels."""
    folder, labelled = image_files.below(source.root) + image_files.below(part), []
    kits = [kit for kit in source.splits.parts() if _is_ground_truth(kit)]
    of_kits = {image.name for kit in kits for image in _of_devkit(archives, source, kit)}
    for name in image_files.images(archives, folder):
        if name in of_kits:
            continue
        class_folder = _class_folder(name[len(folder) :])
        if not class_folder:
            raise InputError(f"{name}: expected images in a folder per class; received: one right in {folder or './'}")
        labelled.append(Labelled(name, class_folder, folder))
    return labelled


def _in_list(archives: Archives, source: Source, part: str, folders: Sequence[str]) -> list[Labelled]:
    """The images of a list, in its order. A class is its folder, or its position among the `folders`."""
    member = image_files.below(source.root) + part
    known = {name: name for name in folders}
    known |= {str(position): name for position, name in enumerate(folders) if str(position) not in known}
    paths, labelled = image_files.Paths(archives, source.root), []
    for line in image_files.read_lines(archives, member):
        ways = [(line, ""), *image_files.columns(line)]
        found = ((paths.find(path), path, column) for path, column in ways)
        name, path, column = next((way for way in found if way[0] is not None), (None, line, ""))
        if name is None:
            path, column = next((way for way in ways if way[1] in known), (line, ""))
            problem = f"{member}: expected images that are in the archive; received: {path!r}{archives.note_on_names}"
            labelled.append(Labelled(path, known.get(column, ""), member, problem))
            continue
        label = texts.normal_path(column or PurePosixPath(texts.normal_path(path)).parent.name)
        if not label:
            raise InputError(f"{member}: expected a class behind {path!r}, or a folder before it; received: neither")
        labelled.append(Labelled(name, known.get(label, label), f"{member}: {path}"))
    return labelled
