"""PASCAL VOC's layout: Annotations, JPEGImages, ImageSets."""

from collections import Counter
from pathlib import PurePosixPath

from pipeline.commands.inspect.data import Data, Found, folder_of, parts_of, splits
from pipeline.runtime.errors import InputError
from pipeline.sources.voc import CLASSES, annotation_xml

RANK = 1
_LISTS = "ImageSets/Main/"


def recognise(data: Data) -> Found | None:
    """Data of this kind, by the folders' names."""
    annotations = [name for name in data.ending(".xml") if PurePosixPath(name).parent.name == "Annotations"]
    roots = sorted({folder_of(folder_of(name)) for name in annotations})
    if not roots or not any("JPEGImages/" in name for name in data.images):
        return None
    root = roots[0]
    start = f"{root}/" if root else ""
    lists = _lists(data, start, "Main")
    odd = [f"{len(roots)} years; only {root} is taken. Name lists of several as `VOC2007/trainval`"][: len(roots) > 1]
    if "train" not in lists:
        raise InputError(
            f"{data.path}: expected lists in {start}{_LISTS} beside Annotations and JPEGImages, such as train.txt with an id a line; "
            f"received: {', '.join(lists.values()) or 'none'}. Write them, one for each split"
        )
    classes = _classes(data, [name for name in annotations if name.startswith(start)])
    has_masks = any(name.startswith(f"{start}SegmentationClass/") for name in data.names)
    tasks = ("detection", "classification", *(["segmentation"] if has_masks and set(classes) <= set(CLASSES) else []))
    if set(classes) <= set(CLASSES) and has_masks:
        classes = list(CLASSES)  # the label maps' palette is that of all twenty
    entry = {"root": root, "classes": classes, "splits": splits(lists)}
    return Found("voc", "PASCAL VOC's layout", tasks, entry, odd=odd)


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
        try:
            root = annotation_xml.read_root(data.archives[name], name)
            counts.update(annotation_xml.read_text(each, "name", name) or "" for each in root.findall("object"))
        except InputError:
            continue
    return [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if name]
