"""COCO's JSON of instances, one for each split or one for all."""

import json
from collections import Counter
from typing import Any

from pipeline.commands.inspect.data import Data, Found, parts_of, several, splits
from pipeline.files import texts
from pipeline.runtime.errors import InputError

RANK = 2
_KEYS = ("images", "annotations", "categories")


def recognise(data: Data) -> Found | None:
    """Data of this kind, if a JSON has its three keys."""
    documents = {name: document for name in data.ending(".json") if (document := _read(data, name)) is not None}
    if not documents:
        return None
    names = parts_of(documents)
    if "train" not in names:
        names = {"train": min(documents, key=lambda name: -len(documents[name]["images"]))}
    parts, odd = {}, []
    for split, name in names.items():
        folder = _folder(data, documents[name]["images"])
        if folder is None:
            odd.append(f"{name}: its images are not here, such as {_first(documents[name]['images'])}")
        else:
            parts[split] = {"annotations": name, "images": folder.rstrip("/")}
    if "train" not in parts:
        raise InputError(
            f"{data.path}: expected the images of {names['train']}; received: {odd[0]}. Put them beside it"
        )
    if unused := sorted(set(documents) - set(names.values())):
        odd.append(f"not taken: {several(unused)}")
    document = documents[names["train"]]
    labels = {each["id"]: str(each["name"]) for each in document["categories"]}
    counts = Counter(labels.get(each.get("category_id")) for each in document["annotations"])
    classes = [name for name in labels.values() if counts[name]]
    if absent := [name for name in labels.values() if not counts[name]]:
        odd.append(f"categories without an object to train on, which are left out: {several(absent)}")
    has_outlines = any(each.get("segmentation") for each in document["annotations"][:1000])
    tasks = ("detection", "classification", *(["segmentation"] if has_outlines and len(classes) < 255 else []))
    return Found("coco", "COCO's JSON of instances", tasks, {"classes": classes, "splits": splits(parts)}, odd=odd)


def _read(data: Data, name: str) -> dict[str, Any] | None:
    """A JSON of instances; None for any other, and for one that the kind's own reader is going to name."""
    content = data.archives[name]
    if b"categories" not in content.replace(b"\0", b""):  # a folder of labelme's has thousands of other ones
        return None
    try:
        document = json.loads(texts.decode(content, name))
    except (InputError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict) or not all(isinstance(document.get(key), list) for key in _KEYS):
        return None
    entries = (each for key in _KEYS for each in document[key])
    return document if document["images"] and all(isinstance(each, dict) for each in entries) else None


def _first(images: list[dict[str, Any]]) -> str:
    return str(images[0].get("file_name"))


def _folder(data: Data, images: list[dict[str, Any]]) -> str | None:
    """The folder that holds the images under the names that the JSON has."""
    first = texts.normal_path(_first(images))
    found = [name[: -len(first)] for name in data.images if name == first or name.endswith(f"/{first}")]
    return max(found, key=lambda folder: _count(data, folder, images), default=None)


def _count(data: Data, folder: str, images: list[dict[str, Any]]) -> int:
    return sum(folder + texts.normal_path(str(each.get("file_name"))) in data.archives for each in images[:200])
