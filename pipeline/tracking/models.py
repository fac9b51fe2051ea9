"""A trained model in the tracking store, for `mlflow.pyfunc.load_model`."""

import contextlib
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import mlflow
from mlflow import entities
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType, Array, Object, Property
from ruamel.yaml import YAML

import cnnkeras
from cnnkeras import answers
from pipeline.runtime import plugins
from pipeline.runtime.replacing import link_or_copy
from pipeline.tracking import serving

# Packages that the library imports besides a backend; of those in one bracket, which offer the same, the one that is installed.
_NEEDED = (
    ("annotated-types",),
    ("h5py",),
    ("keras",),
    ("lazy-loader",),
    ("numpy",),
    ("opencv-python-headless", "opencv-python"),
    ("pillow",),
)
_BACKENDS = {"tensorflow": ("tensorflow-cpu", "tensorflow")}
_TYPES = {int: DataType.long, str: DataType.string, float: DataType.double}


@dataclass(frozen=True)
class TrainedModel:
    """A trained model for the tracking store.

    Attributes:
        name: Name in the store.
        file: File of the model in Keras' format.
        backend: The one of Keras that it was trained with.
        look: How it looks at an image: the fields of `cnnkeras.looking.look.Look`.
        example: An image for it: base64 of a file, or numbers in nested lists; or a signal.
    """

    name: str
    file: Path
    backend: str
    look: Mapping[str, Any]
    example: str | list[Any]


def save_model(folder: Path, trained: TrainedModel) -> None:
    """Write a folder in MLflow's format: the model's file, code that loads it, its signature and an example.

    `mlflow.pyfunc.log_model` would load the model to run it on the example.
    """
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        # MLflow refuses a link that DVC put in place of a file, and takes a path with `%` for an address.
        file, code = Path(temporary) / trained.file.name, Path(temporary) / "cnnkeras.zip"
        link_or_copy(trained.file, file)
        _zip_library(code)
        mlflow.pyfunc.save_model(
            folder,
            python_model=serving.__file__,
            artifacts={serving.MODEL: file.as_uri(), serving.CODE: code.as_uri()},
            model_config={serving.BACKEND: trained.backend, serving.LOOK: dict(trained.look)},
            signature=_signature(answers.load(trained.look["task"])),
            input_example=[trained.example],
            pip_requirements=_requirements(trained.backend),
        )
    forget_sources(folder)


def _signature(answer: ModuleType) -> ModelSignature:
    """The signature of a model with a task's answers.

    An image is of any type and size, which MLflow has no word for: it would make a table of an array. So the model itself says what is wrong,
    as one does that takes its signature from type hints.
    """
    row = Object([Property(key, _TYPES[kind]) for key, kind in answer.COLUMNS.items()])
    given = [ColSpec(Array(row), "predictions"), *(ColSpec(DataType.string, Path(name).stem) for name in answer.FILES)]
    raw = ColSpec(AnyType(), serving.OUTPUTS, required=False)
    params = ParamSchema([ParamSpec(serving.OUTPUTS, DataType.boolean, default=False)])
    signature = ModelSignature(Schema([ColSpec(AnyType())]), Schema([*given, raw]), params)
    signature._is_signature_from_type_hint = True
    return signature


def _zip_library(file: Path) -> None:
    """Write the code of `cnnkeras`, and the project's plugins of it, as one file: a tracking server takes a request for each file."""
    library = Path(cnnkeras.__file__).parent
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for module in sorted(library.rglob("*.py")):
            zipped.write(module, module.relative_to(library.parent))
        for module, name in plugins.below(library.name):
            zipped.write(module, name)


def forget_sources(folder: Path, location: str = "") -> None:
    """Remove this machine's paths from the description of a model in MLflow's format, which is loaded from its own folder alone.

    Args:
        folder: Folder of the model.
        location: The folder's address in the tracking store, if it has one.
    """
    description = _read_description(folder)
    description.artifact_path = location or None
    loader = description.flavors[mlflow.pyfunc.FLAVOR_NAME]
    loader["model_code_path"] = Path(loader["model_code_path"]).name
    for artifact in loader["artifacts"].values():
        artifact["uri"] = artifact["path"]
    description.save(str(folder / "MLmodel"))


def name_model(folder: Path, logged: entities.LoggedModel) -> None:
    """Write the ids that the tracking store has given a model into its description."""
    description = _read_description(folder)
    description.artifact_path, description.run_id = logged.artifact_location, logged.source_run_id
    description.model_id = description.model_uuid = logged.model_id
    description.save(str(folder / "MLmodel"))


def _read_description(folder: Path) -> Model:
    """`Model.load` would take a path with `%` for an address."""
    return Model.from_dict(YAML(typ="safe").load(folder / "MLmodel"))


def _requirements(backend: str) -> list[str]:
    """Packages that are needed to load the model and to look at images by it, in the installed versions: `numpy==2.3.1`."""
    requirements = []
    for names in (*_NEEDED, _BACKENDS.get(backend, (backend,))):
        for name in names:
            with contextlib.suppress(metadata.PackageNotFoundError):
                # What stands behind a plus, as of `2.6.0+cpu`, no index has.
                requirements.append(f"{name}=={metadata.version(name).partition('+')[0]}")
                break
    return requirements
