"""What a `.keras` file may hold before it is loaded: a model of layers of Keras and of cnnkeras, with its weights.

Loading calls whatever classes and functions the file names. Keras' own safe mode refuses some; here only those are known that build a
model of ours.
"""

import importlib
import json
import re
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
_MODULES = (
    "keras",
    "keras.layers",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.activations",
)
_MODULES += ("keras.src.models.functional", "keras.src.models.sequential")
_OWN, _ARCHITECTURES = "cnnkeras.", "cnnkeras.architectures."
# Layers that hold code or name other files, and Keras' words for a function.
_CODE = ("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function", "__lambda__", "__typespec__")


def check(file: BinaryIO) -> None:
    """Check a file without loading a model, and import the architectures that have layers of their own in it.

    Args:
        file: Opened for reading bytes, seekable.

    Raises:
        ValueError: It is no `.keras` file, damaged, or holds something else than a model's layers and their numbers.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check_members(archive)
            config = json.loads(archive.read(CONFIG))
            _check_config(config)
            _check_weights(archive)
    except ValueError as error:
        raise ValueError(_one_line(error)) from error
    except Exception as error:  # zipfile and h5py raise anything on damaged files
        raise ValueError(f"expected a .keras file; received: {_one_line(error)}") from error
    _import_layers(config)


def _import_layers(config: Any) -> None:
    """Import the architectures whose files have layers of their own, so that Keras knows these: the module of a layer is one of ours."""
    for module in sorted({str(node.get("module")) for node in _objects(config)}):
        if re.fullmatch(rf"{re.escape(_ARCHITECTURES)}\w+", module):
            try:
                importlib.import_module(module)
            except ModuleNotFoundError as error:
                raise ValueError(f"expected layers that are there; received: one of {module}, which is not") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    names = sorted(member.filename for member in members)
    if names != [CONFIG, METADATA, WEIGHTS]:
        raise ValueError(
            f"expected {CONFIG}, {METADATA} and {WEIGHTS} in a .keras file; received: {', '.join(names) or 'nothing'}"
        )
    if compressed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(
            f"expected a .keras file as Keras writes it, not compressed; received: a compressed {compressed[0]}"
        )
    if damaged := archive.testzip():
        raise ValueError(f"expected a whole .keras file; received: a damaged {damaged}")


def _check_config(config: Any) -> None:
    for node in _objects(config):
        module, name = node.get("module"), node["class_name"]
        if name in _CODE:
            raise ValueError(f"expected layers without code of their own in a .keras file; received: {name}")
        known = module in _MODULES or (isinstance(module, str) and module.startswith(_OWN))
        if not known and not (module is None and str(name).startswith("__")):  # Keras' marks of tensors
            raise ValueError(
                f"expected layers of Keras and of cnnkeras in a .keras file; received: {name!r} of {module!r}"
            )


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a configuration that names a class."""
    waiting = [config]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _check_weights(archive: zipfile.ZipFile) -> None:
    import h5py

    from cnnkeras import hdf5

    with archive.open(WEIGHTS) as file, h5py.File(file, "r") as weights:
        for _ in hdf5.datasets(weights):
            pass  # each is checked when it is found
