"""The tracking store and the runs in it.

The store is `mlflow.db` with `mlartifacts/` in the project's folder, or the store that MLFLOW_TRACKING_URI names. All results of
experiments and ensembles are in one MLflow experiment, `cnnkeras` (or MLFLOW_EXPERIMENT_NAME), so that its table of runs is the
project's table of results. The results of the lab, which have no curves, are in another one, `cnnkeras lab`.

Runs are found again by tags:
    cnnkeras.training: `fingerprints.training_fingerprint`; set by `live` when the training starts.
    cnnkeras.fingerprint: `fingerprints.result_fingerprint`, or `claim_fingerprint`; set by `results` when the result is logged.
"""

import contextlib
import fcntl
import getpass
import logging
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator, Mapping

import mlflow
from mlflow import entities
from mlflow.exceptions import MlflowException, RestException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.runtime.errors import InputError, first_reason
from pipeline.tracking import LIMITS, own_store, provenance
from pipeline.tracking.runs import Run

# The first request gets one short try; later requests may take longer, for example to store a model of 500 MB.
_FIRST_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# This logger repeats errors of the database that are raised as exceptions.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def store_uri() -> str:
    """Address of the tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_store.address()


def is_own() -> bool:
    """Whether the tracking store is the project's own."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold a lock, so that no other process of this project, `dvc exp run --temp` included, finds or creates runs meanwhile."""
    file = provenance.home() / ".cnnkeras" / "mlflow.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Store:
    """A tracking store that has answered. Create it inside `exclusive()`: two processes must not create the database at once.

    Args:
        part: Last word of the MLflow experiment's name: "" for results of experiments, "lab" for claims.

    Attributes:
        uri: Address of the store.
        place: The same for people.
        experiment_id: Id of the MLflow experiment.

    Raises:
        InputError: The store does not answer within seconds, or cannot be used.
    """

    def __init__(self, part: str = "") -> None:
        self.uri = store_uri()
        self.place = own_store.DATABASE if is_own() else self.uri
        try:
            with _first_limits():
                self._client = mlflow.MlflowClient(self.uri)
                self.experiment_id = self._find_or_create_experiment(part)
                if is_own():
                    own_store.forget_place()
        except (MlflowException, SQLAlchemyError, sqlite3.Error, ImportError) as error:
            raise InputError(
                f"expected a usable MLflow store at {self.place}; received: {first_reason(error)}. "
                "Start the server, or correct or unset MLFLOW_TRACKING_URI, and log again"
            ) from error

    def _find_or_create_experiment(self, part: str) -> str:
        name = " ".join(filter(None, (os.environ.get("MLFLOW_EXPERIMENT_NAME") or "cnnkeras", part)))
        if experiment := self._client.get_experiment_by_name(name):
            if experiment.lifecycle_stage == entities.LifecycleStage.DELETED:
                self._client.restore_experiment(
                    experiment.experiment_id
                )  # a new one cannot have the name of a deleted one
            return experiment.experiment_id
        return self._client.create_experiment(
            name,
            artifact_location=str(provenance.home() / own_store.FILES) if is_own() else None,
            # Tells the UI that this is not about language models.
            tags={"mlflow.experimentKind": "custom_model_development"},
        )

    def find(self, **facts: str) -> list[Run]:
        """Runs with all these tags, newest first: `training`, `fingerprint` or `experiment`."""
        conditions = [f"tags.`cnnkeras.{key}` = '{value}'" for key, value in facts.items()]
        runs = self._client.search_runs(
            [self.experiment_id], " and ".join(conditions), order_by=["attributes.start_time DESC"]
        )
        return [Run(self._client, run) for run in runs]

    def unlogged(self, training: str) -> list[Run]:
        """Runs that `pipeline.tracking.live` made for a training and that show no result yet, newest first."""
        return [run for run in self.find(training=training) if run.fact("fingerprint") is None]

    def create(self, name: str, **facts: str) -> Run:
        """Create a run with these facts as tags; it is marked as running."""
        tags = {**_user(), "mlflow.source.type": "LOCAL", **{f"cnnkeras.{key}": value for key, value in facts.items()}}
        return Run(self._client, self._client.create_run(self.experiment_id, run_name=name, tags=tags))


@contextlib.contextmanager
def _first_limits() -> Iterator[None]:
    """Let MLflow try once, for a short time, while the block runs; limits that the user has set stay. MLflow reads them at each request."""
    ours = {key: value for key, value in LIMITS.items() if os.environ.get(key) == value}
    os.environ.update({key: _FIRST_LIMITS[key] for key in ours})
    try:
        yield
    finally:
        os.environ.update(ours)


@contextlib.contextmanager
def outage_is_input_error(uri: str) -> Iterator[None]:
    """Turn exceptions that mean that the tracking server stopped answering into an `InputError`; other exceptions pass unchanged."""
    try:
        yield
    except (MlflowException, RequestException) as error:
        if not urllib.parse.urlsplit(uri).scheme.startswith("http") or isinstance(error, RestException):
            raise
        raise InputError(
            f"expected the tracking server at {uri} to go on answering; received: {first_reason(error)}. "
            "Log again: what is there already is kept"
        ) from error


def _user() -> Mapping[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}  # a container may run as a user that the system does not know
