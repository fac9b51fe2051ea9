"""A run in the tracking store: reading it, adding to it, ending it. Content that the run already has is not changed."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import mlflow
from mlflow import entities

from pipeline.runtime.printable import without_secrets
from pipeline.tracking import provenance
from pipeline.tracking.curves import Points
from pipeline.tracking.models import TrainedModel, add_model

Ending = Literal["finished", "failed", "killed"]

_METRICS_PER_BATCH = 1000  # MLflow's limits
_PARAMS_PER_BATCH = 100
_PARAM_LENGTH = 6000


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

    def __init__(self, client: mlflow.MlflowClient, run: entities.Run):
        self._client, self._run, self.id = client, run, run.info.run_id

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

    def points(self) -> dict[tuple[str, int], float]:
        """All values of all metrics, by (metric, step)."""
        histories = (self._client.get_metric_history(self.id, key) for key in self._run.data.metrics)
        return {(metric.key, metric.step): metric.value for history in histories for metric in history}

    def begin(self, name: str | None = None) -> None:
        """Mark the run as running, and rename it if a name is given."""
        self._client.update_run(self.id, status="RUNNING", name=name)

    def finish(self, ending: Ending = "finished") -> None:
        """Mark the run as ended in this way."""
        self._client.set_terminated(self.id, ending.upper())

    def delete(self) -> None:
        """Delete the run."""
        self._client.delete_run(self.id)

    def describe(self, facts: Mapping[str, str], *, command: str, description: str) -> None:
        """Set the run's tags.

        Args:
            facts: Each becomes a tag `cnnkeras.KEY`; `git_commit` is also shown as the source's version.
            command: Command that logs the result.
            description: Markdown at the top of the run's page.
        """
        tags = {f"cnnkeras.{key}": value for key, value in facts.items()}
        tags |= {"mlflow.source.name": command, "mlflow.note.content": description}
        if "git_commit" in facts:
            tags["mlflow.source.git.commit"] = facts["git_commit"]
        self._client.log_batch(
            self.id, tags=[entities.RunTag(key, without_secrets(value)) for key, value in tags.items()]
        )

    def add_params(self, params: Mapping[str, str]) -> None:
        """Add the params that the run does not have yet; MLflow does not allow changing the others."""
        new = [
            entities.Param(key, value[:_PARAM_LENGTH])
            for key, value in params.items()
            if key not in self._run.data.params
        ]
        for start in range(0, len(new), _PARAMS_PER_BATCH):
            self._client.log_batch(self.id, params=new[start : start + _PARAMS_PER_BATCH])

    def add_points(self, points: Points, *, model_id: str | None = None, data: Data | None = None) -> None:
        """Add values of metrics.

        Args:
            points: Values by (metric, step); finite, as MLflow draws no others.
            model_id: Id of the measured model.
            data: Dataset that the values belong to.
        """
        belongs_to = {"model_id": model_id} if model_id else {}
        if data:
            belongs_to |= {"dataset_name": data.name, "dataset_digest": data.digest}
        now = int(time.time() * 1000)
        metrics = [entities.Metric(key, value, now, step, **belongs_to) for (key, step), value in points.items()]
        for start in range(0, len(metrics), _METRICS_PER_BATCH):
            self._client.log_batch(self.id, metrics=metrics[start : start + _METRICS_PER_BATCH])

    def add_files(self, path: Path, folder: str | None = None) -> None:
        """Add a file, or all files below a folder, to a folder of the run; None for the run's top folder.

        File by file: MLflow copies a file beside its place and then renames it, but writes a folder's files in place, which fails where an
        interrupted `log` has left a copy that is read-only, as DVC's links are.
        """
        files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
        with provenance.in_home():
            for file in files:
                below = file.parent.relative_to(path if path.is_dir() else file.parent)
                place = PurePosixPath(folder or "", *below.parts).as_posix()
                self._client.log_artifact(self.id, str(file), None if place == "." else place)

    def add_model(self, trained: TrainedModel) -> str:
        """Add a trained model; returns its id."""
        return add_model(self._client, self._run, trained)

    def add_data(self, data: Data) -> None:
        """Add the dataset that the model was trained on."""
        tensor = {"dtype": data.dtype, "shape": [-1, *data.shape]}
        inputs = [{"name": "inputs", "type": "tensor", "tensor-spec": tensor}]
        schema = {"mlflow_tensorspec": {"features": json.dumps(inputs), "targets": None}}
        source, profile = {"uri": data.source}, data.profile
        dataset = entities.Dataset(data.name, data.digest, "local", *map(json.dumps, (source, schema, profile)))
        context = entities.InputTag("mlflow.data.context", "training")
        self._client.log_inputs(self.id, [entities.DatasetInput(dataset, [context])])
