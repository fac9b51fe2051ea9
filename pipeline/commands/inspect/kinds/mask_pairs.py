"""Images and label maps: two folders with the same names, for each split or for all; or lists with an image and its label map a line."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from pipeline.sources.mask_pairs import ARRAY

RANK = 5
_ENOUGH = 0.9  # of the images of a folder have a label map of their name
_MAX_VALUES = 64  # of a label map; a grey photograph has more
_ENDS = (
    "_mask",
    "-mask",
    "_masks",
    "_seg",
    "_segmentation",
    "_label",
    "_labels",
    "_gt",
    "_L",
    "_m",
    ".mask",
)  # of label maps beside their images
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
Value = int | tuple[int, int, int]
_LOOKED_AT = 200  # label maps whose values are looked at, over all of them
_TRIED = 3  # label maps of a folder that tell whether it has any


@dataclass(frozen=True)
class _Pair:
    """Two folders with images and label maps.

    Attributes:
        images: The images' folder below the root.
        masks: The label maps'.
        image_names: The images' template.
        mask_names: The label maps'.
        files: The label maps, below the root.
    """

    images: str
    masks: str
    image_names: str
    mask_names: str
    files: Sequence[str]

    @property
    def entry(self) -> dict[str, str]:
        """The part of a split."""
        names = {"image_names": self.image_names, "mask_names": self.mask_names}
        changed = {key: name for key, name in names.items() if name != "{}"}
        return {"images": self.images or ".", "masks": self.masks or ".", **changed}


def recognise(data: Data) -> Found | None:
    """Data of this kind, by names, and by label maps that are read."""
    if found := _listed(data):
        return found
    files = [*data.images, *data.ending(ARRAY)]
    root = common_root(files) if files else ""
    folders = by_folder(below(files, root))
    start, pairs = f"{root}/" if root else "", {}
    for masks, names in folders.items():
        pair = _in_one_folder(masks, names)
        # Who has a folder per class has a thousand folders, none of label maps: only these are compared with all others.
        if pair is None and _values_of(data, [start + name for name in names[:1]]) is not None:
            pair = _in_two_folders(folders, masks)
        if pair is not None and _values_of(data, [start + name for name in pair.files[:_TRIED]]) is not None:
            pairs[split_of(pair.images) or split_of(masks) or "all"] = pair
    parts = {"train": pairs["all"]} if set(pairs) == {"all"} else {name: pairs[name] for name in pairs if name != "all"}
    if "train" not in parts:
        return None
    masks = [start + name for pair in parts.values() for name in pair.files]
    return _found(data, root, {split: pair.entry for split, pair in parts.items()}, masks)


def _in_one_folder(folder: str, names: Sequence[str]) -> _Pair | None:
    """Images and label maps in one folder, by how these are called."""
    stems = {PurePosixPath(name).stem: name for name in names}
    for end in _ENDS:
        own = {stem: name for stem, name in stems.items() if stem.endswith(end) and stem[: -len(end)] in stems}
        if own and len(own) >= _ENOUGH * len(stems) / 2:
            return _Pair(folder, folder, "{}", "{}" + end, list(own.values()))
    return None


def _in_two_folders(folders: Mapping[str, Sequence[str]], masks: str) -> _Pair | None:
    """The folder of the images that a folder's label maps are of, the one with the nearest name of several."""
    stems = {PurePosixPath(name).stem for name in folders[masks]}
    found = []
    for folder, names in folders.items():
        images = [PurePosixPath(name).stem for name in names if image_files.is_image(name)]
        templates = _templates(images, list(stems)) if folder != masks and images else None
        if templates is not None:
            found.append(_Pair(folder, masks, *templates, folders[masks]))
    same = [pair for pair in found if split_of(pair.images) == split_of(masks)]
    return min(same or found, key=lambda pair: (abs(len(pair.images) - len(masks)), pair.images), default=None)


def _templates(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str] | None:
    """What the names of two folders' files share, if nearly every image has a label map."""
    if len(set(images) & set(masks)) >= _ENOUGH * len(images):
        return "{}", "{}"
    if len(images) < 2 or len(masks) < 2:
        return None
    (image_start, image_end), (mask_start, mask_end) = map(_ends, (images, masks))
    for image, mask in (
        (("", ""), ("", mask_end)),
        (("", ""), (mask_start, mask_end)),
        ((image_start, image_end), (mask_start, mask_end)),
    ):
        shared = [_inner(stem, *image) for stem in images]
        if len(set(shared) & {_inner(stem, *mask) for stem in masks}) >= _ENOUGH * len(images):
            return f"{image[0]}{{}}{image[1]}", f"{mask[0]}{{}}{mask[1]}"
    return None


def _ends(stems: Sequence[str]) -> tuple[str, str]:
    """The words that all names begin and end with, without the digits that they may share by chance."""
    start = re.sub(r"[0-9]+$", "", _shared_start(stems))
    end = _shared_start([stem[::-1] for stem in stems])[::-1]
    return start, re.sub(r"^[0-9]+", "", end)


def _shared_start(texts: Sequence[str]) -> str:
    first, last = min(texts), max(texts)
    return first[: next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def _inner(stem: str, start: str, end: str) -> str:
    return stem[len(start) : len(stem) - len(end)]


def _values_of(data: Data, names: Sequence[str], limit: int = _MAX_VALUES) -> set[Value] | None:
    """The values of label maps, numbers or colours; None if they are none, or more than the limit, as a photograph's are."""
    found: set[Value] = set()
    for name in names:
        try:
            values = _read(data.archives[name], name)
        except InputError:
            return None
        found.update(values)
        if len(found) > limit:
            return None
    return found


def _read(content: bytes, name: str) -> set[Value]:
    if name.lower().endswith(ARRAY):
        return set(np.unique(reading.read_array(content, name, colors=False)).tolist())
    try:
        return set(np.unique(reading.read_values(content, name)).tolist())
    except InputError:
        colors = np.unique(reading.read_colors(content, name)).tolist()
    return {(color >> 16, color >> 8 & 255, color & 255) for color in colors}


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
        if pair and _values_of(data, [pair[1]]) is not None:
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
    values = {value for name in masks[::step] for value in _values_of(data, [name], limit=2**16) or ()}
    colors = sorted(value for value in values if isinstance(value, tuple))
    nothing = [BLACK, WHITE] if colors else [0, VOID]
    classes = [value for value in colors or sorted(values) if value not in nothing]
    has_background = nothing[0] in values
    names = ["{:02x}{:02x}{:02x}".format(*value) if colors else value for value in classes]
    entry = {
        **({"root": root} if root else {}),
        "classes": [f"class_{name}" for name in names],
        "class_values": [list(value) if colors else value for value in classes],
        **({} if has_background else {"background_values": []}),
        "splits": splits(parts),
    }
    odd = ["label maps do not say what their classes are called: give class_1 and the others their names"]
    if has_background:
        odd.append(
            f"{'black' if colors else 0} is taken for the background; if it is a class, write it into class_values, and background_values: []"
        )
    return Found("mask_pairs", "images and label maps", ("segmentation",), entry, odd=odd)
