"""What decides the bits of a training beside params.yaml, data and code: the backend, versions of libraries, the processor, switches.

A training leaves it in `results/EXPERIMENT/environment.json`, which no stage reads as an input; `log` shows it in MLflow, and `cnnkeras plan`
says where it differs from what there is now.
"""

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from pipeline.backend import devices
from pipeline.runtime.replacing import replacing

_LIBRARIES = ("keras", "numpy", "h5py", "albumentations", "opencv-python-headless", "pillow")
# TensorFlow without kernels for GPUs is the same package to Python, and another one to the registry.
_OTHER_DISTRIBUTIONS = {"tensorflow": ("tensorflow-cpu",)}
_OF_BACKEND = {"tensorflow": ("tensorflow",), "jax": ("jax", "jaxlib"), "torch": ("torch",)}
_FORMAT = 1


def version(library: str) -> str | None:
    """Version of a library, whichever of its distributions is installed; None if none is."""
    for name in (library, *_OTHER_DISTRIBUTIONS.get(library, ())):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None


def versions(backend: str) -> dict[str, str]:
    """Versions of Python and of the libraries that make bytes, by their names; none of what is not installed."""
    found = {library: version(library) for library in (*_OF_BACKEND[backend], *_LIBRARIES)}
    return {"python": platform.python_version(), **{name: text for name, text in found.items() if text}}


def current(backend: str, profile: devices.Profile = "deterministic") -> dict[str, str]:
    """Everything that decides bits and is no setting of an experiment, by name; `profile` is the experiment's."""
    switches = {name: value for name, value in devices.switches(backend, profile).items() if value}
    return {"backend": backend, **versions(backend), "processor": devices.processor(), **switches}


def write(file: Path, *, seal: Path, settings: Mapping[str, Any]) -> None:
    """Write down with what a model was trained.

    Args:
        file: The JSON file.
        seal: The seal of the training, which the record belongs to.
        settings: Of the training: precision, profile, threads.
    """
    profile = settings["profile"]
    backend = devices.import_keras(profile)
    content = {
        "format": _FORMAT,
        "seal": _digest(seal),
        "environment": current(backend, profile),
        "settings": {**settings, "image_data_format": devices.IMAGE_DATA_FORMAT, "devices": devices.describe()},
    }
    with replacing(file) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read(file: Path, *, seal: Path) -> dict[str, dict[str, Any]]:
    """`environment` and `settings` of a training; both empty if there is no record of it, or it is that of another training."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] == _FORMAT and content["seal"] == _digest(seal):
            return {"environment": dict(content["environment"]), "settings": dict(content["settings"])}
    return {"environment": {}, "settings": {}}


def differences(recorded: Mapping[str, str], now: Mapping[str, str]) -> Iterator[str]:
    """What is different now, as `keras 3.15.0 (now 3.15.1)`; nothing without a record."""
    for name in {**recorded, **now} if recorded else ():
        if recorded.get(name) != now.get(name):
            yield f"{name} {recorded.get(name, 'unset')} (now {now.get(name, 'unset')})"


def _digest(seal: Path) -> str | None:
    return hashlib.sha256(seal.read_bytes()).hexdigest() if seal.is_file() else None
