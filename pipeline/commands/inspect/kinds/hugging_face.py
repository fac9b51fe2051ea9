"""A Hugging Face data set that `save_to_disk` wrote."""

from pathlib import PurePosixPath
from typing import Any

from pipeline.commands.inspect.data import Data, Found, below, common_root, folder_of, parts_of, several, splits
from pipeline.runtime.errors import InputError
from pipeline.sources import hugging_face
from pipeline.sources.hugging_face import INFO, STATE, read_json

RANK = 0
_BOXES, _CATEGORIES = (
    ("bbox", "bboxes", "boxes", "box"),
    ("category", "categories", "label", "labels", "category_id", "class"),
)


def recognise(data: Data) -> Found | None:
    """Data of this kind, by the files beside the Arrow files, and by what they say of the columns."""
    states = [
        name for name in data.names if PurePosixPath(name).name == STATE and name.replace(STATE, INFO) in data.archives
    ]
    arrows = data.ending(".arrow")
    if not states or not arrows:
        return None
    root = common_root(states)
    folders = [folder_of(name) or "." for name in below(states, root)]
    parts = parts_of(folders)
    if "train" not in parts:
        parts = {"train": folders[0]}
    first = next(name for name in states if (folder_of(below([name], root)[0]) or ".") == parts["train"])
    features = read_json(data.archives, first.replace(STATE, INFO)).get("features") or {}
    images = [name for name, each in features.items() if isinstance(each, dict) and each.get("_type") == "Image"]
    if not images:
        raise InputError(f"{data.path}: expected a column of images; received: {', '.join(features) or 'none'}")
    odd = [f"columns of images that are not taken: {several(images[1:])}"][: len(images) > 1]
    odd += [f"folders that are not taken: {several(sorted(set(folders) - set(parts.values())))}"][
        : len(set(folders) - set(parts.values()))
    ]
    columns, tasks = _columns(features)
    if not columns:
        raise InputError(
            f"{data.path}: expected a column of labels, or of objects with boxes; received: {', '.join(features)}"
        )
    chosen = {"image_column": images[0], **columns, "classes": "all", "splits": splits(parts)}
    entry: dict[str, Any] = {**({"root": root} if root else {}), **chosen}
    source = hugging_face.Source.model_validate({"kind": "hugging_face", "files": [{"path": "."}], **entry})
    entry["classes"] = list(_classes(data, source))
    return Found("hugging_face", "a Hugging Face data set", tasks, entry, odd=odd)


def _columns(features: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The keys of the entry that name columns, and the tasks that they serve."""
    for name, feature in features.items():
        inner = hugging_face.items(feature)
        if isinstance(inner, dict) and "_type" not in inner:
            boxes, categories = (next((key for key in keys if key in inner), None) for keys in (_BOXES, _CATEGORIES))
            if boxes and categories:
                keys = {"box_key": boxes, "category_key": categories}
                defaults = {"box_key": "bbox", "category_key": "category"}
                changed = {key: value for key, value in keys.items() if value != defaults[key]}
                return {"objects_column": name, **changed}, ("detection", "classification")
    labels = [name for name, each in features.items() if isinstance(each, dict) and each.get("_type") == "ClassLabel"]
    if not labels:
        plain = [name for name, each in features.items() if isinstance(each, dict) and each.get("_type") == "Value"]
        labels = [name for name in plain if name.lower() in ("label", "labels", "class", "category")]
    return ({"label_column": labels[0]}, ("classification",)) if labels else ({}, ())


def _classes(data: Data, source: hugging_face.Source) -> dict[str, str]:
    table = hugging_face.read_table(data.archives, source, source.splits.train)
    return hugging_face.labels_of(table, source)
