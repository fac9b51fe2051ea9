"""A model as a file: `model.keras`, the same bytes for the same model, and for use only (no optimizer's state).

Keras is imported when a model is saved or loaded, not to count a file's parameters.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lazy_loader

from cnnkeras import keras_file, layers
from pipeline.runtime import definition, paths
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    pass

keras = lazy_loader.load("keras")

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
    """Read a model that `save` wrote, for use: it is not compiled. Code in the file is never run.

    Raises:
        InputError: The file is none, damaged, or holds something else than a model's layers and their numbers.
    """
    with _readable(path):
        layers.register()
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def count_parameters(model_file: Path) -> int:
    """Parameters of a model in a .keras file, as `keras.Model.count_params` counts them.

    Raises:
        InputError: As of `load`.
    """
    import h5py

    from cnnkeras import hdf5

    with (
        _readable(model_file),
        zipfile.ZipFile(model_file) as archive,
        archive.open(keras_file.WEIGHTS) as file,
        h5py.File(file, "r") as weights,
    ):
        # A dropout layer's generator keeps its state beside the weights.
        return sum(item.size for name, item in hdf5.datasets(weights) if "seed_generator" not in name)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Check a model's file before the block reads it, and turn what is wrong with it into one line with the command that repairs."""
    try:
        with path.open("rb") as file:
            keras_file.check(file)
        yield
    except Exception as error:  # Keras raises anything on a file that does not fit together
        place, repair = _place_and_repair(path)
        raise InputError(
            f"{place}: expected a model as `cnnkeras train` writes it; received: {_said(error)}.{repair}"
        ) from error


def _said(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")[:300]


def _place_and_repair(path: Path) -> tuple[Path, str]:
    """The file in its project, and the command that makes it again as a sentence, empty where no stage does."""
    try:
        root, values = paths.root(), definition.read_yaml(paths.params_file())
    except InputError:  # it is in no project
        return path, ""
    place = path.relative_to(root) if path.is_relative_to(root) else path
    found = definition.maker(path, values) if (root / paths.DEFINITION).is_file() else None
    return place, f" Make it again with `cnnkeras {definition.command(found[0])} {found[1]}`" if found else ""
