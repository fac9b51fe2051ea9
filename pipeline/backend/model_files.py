"""A network as a file: `model.keras`, the same bytes for the same network, and for use only (no optimizer's state)."""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from cnnkeras import layers

# The earliest time that a zip archive can state: files must not tell when they were written.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(network: keras.Model, path: Path) -> None:
    """Write a network in Keras' format, which `keras.saving.load_model` reads with `safe_mode`."""
    # A model of its own, because a compiled one would be stored with its loss and its optimizer's variables.
    network = keras.Model(network.input, network.output, name=network.name)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".partial-") as folder:
        keras.saving.save_model(network, folder, zipped=False)
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


def load(path: Path) -> keras.Model:
    """Read a network that `save` wrote, for use: it is not compiled. Code in the file is never run."""
    layers.register()
    return keras.saving.load_model(path, compile=False, safe_mode=True)
