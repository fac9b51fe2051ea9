"""PASCAL VOC's layout: Annotations, JPEGImages, ImageSets."""

import contextlib
from collections import Counter
from pathlib import PurePosixPath
from typing import Any

from pipeline.commands.inspect.data import (
    Data,
    Found,
    below,
    by_folder,
    common_root,
    folder_of,
    parts_of,
    several,
    split_of,
    splits,
)
from pipeline.runtime.errors import InputError
from pipeline.sources.voc import CLASSES, annotation_xml

RANK = 1


def recognise(data: Data) -> Found | None:
    """Data of this kind, by the folders' names, or by annotation files that have images of their names."""
    annotations = [name for name in data.ending(".xml") if PurePosixPath(name).parent.name == "Annotations"]
    roots = sorted({folder_of(folder_of(name)) for name in annotations})
    if roots and any("JPEGImages/" in name for name in data.images):
        root = roots[0]
        start = f"{root}/" if root else ""
        lists = _lists(data, start, "Main")
        if "train" in lists:
            odd = [f"{len(roots)} years; only {root} is taken. Name lists of several as `VOC2007/trainval`"]
            return _found(
                data,
                root,
                splits(lists),
                [name for name in annotations if name.startswith(start)],
                odd[: len(roots) > 1],
            )
    return _without_lists(data)


def _without_lists(data: Data) -> Found | None:
    """Annotation files in folders; of every one that has some, the folder of the images with the same names."""
    xmls = [name for name in data.ending(".xml") if _is_annotation(data, name)]
    if not xmls:
        return None
    root = common_root([*xmls, *data.images])
    images, folders = by_folder(below(data.images, root)), by_folder(below(xmls, root))
    pairs = {}
    for folder, names in folders.items():
        stems = {PurePosixPath(name).stem for name in names}
        best = max(
            images, key=lambda each: len(stems & {PurePosixPath(name).stem for name in images[each]}), default=None
        )
        if best is None or not stems & {PurePosixPath(name).stem for name in images[best]}:
            raise InputError(
                f"{data.path}: expected images of the annotation files in {folder or './'}; received: none of these names"
            )
        pairs[folder] = {"images": best or ".", "annotations": folder or "."}
        if masks := next((each for each in images if PurePosixPath(each).name == "SegmentationClass"), None):
            pairs[folder]["masks"] = masks
    named = parts_of(folder for folder in pairs if split_of(folder))
    if "train" not in named:
        named = {"train": max(folders, key=lambda folder: len(folders[folder]))}
    odd = [f"not taken: annotation files in {several(sorted(set(pairs) - set(named.values())))}"]
    parts = {split: pairs[folder] for split, folder in named.items()}
    taken = [name for name in xmls if (folder_of(name)[len(root) :].lstrip("/")) in named.values()]
    return _found(data, root, splits(parts), taken, odd[: len(pairs) > len(parts)])


def _is_annotation(data: Data, name: str) -> bool:
    try:
        return bool(annotation_xml.read_root(data.archives[name], name).tag)
    except InputError:
        return False


def _found(data: Data, root: str, parts: dict[str, Any], annotations: list[str], odd: list[str]) -> Found:
    start = f"{root}/" if root else ""
    classes = _classes(data, annotations)
    if not classes:
        raise InputError(
            f"{data.path}: expected objects in the annotation files; received: none in {len(annotations):,}"
        )
    has_masks = any(name.startswith(f"{start}SegmentationClass/") for name in data.names)
    tasks = ("detection", "classification", *(["segmentation"] if has_masks and set(classes) <= set(CLASSES) else []))
    return Found("voc", "PASCAL VOC's layout", tasks, {"root": root, "classes": classes, "splits": parts}, odd=odd)


def _lists(data: Data, start: str, kind: str) -> dict[str, str]:
    folder = f"{start}ImageSets/{kind}/"
    names = [PurePosixPath(name).stem for name in data.ending(".txt") if folder_of(name) == folder.rstrip("/")]
    lists = parts_of(name for name in names if name in ("train", "val", "valid", "test", "training", "validation"))
    if "train" not in lists and "trainval" in names:
        lists["train"] = "trainval"
    return lists


def _classes(data: Data, annotations: list[str]) -> list[str]:
    """Names of all objects, the most frequent first; a file that is none is named when it is read."""
    counts: Counter[str] = Counter()
    for name in annotations:
        with contextlib.suppress(InputError):
            root = annotation_xml.read_root(data.archives[name], name)
            counts.update(annotation_xml.read_text(each, "name", name) or "" for each in root.findall("object"))
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if name]
