"""A model as a file: `model.keras`, the same bytes for the same model, and for use only (no optimizer's state).

Keras is imported when a model is saved or loaded, not to count a file's parameters.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

from cnnkeras import layers

if TYPE_CHECKING:
    import h5py

keras = lazy_loader.load("keras")

WEIGHTS = "model.weights.h5"  # of a .keras file

# The earliest time that a zip archive can state: files must not tell when they were written.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(model: "keras.Model", path: Path) -> None:
    """Write a model in Keras' format, which `keras.saving.load_model` reads with `safe_mode`."""
    # A new model of the same layers, because a compiled one would be stored with its loss and its optimizer's variables.
    model = keras.Model(model.input, model.output, name=model.name)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        keras.saving.save_model(model, folder, zipped=False)
        _rewrite(Path(folder, "metadata.json"), _without_date)
        _rewrite(Path(folder, "config.json"), _with_numbered_objects)
        _zip(Path(folder), path)


def _rewrite(file: Path, change: Callable[[Any], Any]) -> None:
    file.write_text(json.dumps(change(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")


def _without_date(metadata: dict[str, Any]) -> dict[str, Any]:
    return metadata | {"date_saved": "{}-{:02}-{:02}@{:02}:{:02}:{:02}".format(*_EPOCH)}


def _with_numbered_objects(config: Any) -> Any:
    """Count objects that layers share from 0, in the order of the file: Keras writes their addresses in memory."""
    numbers: dict[int, int] = {}

    def number(node: Any) -> Any:
        if isinstance(node, list):
            return [number(value) for value in node]
        if not isinstance(node, dict):
            return node
        return {
            key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else number(value)
            for key, value in node.items()
        }

    return number(config)


def _zip(folder: Path, path: Path) -> None:
    """Pack a folder's files, uncompressed as Keras does, in the order of their names and with fixed dates and rights."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def load(path: Path) -> "keras.Model":
    """Read a model that `save` wrote, for use: it is not compiled. Code in the file is never run."""
    layers.register()
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def count_parameters(model_file: Path) -> int:
    """Parameters of a model in a .keras file, as `keras.Model.count_params` counts them."""
    import h5py

    total = 0

    def add(name: str, item: "h5py.Dataset | h5py.Group") -> None:
        nonlocal total
        # A dropout layer's generator keeps its state beside the weights.
        if isinstance(item, h5py.Dataset) and "seed_generator" not in name:
            total += item.size

    with zipfile.ZipFile(model_file) as archive, archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
        weights.visititems(add)
    return total
