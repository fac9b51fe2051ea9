"""MLflow as a view of the local files: the only module that talks to a tracking store.

The store is `mlflow.db` with `mlartifacts/` in the project's folder, or what MLFLOW_TRACKING_URI names. All results are in one MLflow
experiment, `cnnkeras` (or MLFLOW_EXPERIMENT_NAME), so that its table of runs is the project's table of results; the lab's claims, which
have no curves, are in another, `cnnkeras lab`. Everything that is written can be written again: what is there already is left alone, so
an interrupted log is completed by the next.

Tags by which runs are found again:
    cnnkeras.training: `fingerprints.training_fingerprint`; set by `pipeline.tracking.live` when the training starts.
    cnnkeras.fingerprint: `fingerprints.result_fingerprint`; set by `cnnkeras log`.
"""

import contextlib
import fcntl
import getpass
import json
import logging
import os
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

# MLflow's own limits are 7 retries of 120 s. Until a server has answered once it gets one short try; then it may be slow, for
# example to store a network of 500 MB.
_FIRST_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
for _key, _value in {
    **_LIMITS,
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}.items():
    os.environ.setdefault(_key, _value)

import mlflow
from mlflow import entities
from mlflow.exceptions import MlflowException, RestException
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

import cnnkeras
from pipeline.runtime.errors import InputError, first_reason
from pipeline.tracking import provenance, serving

FINGERPRINT = "cnnkeras.fingerprint"
TRAINING = "cnnkeras.training"
EXPERIMENT = "cnnkeras.experiment"

Run = entities.Run
Points = Mapping[tuple[str, int], float]  # (metric, step) -> value

