"""Images and label maps: two folders with the same names, for each split or for all; or lists with an image and its label map a line."""

from pathlib import PurePosixPath
from typing import Any

import numpy as np

from cnnkeras.label_maps import VOID
from pipeline.commands.inspect.data import (
    Data,
    Found,
    below,
    by_folder,
    common_root,
    folder_of,
    parts_of,
    split_of,
    splits,
)
from pipeline.files import image_files, texts
from pipeline.images import reading
from pipeline.runtime.errors import InputError

RANK = 5
_ENOUGH = 0.9  # of the images of a folder have a label map of their name
_LOOKED_AT = 200  # label maps whose values are looked at, over all of them
_TRIED = 3  # label maps of a folder that tell whether it has any


def recognise(data: Data) -> Found | None:
    """Data of this kind, by names, and by label maps that are read."""
    if found := _listed(data):
        return found
    root = common_root(data.images) if data.images else ""
    folders = by_folder(below(data.images, root))
    start, pairs = f"{root}/" if root else "", {}
    for masks, names in folders.items():
        images = _images_of(folders, masks)
        if images is not None and _has_labels(data, [start + name for name in names]):
            pairs[split_of(images) or split_of(masks) or "all"] = {"images": images or ".", "masks": masks or "."}
    parts = {"train": pairs["all"]} if set(pairs) == {"all"} else {name: pairs[name] for name in pairs if name != "all"}
    if "train" not in parts:
        return None
    masks = [start + name for part in parts.values() for name in folders[part["masks"].removeprefix(".")]]
    return _found(data, root, parts, masks)


def _images_of(folders: dict[str, list[str]], masks: str) -> str | None:
    """The folder whose images have the names of a folder's label maps, the one with the nearest name of several."""
    stems = {PurePosixPath(name).stem for name in folders[masks]}
    found = []
    for folder, names in folders.items():
        own = {PurePosixPath(name).stem for name in names}
        if folder != masks and len(own & stems) >= _ENOUGH * len(own):
            found.append(folder)
    same = [folder for folder in found if split_of(folder) == split_of(masks)]
    return min(same or found, key=lambda folder: (abs(len(folder) - len(masks)), folder), default=None)


def _has_labels(data: Data, names: list[str]) -> bool:
    try:
        values = [reading.read_labels(data.archives[name], name) for name in names[:_TRIED]]
    except InputError:
        return False
    return max(len(np.unique(each)) for each in values) <= 64  # a grey photograph has more


def _listed(data: Data) -> Found | None:
    """Data with lists of an image and its label map a line."""
    lists = {}
    for name in data.ending(".txt"):
        paths = image_files.Paths(data.archives, folder_of(name))
        try:
            line = next(iter(texts.lines(data.archives[name], name)), "")
        except InputError:
            continue
        pair = next(
            (way for two in image_files.columns(line) if None not in (way := tuple(map(paths.find, two)))), None
        )
        if pair and _has_labels(data, [pair[1]]):
            lists[name] = pair[1]
    roots = {folder_of(name) for name in lists}
    if len(roots) != 1:
        return None
    root = roots.pop()
    parts = parts_of(below(lists, root))
    folders = by_folder(data.images)
    masks = [name for mask in set(map(folder_of, lists.values())) for name in folders[mask]]
    return _found(data, root, parts, masks) if "train" in parts else None


def _found(data: Data, root: str, parts: dict[str, Any], masks: list[str]) -> Found:
    step = max(1, len(masks) // _LOOKED_AT)
    values: set[int] = set()
    for name in masks[::step]:
        values.update(np.unique(reading.read_labels(data.archives[name], name)).tolist())
    classes = sorted(values - {0, VOID})
    entry = {
        **({"root": root} if root else {}),
        "classes": [f"class_{value}" for value in classes],
        "class_values": classes,
        **({} if 0 in values else {"background_values": []}),
        "splits": splits(parts),
    }
    odd = ["label maps do not say what their classes are called: give class_1 and the others their names"]
    if 0 in values:
        odd.append(
            "0 is taken for the background; if it is a class, write it into class_values, and background_values: []"
        )
    return Found("mask_pairs", "images and label maps", ("segmentation",), entry, odd=odd)
