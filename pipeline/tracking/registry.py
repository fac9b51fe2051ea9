"""Models in MLflow's registry: a logged model gets a name and an alias, so that `models:/NAME@ALIAS` loads it."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError, first_reason
from pipeline.runtime.seals import Seals
from pipeline.tracking import fingerprints, records, results
from pipeline.tracking.runs import Run
from pipeline.tracking.store import FAILURES, Store, exclusive

_VERSIONS = "mlflow.modelVersions"  # the tag by which MLflow's UI shows on a logged model where it is registered
_MISSING = "RESOURCE_DOES_NOT_EXIST"


@dataclass(frozen=True)
class Promoted:
    """What an alias names now.

    Attributes:
        version: Of the registered model.
        former: The version that had the alias before; None: none had.
        place: The store, for people.
    """

    version: int
    former: int | None
    place: str


def promote(params: Params, experiment: str, name: str, alias: str) -> Promoted:
    """Register the logged model of an experiment's result of now, unless it is, and give its version an alias.

    Args:
        params: All of params.yaml.
        experiment: Entry under `experiments:`. With several seeds, the model of the first.
        name: Of the registered model; it is made if there is none.
        alias: One version of a registered model has it.

    Raises:
        InputError: The result is not there, not logged, or from before a change, or the store does not answer.
    """
    fingerprint = _fingerprint(params, experiment)
    with exclusive():
        store = Store()
        try:
            run = _run(store, experiment, fingerprint)
            model = run.model()
            if model is None:
                raise InputError(
                    f"expected the model of {experiment} in {store.place}; received: a run without one. Delete the run {run.id} "
                    f"there, and run `cnnkeras log {experiment}`"
                )
            client = mlflow.MlflowClient(store.uri)
            former = _version_of(client, name, alias)
            version = _registered(client, run, model, name)
            if version != former:
                client.set_registered_model_alias(name, alias, str(version))
        except InputError:
            raise
        except FAILURES as error:
            raise InputError(
                f"expected {store.place} to register {experiment} as {name}; received: {first_reason(error)}"
            ) from error
    return Promoted(version, former, store.place)


def _fingerprint(params: Params, experiment: str) -> str:
    """Fingerprint of the result of now, that of the first seed where there are several."""
    for path in results.inputs(params, experiment):
        if not path.exists():
            raise InputError(
                f"expected the result of {experiment}; received: no {path.relative_to(paths.root())}. Run `dvc repro log@{experiment}` first"
            )
    seals = Seals(params)
    for path in results.inputs(params, experiment):
        seals.require(path, f"promote {experiment}")
    if len(params.repeats(experiment)) == 1:
        return fingerprints.result_fingerprint(params, experiment)
    return results.all_of_experiment(params, experiment)[1].facts["fingerprint"]


def _run(store: Store, experiment: str, fingerprint: str) -> Run:
    finished = [run for run in store.find(fingerprint=fingerprint) if run.is_finished]
    if finished:
        return finished[0]
    if records.is_waiting(fingerprint):
        raise InputError(
            f"expected the result of {experiment} in {store.place}; received: one that waits to be sent. Run `cnnkeras log` first"
        )
    raise InputError(
        f"expected the result of {experiment} in {store.place}; received: none that was logged as it is now. "
        f"Run `cnnkeras log {experiment}` first"
    )


def _version_of(client: mlflow.MlflowClient, name: str, alias: str) -> int | None:
    """The version that has an alias; None: there is none."""
    try:
        return {key: int(version) for key, version in client.get_registered_model(name).aliases.items()}.get(alias)
    except MlflowException as error:
        if error.error_code != _MISSING:
            raise
        client.create_registered_model(name)
        return None


def _registered(client: mlflow.MlflowClient, run: Run, model: str, name: str) -> int:
    """The version of a registered model that is a logged one; it is made if there is none."""
    source = f"models:/{model}"
    known = [version for version in client.search_model_versions(f"name = '{name}'") if version.source == source]
    if known:
        return max(int(version.version) for version in known)
    tags = {f"cnnkeras.{key}": run.fact(key) for key in ("experiment", "fingerprint")}
    with _default_store(client.tracking_uri):
        version = client.create_model_version(name, source, run.id, tags, model_id=model)
    shown, this = json.loads(client.get_logged_model(model).tags.get(_VERSIONS, "[]")), int(version.version)
    if {"name": name, "version": this} not in shown:  # a server has set it
        client.set_logged_model_tags(model, {_VERSIONS: json.dumps([*shown, {"name": name, "version": this}])})
    return this


@contextlib.contextmanager
def _default_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's own default while the block runs: a database looks there for the logged model that a version is of."""
    stated = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri
    try:
        yield
    finally:
        del os.environ["MLFLOW_TRACKING_URI"]
        if stated is not None:
            os.environ["MLFLOW_TRACKING_URI"] = stated
