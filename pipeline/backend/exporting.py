"""Models as files of other formats, one function a format.

    onnx         ONNX Runtime and what else reads ONNX; needs the packages of the extra `onnx`
    tflite       TensorFlow Lite (LiteRT), for phones and small devices
    saved_model  TensorFlow and TensorFlow Serving; a folder
    keras        Keras, with the layers of `cnnkeras`

Each takes a model of one input, whose outputs have names, a path, and a description in JSON for the formats that hold one.
"""

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.backend import devices
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import partial_path, remove

if TYPE_CHECKING:
    import keras


def onnx(model: "keras.Model", path: Path, description: str) -> None:
    """An ONNX file. It holds the description among its properties, key `cnnkeras`.

    The package tf2onnx translates the graph that TensorFlow runs.
    """
    import onnx

    model.export(path, format="onnx", verbose=False, input_signature=model.inputs)
    proto = onnx.load(path)
    (taken,) = proto.graph.input
    for name, side in zip(("batch", "height", "width"), taken.type.tensor_type.shape.dim, strict=False):
        if not side.dim_value:
            side.dim_param = name
    for given in proto.graph.output:
        given.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(proto, {"cnnkeras": description})
    onnx.save(proto, path)


def tflite(model: "keras.Model", path: Path, _description: str) -> None:
    """A TensorFlow Lite file of float32, with one signature, `serving_default`.

    Raises:
        InputError: TensorFlow Lite lacks an operation of the model: numbers of one byte are not added there, as in DeconvNet's unpooling.
    """
    model.export(path, format="litert", verbose=False)
    if foreign := sorted(set(re.findall(rb"Flex[A-Z][A-Za-z0-9]{2,}(?=\0)", path.read_bytes()))):
        raise InputError(
            "--format tflite: expected a model of TensorFlow Lite's own operations; received: "
            f"{', '.join(name.decode() for name in foreign)}. Use --format onnx or saved_model"
        )


def saved_model(model: "keras.Model", path: Path, _description: str) -> None:
    """A folder with a TensorFlow SavedModel, with one signature, `serving_default`; as an object in Python its method is `serve`."""
    model.export(path, format="tf_saved_model", verbose=False)


def keras_file(model: "keras.Model", path: Path, _description: str) -> None:
    """A .keras file; `cnnkeras.exported.register()` lets Keras load it."""
    import keras

    keras.saving.save_model(model, path)


# The ending of each format's name, and what writes it.
FORMATS: dict[str, tuple[str, Callable[["keras.Model", Path, str], None]]] = {
    "onnx": (".onnx", onnx),
    "tflite": (".tflite", tflite),
    "saved_model": (".saved_model", saved_model),
    "keras": (".keras", keras_file),
}


def require(format: str, target: Path) -> None:
    """Refuse a format that cannot be written here, and a path that it cannot have, before a model is loaded.

    Args:
        format: A key of `FORMATS`.
        target: Path of the file or folder.

    Raises:
        InputError: See above.
    """
    ending = FORMATS[format][0]
    if target.suffix != ending:
        raise InputError(f"--output: expected a name that ends with {ending}; received: {target.name}")
    if format != "saved_model" and target.is_dir():
        raise InputError(f"{target}: expected a file, or nothing yet; received: a folder. Give another path")
    if format == "saved_model" and (
        target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / "saved_model.pb").is_file())
    ):
        raise InputError(
            f"{target}: expected a folder with a SavedModel, or nothing yet; received: something else. Give another path with --output"
        )
    if format != "keras" and devices.chosen_backend() != "tensorflow":
        raise InputError(
            f"--format {format}: expected Keras on TensorFlow, which writes this format; received: {devices.chosen_backend()}. "
            "Use --format keras"
        )
    missing = [package for package in ("onnx", "tf2onnx") if find_spec(package) is None] if format == "onnx" else []
    if missing:
        raise InputError(
            f"--format onnx: expected the packages onnx and tf2onnx; received: no {' and no '.join(missing)}. "
            "Install them: `pip install 'cnnkeras[onnx]'`, in a clone `pip install -e '.[onnx]'`"
        )


def write(format: str, model: "keras.Model", target: Path, description: str) -> None:
    """Write a model, whole or not at all.

    Args:
        format: A key of `FORMATS`.
        model: With one input and named outputs.
        target: Path that `require` has passed.
        description: JSON.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(target)
    remove(partial)
    try:
        with devices.quiet():
            FORMATS[format][1](model, partial, description)
        if partial.is_dir():
            remove(target)  # a folder cannot be replaced in one step
        partial.replace(target)
    finally:
        remove(partial)