_METRICS_PER_BATCH = 1000  # MLflow's limits
_PARAMS_PER_BATCH = 100
_PARAM_LENGTH = 6000

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# What goes wrong in a database is raised as well, and need not fill the terminal.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def store_uri() -> str:
    """Address of the tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{provenance.home() / 'mlflow.db'}"


def artifacts_uri() -> str:
    """Address of the folder that holds the files of the project's own store."""
    return (provenance.home() / "mlartifacts").as_uri()


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Keep other processes of this project, `dvc exp run --temp` included, from deciding which runs there are."""
    file = provenance.home() / ".cnnkeras" / "mlflow.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


class Store:
    """A tracking store that has answered. Open it within `exclusive()`: two processes must not create it at once.

    Args:
        part: Ends the name of the MLflow experiment: what is no experiment of params.yaml has a table of its own.

    Raises:
        InputError: It does not answer within seconds, or cannot be used.
    """

    def __init__(self, part: str = "") -> None:
        self.uri = store_uri()
        try:
            with _first_limits():
                self.client = mlflow.MlflowClient(self.uri)
                self.experiment_id = self._find_or_create_experiment(part)
        except (MlflowException, SQLAlchemyError, ImportError) as error:
            raise InputError(
                f"expected a usable MLflow store at {self.uri}; received: {first_reason(error)}. "
                "Start the server, or correct or unset MLFLOW_TRACKING_URI, and log again"
            ) from error

    def _find_or_create_experiment(self, part: str) -> str:
        name = " ".join(filter(None, (os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cnnkeras", part)))
        if found := self.client.get_experiment_by_name(name):
            if found.lifecycle_stage == entities.LifecycleStage.DELETED:
                self.client.restore_experiment(found.experiment_id)  # its name cannot be given to another one
            return found.experiment_id
        return self.client.create_experiment(
            name,
            artifact_location=None if os.environ.get("MLFLOW_TRACKING_URI") else artifacts_uri(),
            # Tells the UI that this is not about language models.
            tags={"mlflow.experimentKind": "custom_model_development"},
        )

    def find(self, **tags: str) -> list[Run]:
        """Runs that carry all these tags, newest first; the key `training` is the tag `cnnkeras.training`."""
        conditions = [f"tags.`cnnkeras.{key}` = '{value}'" for key, value in tags.items()]
        return list(
            self.client.search_runs(
                [self.experiment_id], " and ".join(conditions), order_by=["attributes.start_time DESC"]
            )
        )

    def unlogged(self, training: str) -> list[Run]:
        """Runs that `pipeline.tracking.live` made for a training and that show no result yet, newest first."""
        return [run for run in self.find(training=training) if FINGERPRINT not in run.data.tags]

    def create(self, name: str, tags: Mapping[str, str]) -> Run:
        """Create a run with status RUNNING."""
        return self.client.create_run(
            self.experiment_id,
            run_name=name,
            tags={**_user(), "mlflow.source.type": "LOCAL", **tags},
        )

    def points(self, run: Run) -> dict[tuple[str, int], float]:
        """All values of all metrics of a run."""
        histories = (self.client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
        return {(metric.key, metric.step): metric.value for history in histories for metric in history}

    def log_points(self, run_id: str, points: Points, **belongs_to: str | None) -> None:
        """Log metrics.

        Args:
            run_id: Of the run.
            points: Finite values by metric and step; MLflow draws no others.
            belongs_to: `model_id`, `dataset_name` and `dataset_digest` of what was measured.
        """
        now = int(time.time() * 1000)
        metrics = [entities.Metric(key, value, now, step, **belongs_to) for (key, step), value in points.items()]
        for start in range(0, len(metrics), _METRICS_PER_BATCH):
            self.client.log_batch(run_id, metrics=metrics[start : start + _METRICS_PER_BATCH])

    def log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Log params; the ones that the run has already are the same or cannot be changed."""
        new = [
            entities.Param(key, value[:_PARAM_LENGTH]) for key, value in params.items() if key not in run.data.params
        ]
        for start in range(0, len(new), _PARAMS_PER_BATCH):
            self.client.log_batch(run.info.run_id, params=new[start : start + _PARAMS_PER_BATCH])

    def log_dataset(self, run_id: str, *, name: str, digest: str, source: str, schema: Any, profile: Any) -> None:
        """Log the data that a run was trained on; the digest has at most 36 characters."""
        dataset = entities.Dataset(
            name, digest, "local", json.dumps({"uri": source}), json.dumps(schema), json.dumps(profile)
        )
        self.client.log_inputs(
            run_id, [entities.DatasetInput(dataset, [entities.InputTag("mlflow.data.context", "training")])]
        )

    def log_network(
        self, run: Run, *, name: str, file: Path, example: np.ndarray, output_shape: tuple[int, ...]
    ) -> str:
        """Log a `.keras` file as a model that `mlflow.pyfunc.load_model` can load, without loading it; returns its id.

        `mlflow.pyfunc.log_model` would load it to try its example.

        Args:
            run: That made it; the model gets its params.
            name: Of the model.
            file: The network in Keras' format.
            example: Inputs (n, ...) that the model takes.
            output_shape: Of one output.
        """
        for left in self.client.search_logged_models([self.experiment_id], f"source_run_id = '{run.info.run_id}'"):
            if left.status == entities.LoggedModelStatus.READY:
                return left.model_id
            self.client.delete_logged_model(left.model_id)  # half-written when an earlier log was interrupted
        params = self.client.get_run(run.info.run_id).data.params
        logged = self.client.create_logged_model(self.experiment_id, name, run.info.run_id, params=params)
        inputs = TensorSpec(example.dtype, (-1, *example.shape[1:]))
        outputs = TensorSpec(np.dtype(np.float32), (-1, *output_shape))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            mlflow.pyfunc.save_model(
                folder,
                mlflow_model=Model(
                    artifact_path=logged.artifact_location,
                    run_id=run.info.run_id,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                ),
                python_model=serving.__file__,
                artifacts={"network": str(file)},
                code_paths=[str(Path(cnnkeras.__file__).parent)],
                signature=ModelSignature(Schema([inputs]), Schema([outputs])),
                input_example=example,
                pip_requirements=_requirements(),
            )
            self.client.log_model_artifacts(logged.model_id, str(folder))
        self.client.finalize_logged_model(logged.model_id, "READY")
        self.client.log_outputs(run.info.run_id, [entities.LoggedModelOutput(logged.model_id, step=0)])
        return logged.model_id

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags of a run."""
        self.client.log_batch(run_id, tags=[entities.RunTag(key, value) for key, value in tags.items()])


@contextlib.contextmanager
def _first_limits() -> Iterator[None]:
    """Have MLflow, which reads its limits at every request, try once and shortly; limits that the user has set stay."""
    ours = {key: value for key, value in _LIMITS.items() if os.environ.get(key) == value}
    os.environ.update({key: _FIRST_LIMITS[key] for key in ours})
    try:
        yield
    finally:
        os.environ.update(ours)


@contextlib.contextmanager
def outage_is_input_error(uri: str) -> Iterator[None]:
    """Turn the end of a conversation with a tracking server into one clear line; other failures stay what they are."""
    try:
        yield
    except (MlflowException, RequestException) as error:
        if not urllib.parse.urlsplit(uri).scheme.startswith("http") or isinstance(error, RestException):
            raise
        raise InputError(
            f"expected the tracking server at {uri} to go on answering; received: {first_reason(error)}. "
            "Log again: what is there already is kept"
        ) from error


def _user() -> dict[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}  # a container may run as a user that the system does not know


def _requirements() -> list[str]:
    """What loading the network takes, in the versions that are installed here."""
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
