"""YOLO's text labels, by data.yaml as Ultralytics and Roboflow have it, or by files of labels beside images."""

from pathlib import PurePosixPath
from typing import Any

from pipeline.commands.inspect.data import (
    Data,
    Found,
    below,
    common_root,
    folder_of,
    parts_of,
    several,
    split_of,
    splits,
)
from pipeline.files import texts
from pipeline.runtime.errors import InputError
from pipeline.sources.yolo import LISTS_OF_NAMES, label_file, names_of, read_data_yaml, read_names, read_objects

RANK = 3
_LOOKED_AT = 500  # files of labels that show the numbers of classes and whether there are polygons


def recognise(data: Data) -> Found | None:
    """Data of this kind, by files of labels that can be read."""
    labelled = [name for name in data.images if label_file(name) in data.archives]
    if not labelled or 2 * len(labelled) < len(data.images):
        return None
    try:
        numbers, tasks = _looked_at(data, [label_file(name) for name in labelled])
    except InputError:
        return None
    root, names, parts = _described(data)
    odd = []
    if not parts:
        root = common_root(data.images)
        parts = _folders(below(data.images, root))
    if names is None:
        names = [f"class_{number}" for number in range(max(numbers, default=0) + 1)]
        odd.append(
            "no data.yaml or classes.txt says what the classes are called: give class_0 and the others their names"
        )
    known = range(len(names)) if isinstance(names, list) else names
    if unknown := sorted(numbers - set(known)):
        odd.append(f"numbers of classes that data.yaml does not name: {several(map(str, unknown))}")
    if without := len(data.images) - len(labelled):
        odd.append(f"{without:,} images without a file of labels, which count as images without objects")
    entry = {**({"root": root} if root else {}), "names": names, "splits": splits(parts)}
    return Found("yolo", "YOLO's text labels", tasks, entry, odd=odd)


def _looked_at(data: Data, files: list[str]) -> tuple[set[int], tuple[str, ...]]:
    """Numbers of classes in some files of labels, and the tasks that they serve."""
    numbers, polygons, boxes = set(), 0, 0
    for name in files[:: max(1, len(files) // _LOOKED_AT)]:
        for each in read_objects(data.archives[name], name):
            numbers.add(each.label)
            polygons, boxes = polygons + each.is_polygon, boxes + (not each.is_polygon)
    return numbers, ("detection", "classification", *(["segmentation"] if polygons and not boxes else []))


def _described(data: Data) -> tuple[str, Any, dict[str, Any]]:
    """Root, names and parts of data.yaml, as far as there are any; names of a list of names otherwise."""
    for name in data.ending(".yaml", ".yml"):
        document = read_data_yaml(data.archives[name], name)
        if names := names_of(document):
            root = folder_of(name)
            parts = {
                split: part for split in ("train", "val", "test") if (part := _part(data, root, document.get(split)))
            }
            in_order = list(names) == list(range(len(names)))
            return root, list(names.values()) if in_order else names, parts if "train" in parts else {}
    for name in data.names:
        root = folder_of(name)
        if PurePosixPath(name).name.lower() in LISTS_OF_NAMES:
            return root, list(read_names(data.archives, root).values()), {}
    return "", None, {}


def _part(data: Data, root: str, value: Any) -> Any:
    """A folder or a list below the root that data.yaml means; it names them from where its author had them."""
    if isinstance(value, list):
        parts = [part for each in value if (part := _part(data, root, each))]
        return parts or None
    if not isinstance(value, str) or not value:
        return None
    parts = [part for part in PurePosixPath(texts.normal_path(value)).parts if part not in ("..", ".", "/")]
    inside = below(data.names, root)
    for start in range(len(parts)):
        path = "/".join(parts[start:])
        if any(name == path or name.startswith(f"{path}/") for name in inside):
            return path
    return None


def _folders(images: list[str]) -> dict[str, Any]:
    """Parts by folders whose names say their splits; all images where none does."""
    folders = sorted({folder_of(name) or "." for name in images})
    parts = parts_of(folder for folder in folders if split_of(folder))
    return parts if "train" in parts else {"train": folders[0] if len(folders) == 1 else folders}
