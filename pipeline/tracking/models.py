"""A trained model in the tracking store, for `mlflow.pyfunc.load_model`."""

import contextlib
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow import entities
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from ruamel.yaml import YAML

import cnnkeras
from pipeline.backend import devices
from pipeline.runtime import plugins
from pipeline.runtime.replacing import link_or_copy
from pipeline.tracking import serving


@dataclass(frozen=True)
class TrainedModel:
    """A trained model for the tracking store.

    Attributes:
        name: Name in the store.
        file: File of the model in Keras' format.
        example: Example inputs (n, ...), with the model's input dtype.
        output_shape: Shape of one output, without the batch.
    """

    name: str
    file: Path
    example: np.ndarray
    output_shape: tuple[int, ...]


def save_model(folder: Path, trained: TrainedModel) -> None:
    """Write a folder in MLflow's format: the model's file, code that loads it, its signature and an example.

    `mlflow.pyfunc.log_model` would load the model to run it on the example.
    """
    inputs = TensorSpec(trained.example.dtype, (-1, *trained.example.shape[1:]))
    outputs = TensorSpec(np.dtype(np.float32), (-1, *trained.output_shape))
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        # MLflow refuses a link that DVC put in place of a file, and takes a path with `%` for an address.
        file, code = Path(temporary) / trained.file.name, Path(temporary) / "cnnkeras.zip"
        link_or_copy(trained.file, file)
        _zip_library(code)
        mlflow.pyfunc.save_model(
            folder,
            python_model=serving.__file__,
            artifacts={serving.MODEL: file.as_uri(), serving.CODE: code.as_uri()},
            signature=ModelSignature(Schema([inputs]), Schema([outputs])),
            input_example=trained.example,
            pip_requirements=_requirements(),
        )
    forget_sources(folder)


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


def _requirements() -> list[str]:
    """Packages that are needed to load the model and to read images for it, in the installed versions: `numpy==2.3.1`."""
    backend = devices.chosen_backend()
    names = [
        "keras",
        "lazy-loader",
        "numpy",
        "pillow",
        *(("tensorflow", "tensorflow-cpu") if backend == "tensorflow" else (backend,)),
    ]
    requirements = []
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            requirements.append(f"{name}=={metadata.version(name)}")
    return requirements
