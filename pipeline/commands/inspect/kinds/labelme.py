"""labelme's JSON files beside the images."""

from collections import Counter

from pipeline.commands.inspect.data import Data, Found, below, common_root, folder_of, parts_of, several, splits
from pipeline.runtime.errors import InputError
from pipeline.sources.labelme import Annotation, read_annotation

RANK = 3
_TRIED = 5  # JSON files that tell whether they are labelme's


def recognise(data: Data) -> Found | None:
    """Data of this kind, if the JSON files beside images have shapes."""
    stems = {name.rpartition(".")[0] for name in data.images}
    names = [name for name in data.ending(".json") if name.rpartition(".")[0] in stems]
    if not names or not any(_read(data, name) for name in names[:_TRIED]):
        return None
    counts: Counter[str] = Counter()
    broken = []
    for name in names:
        if annotation := _read(data, name):
            counts.update(each.label for each in annotation.objects)
        else:
            broken.append(name)
    root = common_root(names)
    parts = parts_of({name for inside in below(names, root) if (name := folder_of(inside).split("/")[0])})
    classes = [label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    entry = {"classes": classes, "splits": splits(parts if "train" in parts else {"train": "."})}
    odd = [f"JSON files that are not labelme's: {several(broken)}"][: bool(broken)]
    if without := len(stems) - len(names):
        odd.append(f"{without:,} images without a JSON of their name, which are no examples")
    if not classes:
        raise InputError(f"{data.path}: expected shapes in the JSON files; received: none in {len(names):,}")
    tasks = ("detection", "classification", *(["segmentation"] if len(classes) < 255 else []))
    return Found("labelme", "labelme's JSON files", tasks, {**({"root": root} if root else {}), **entry}, odd=odd)


def _read(data: Data, name: str) -> Annotation | None:
    try:
        return read_annotation(data.archives[name], name)
    except InputError:
        return None
