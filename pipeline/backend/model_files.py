"""A model as a file, `model.keras`: equal bytes for equal models, without the state of the optimizer.

Keras is imported when a model is saved or loaded, not when a file's parameters are counted.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lazy_loader

from cnnkeras import keras_file, layers
from pipeline.runtime import definition
from pipeline.runtime.errors import InputError
from pipeline.runtime.reading import in_project

keras = lazy_loader.load("keras")

# The date of all members: the earliest that a zip archive can state. Equal models then give equal bytes.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def save(model: "keras.Model", path: Path) -> None:
    """Write a model in Keras' format, readable by `keras.saving.load_model` with `safe_mode`."""
    # A compiled model would be stored with its loss and its optimizer's variables; a new model of the same layers is not compiled.
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
    """Number objects that several layers use from 0, in the order of the file, in place of their addresses in memory."""
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
    """Pack a folder's files, uncompressed as in Keras, in the order of their names, with fixed dates and permissions."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.external_attr = 0o644 << 16
            with file.open("rb") as source, archive.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target)


def load(path: Path) -> "keras.Model":
    """Read a model written by `save`. The model is not compiled; code in the file is not run.

    Raises:
        InputError: The file is missing or damaged, or it does not hold the layers of a model and their weights.
    """
    with _readable(path):
        layers.register()
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def count_parameters(model_file: Path) -> int:
    """Number of parameters of a model in a .keras file, equal to `keras.Model.count_params`.

    Raises:
        InputError: As `load`.
    """
    import h5py

    from cnnkeras import hdf5

    with (
        _readable(model_file),
        zipfile.ZipFile(model_file) as archive,
        archive.open(keras_file.WEIGHTS) as file,
        h5py.File(file, "r") as weights,
    ):
        return sum(item.size for _, item in hdf5.datasets(weights))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Check a model's file before the block reads it; errors become one line that names the command to repair the file."""
    try:
        with path.open("rb") as file:
            keras_file.check(file)
        yield
    except Exception as error:  # Keras raises anything on a file that does not fit together
        maker = definition.maker(path)
        repair = f" Make it again with `{maker}`" if maker else ""
        raise InputError(
            f"{in_project(path)}: expected a model as `cnnkeras train` writes it; received: {_said(error)}.{repair}"
        ) from error


def _said(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")[:300]
