"""A trained model in the tracking store, for `mlflow.pyfunc.load_model`."""

import contextlib
import os
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import mlflow
import numpy as np
from mlflow import entities
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

import cnnkeras
from pipeline.tracking import serving


@dataclass(frozen=True)
class TrainedModel:
    """A model as it is to be shown.

    Attributes:
        name: Its name in the store.
        file: In Keras' format.
        example: Inputs (n, ...) that it takes.
        output_shape: Of one output.
    """

    name: str
    file: Path
    example: np.ndarray
    output_shape: tuple[int, ...]


def add_model(client: mlflow.MlflowClient, run: entities.Run, trained: TrainedModel) -> str:
    """Add a model to a run, whose params it gets, without loading it; returns its id.

    `mlflow.pyfunc.log_model` would load it to try its example.
    """
    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    for former in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        if former.status == entities.LoggedModelStatus.READY:
            return former.model_id
        client.delete_logged_model(former.model_id)  # half-written when an earlier log was interrupted
    params = client.get_run(run_id).data.params
    logged = client.create_logged_model(experiment_id, trained.name, run_id, params=params)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        _save(folder, trained, logged)
        client.log_model_artifacts(logged.model_id, str(folder))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(run_id, [entities.LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id


def _save(folder: Path, trained: TrainedModel, logged: entities.LoggedModel) -> None:
    """Write the model as MLflow stores it: its file, code that loads it, its shapes and an example."""
    inputs = TensorSpec(trained.example.dtype, (-1, *trained.example.shape[1:]))
    outputs = TensorSpec(np.dtype(np.float32), (-1, *trained.output_shape))
    mlflow.pyfunc.save_model(
        folder,
        mlflow_model=Model(
            artifact_path=logged.artifact_location,
            run_id=logged.source_run_id,
            model_uuid=logged.model_id,
            model_id=logged.model_id,
        ),
        python_model=serving.__file__,
        artifacts={serving.MODEL: str(trained.file)},
        code_paths=[str(Path(cnnkeras.__file__).parent)],
        signature=ModelSignature(Schema([inputs]), Schema([outputs])),
        input_example=trained.example,
        pip_requirements=_requirements(),
    )


def _requirements() -> list[str]:
    """What loading the model takes, in the versions that are installed here."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    names = [
        "keras",
        "lazy-loader",
        "numpy",
        *(("tensorflow", "tensorflow-cpu") if backend == "tensorflow" else (backend,)),
    ]
    requirements = []
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            requirements.append(f"{name}=={metadata.version(name)}")
    return requirements
