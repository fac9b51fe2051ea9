"""Images in a folder per class, below folders of splits or not."""

from collections import Counter
from pathlib import PurePosixPath

from pipeline.commands.inspect.data import Data, Found, below, common_root, parts_of, several, splits

RANK = 9
_FEW = 0.05  # of all images: as many may lie beside the classes' folders


def recognise(data: Data) -> Found | None:
    """Data of this kind, if each image is in a folder of its class."""
    if not data.images:
        return None
    root = common_root(data.images)
    paths = [PurePosixPath(name).parts for name in below(data.images, root)]
    parts = parts_of({path[0] for path in paths if len(path) > 1})
    if "train" in parts and all(len(path) > 2 for path in paths if path[0] in parts.values()):
        inside = [path for path in paths if path[0] in parts.values()]
        odd = [f"images outside the splits: {several(sorted({path[0] for path in paths} - set(parts.values())))}"]
        return _found(root, parts, Counter(path[1] for path in inside), odd[: len(inside) < len(paths)])
    beside = [path for path in paths if len(path) < 2]
    if len(beside) > _FEW * len(paths):
        return None
    odd = [f"images outside the classes' folders, which are refused: {several(path[-1] for path in beside)}"]
    return _found(root, {"train": "."}, Counter(path[0] for path in paths if len(path) > 1), odd[: bool(beside)])


def _found(root: str, parts: dict[str, str], counts: Counter, odd: list[str]) -> Found | None:
    folders = sorted({name.removesuffix(".tar") for name in counts})
    if len(folders) < 2:
        return None
    entry = {**({"root": root} if root else {}), "folders": folders, "splits": splits(parts)}
    return Found("image_folder", "a folder per class", ("classification",), entry, odd=odd)
