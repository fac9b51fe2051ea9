"""A run in the tracking store: reading it, adding to it, ending it. Adding what the run has already changes nothing."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow import entities

from pipeline.runtime.printable import without_secrets
from pipeline.tracking import own_store
from pipeline.tracking.curves import Dated
from pipeline.tracking.models import name_model

_PARAM_LENGTH = 6000  # MLflow's limit
_UPLOADS = 8  # files on their way to a server at a time: with a slow one, waiting is all that takes time


@dataclass(frozen=True)
class Data:
    """The dataset that a run was trained on.

    Attributes:
        name: Name of the dataset.
        digest: DVC's hash of the packed dataset; MLflow takes at most 36 characters.
        source: Folder of the packed dataset, relative to the project's.
        dtype: NumPy's name for the dtype of the inputs.
        shape: Shape of one input.
        profile: Numbers to show: examples in each split, classes.
    """

    name: str
    digest: str
    source: str
    dtype: str
    shape: tuple[int, ...]
    profile: Mapping[str, Any]


class Run:
    """A run in the tracking store. Its properties are those at the time when it was found or created; its methods change the store."""

    def __init__(self, client: mlflow.MlflowClient, run: entities.Run, *, is_new: bool = False):
        self._client, self._run, self._is_new, self.id = client, run, is_new, run.info.run_id

    @property
    def is_running(self) -> bool:
        """Whether the run is marked as running: it is being written, or its writer was interrupted."""
        return self._run.info.status == "RUNNING"

    @property
    def is_finished(self) -> bool:
        """Whether the run is marked as finished: all of the result is logged."""
        return self._run.info.status == "FINISHED"

    def fact(self, key: str) -> str | None:
        """Value of the tag `cnnkeras.KEY`; None if the run does not have it."""
        return self._run.data.tags.get(f"cnnkeras.{key}")

    def points(self) -> Dated:
        """All points of all metrics: a request for each metric."""
        histories = (self._client.get_metric_history(self.id, key) for key in self._run.data.metrics)
        return [
            (metric.key, metric.step, metric.value, metric.timestamp) for history in histories for metric in history
        ]

    def begin(self, name: str | None = None) -> None:
        """Mark the run as running, and rename it if a name is given. Why it failed before is no longer true."""
        if self.fact("reason"):
            self._client.delete_tag(self.id, "cnnkeras.reason")
        self._client.update_run(self.id, status="RUNNING", name=name)

    def finish(self, ending: str, end: int) -> None:
        """Mark the run as ended: how, `finished`, `failed` or `killed`, and when, in milliseconds since 1970."""
        self._client.set_terminated(self.id, ending.upper(), end)

    def delete(self) -> None:
        """Delete the run."""
        self._client.delete_run(self.id)

    def add(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        points: Sequence[tuple[str, int, float, int]] = (),
        model_id: str | None = None,
        data: Data | None = None,
    ) -> None:
        """Add everything that is small, in one request (MLflow takes more for over 100 params or 1,000 points).

        Args:
            tags: Tags by key.
            params: Params as text, by key; those that the run has cannot be changed.
            points: Points of metrics; finite, as MLflow draws no others.
            model_id: Id of the model that the points of figures of merit (step 0) are of.
            data: Dataset that they belong to.
        """
        belongs_to = {"model_id": model_id} if model_id else {}
        belongs_to |= {"dataset_name": data.name, "dataset_digest": data.digest} if data else {}
        self._client.log_batch(
            self.id,
            tags=[entities.RunTag(key, without_secrets(value)) for key, value in (tags or {}).items()],
            params=[
                entities.Param(key, without_secrets(value)[:_PARAM_LENGTH])
                for key, value in (params or {}).items()
                if key not in self._run.data.params
            ],
            metrics=[
                entities.Metric(key, value, time, step, **({} if step else belongs_to))
                for key, step, value, time in points
            ],
        )

    def add_files(self, folder: Path) -> None:
        """Add all files below a folder, to the same places in the run."""
        _upload(folder, partial(self._client.log_artifact, self.id))

    def add_model(self, name: str, folder: Path, params: Mapping[str, str]) -> str:
        """Add a model in MLflow's format, with params; returns its id. Ids are written into the folder."""
        experiment = self._run.info.experiment_id
        if not self._is_new:
            for former in self._models():
                if former.status == entities.LoggedModelStatus.READY:
                    return former.model_id
                self._client.delete_logged_model(former.model_id)  # incomplete: an earlier `log` was interrupted
        logged = self._client.create_logged_model(experiment, name, self.id, params=dict(params))
        name_model(folder, logged)
        _upload(folder, partial(self._client.log_model_artifact, logged.model_id))
        self._client.finalize_logged_model(logged.model_id, "READY")
        self._client.log_outputs(self.id, [entities.LoggedModelOutput(logged.model_id, step=0)])
        return logged.model_id

    def model(self) -> str | None:
        """Id of the run's model; None if it has none that is complete."""
        ready = (model.model_id for model in self._models() if model.status == entities.LoggedModelStatus.READY)
        return next(ready, None)

    def _models(self) -> list[entities.LoggedModel]:
        return self._client.search_logged_models([self._run.info.experiment_id], f"source_run_id = '{self.id}'")

    def add_data(self, data: Data) -> None:
        """Add the dataset that the model was trained on."""
        tensor = {"dtype": data.dtype, "shape": [-1, *data.shape]}
        inputs = [{"name": "inputs", "type": "tensor", "tensor-spec": tensor}]
        schema = {"mlflow_tensorspec": {"features": json.dumps(inputs), "targets": None}}
        source, profile = {"uri": data.source}, data.profile
        dataset = entities.Dataset(data.name, data.digest, "local", *map(json.dumps, (source, schema, profile)))
        context = entities.InputTag("mlflow.data.context", "training")
        self._client.log_inputs(self.id, [entities.DatasetInput(dataset, [context])])


def _upload(folder: Path, send: Callable[[str, str | None], None]) -> None:
    """Call `send(file, place)` for each file below a folder; `place` is its folder below that folder, None for that folder itself.

    File by file: MLflow copies a file beside its place and then renames it, but writes a folder's files in place, where a copy
    of an interrupted `log` may be read-only; and it sends a folder's files to a server one after another.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    places = [file.parent.relative_to(folder).as_posix() for file in files]
    tasks = [(str(file), None if place == "." else place) for file, place in zip(files, places, strict=True)]
    with own_store.in_home(), ThreadPoolExecutor(_UPLOADS) as threads:
        for file, place in tasks[:1]:
            send(file, place)  # MLflow asks for the run's address once, and remembers it
        for sent in [threads.submit(send, *task) for task in tasks[1:]]:
            sent.result()
