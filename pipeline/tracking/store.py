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
from collections.abc import Iterator, Mapping

import mlflow
from mlflow import entities
from mlflow.exceptions import MlflowException
from requests import RequestException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError, first_reason
from pipeline.runtime.printable import without_secrets
from pipeline.tracking import LIMITS, own_store
from pipeline.tracking.runs import Run

# The first request gets one short try; later requests may take longer, for example to store a model of 500 MB.
_FIRST_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)
# This logger repeats errors of the database that are raised as exceptions.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


_REPAIR_OWN = f"Move {own_store.DATABASE} away if it is damaged: a new one gets every result"


def store_uri() -> str:
    """Address of the tracking store."""
    return os.environ.get("MLFLOW_TRACKING_URI") or own_store.address()


def is_own() -> bool:
    """Whether the tracking store is the project's own."""
    return not os.environ.get("MLFLOW_TRACKING_URI")


@contextlib.contextmanager
def exclusive() -> Iterator[None]:
    """Hold a lock, so that no other process of this project, `dvc exp run --temp` included, finds or creates runs meanwhile."""
    file = paths.home() / ".cnnkeras" / "mlflow.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# What a store, its database or the way to its server raises. MLflow raises a ValueError where an answer is not what it expects.
FAILURES = (MlflowException, SQLAlchemyError, RequestException, sqlite3.Error, ImportError, OSError, ValueError)


class StoreError(InputError):
    """The store cannot be used now. What is to be shown waits; only what needs the store itself fails."""


class Store:
    """A tracking store that has answered. Create it inside `exclusive()`: two processes must not create the database at once.

    Args:
        part: Last word of the MLflow experiment's name: "" for results of experiments, "lab" for claims.

    Attributes:
        uri: Address of the store.
        place: The same for people.
        experiment_id: Id of the MLflow experiment.

    Raises:
        StoreError: The store does not answer within seconds, or cannot be used.
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
        except FAILURES as error:
            raise StoreError(
                f"expected a usable MLflow store at {self.place}; received: {first_reason(error)}. "
                + (_REPAIR_OWN if is_own() else "Start the server, or correct or unset MLFLOW_TRACKING_URI")
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
            artifact_location=str(paths.home() / own_store.FILES) if is_own() else None,
            # Tells the UI that this is not about language models.
            tags={"mlflow.experimentKind": "custom_model_development"},
        )

    def shown(self) -> set[str]:
        """Fingerprints of all results that a finished run shows."""
        return {
            run.fact("fingerprint") for run in self._search("tags.`cnnkeras.fingerprint` LIKE '%'") if run.is_finished
        }

    def find(self, **facts: str) -> list[Run]:
        """Runs with all these tags, newest first: `training`, `fingerprint` or `experiment`."""
        return self._search(" and ".join(f"tags.`cnnkeras.{key}` = '{value}'" for key, value in facts.items()))

    def _search(self, conditions: str) -> list[Run]:
        runs, token = [], None
        while True:
            page = self._client.search_runs(
                [self.experiment_id],
                conditions,
                max_results=1000,
                order_by=["attributes.start_time DESC"],
                page_token=token,
            )
            runs += [Run(self._client, run) for run in page]
            token = page.token
            if not token:
                return runs

    def unlogged(self, training: str) -> list[Run]:
        """Runs that `pipeline.tracking.live` made for a training and that show no result yet, newest first."""
        return [run for run in self.find(training=training) if run.fact("fingerprint") is None]

    def running(self) -> list[Run]:
        """Runs that show a training and are marked as running."""
        return self._search("tags.`cnnkeras.training` LIKE '%' and attributes.status = 'RUNNING'")

    def tag(self, key: str, value: str) -> None:
        """Give the MLflow experiment a tag."""
        self._client.set_experiment_tag(self.experiment_id, key, value)

    def create(self, name: str, start: int, tags: Mapping[str, str]) -> Run:
        """Create a run, marked as running, that began at a time in milliseconds since 1970."""
        tags = {
            key: without_secrets(value) for key, value in {**_user(), "mlflow.source.type": "LOCAL", **tags}.items()
        }
        run = self._client.create_run(self.experiment_id, start, tags, name)
        return Run(self._client, run, is_new=True)


@contextlib.contextmanager
def _first_limits() -> Iterator[None]:
    """Let MLflow try once, for a short time, while the block runs; limits that the user has set stay. MLflow reads them at each request."""
    ours = {key: value for key, value in LIMITS.items() if os.environ.get(key) == value}
    os.environ.update({key: _FIRST_LIMITS[key] for key in ours})
    try:
        yield
    finally:
        os.environ.update(ours)


def _user() -> Mapping[str, str]:
    try:
        return {"mlflow.user": getpass.getuser()}
    except (KeyError, OSError):
        return {}  # a container may run as a user that the system does not know
