"""Stage `log`: show a result in MLflow, once, however often it is logged.

A result is everything that `fingerprints.result_fingerprint` covers. Its run is found by that fingerprint; a finished one
is left alone, one that an interrupted log left is completed, and otherwise the run that showed the training's curves while
it ran becomes the run of its first result. The receipt that the stage leaves holds no run id, which would differ from one store
to the next.
"""

import json
import math
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cnnkeras import architectures
from pipeline.formats import packed
from pipeline.formats.metrics import read_metrics
from pipeline.params import Params, load_params, output_shape
from pipeline.runtime import paths
from pipeline.runtime.guard import stage
from pipeline.tracking import fingerprints, live, provenance
from pipeline.tracking import store as tracking

_LARGEST_FILE = 10_000_000  # bytes of a predictions file that is logged as it is, so that the UI can show it
_LIVE_SECONDS = 5  # to wait for the process that shows the curves of a training that has just ended


@dataclass(frozen=True)
class _Result:
    """What is to be shown, read from the local files; `training` is None for an ensemble, which has none."""

    experiment: str
    params: Params
    fingerprint: str
    training: str | None
    metrics: dict[str, float]
    curves: tracking.Points

    @property
    def run_name(self) -> str:
        return f"{self.experiment}-{self.fingerprint[:8]}"

    @property
    def dataset(self) -> str:
        return self.params.measured(self.experiment).dataset


def run(experiment: str) -> None:
    """Log an experiment's or ensemble's result to MLflow and leave a receipt, `results/EXPERIMENT/mlflow.json`.

    Raises:
        InputError: Something is missing, or the tracking server does not answer.
    """
    params = load_params()
    trained = () if experiment in params.ensembles else (paths.model_folder, paths.history)
    made = (*trained, paths.predictions, paths.metrics, paths.plots, paths.figures)
    dataset = params.measured(experiment).dataset
    inputs = [paths.augmented(dataset), paths.dataset_report(dataset), *(place(experiment) for place in made)]
    with stage(params.stage("log", experiment), experiment, inputs=inputs, outputs=[paths.receipt(experiment)]) as (
        receipt,
    ):
        result = _read(params, experiment)
        with tracking.exclusive():
            store = tracking.Store()
            with tracking.outage_is_input_error(store.uri):
                is_new = _show(store, result)
        facts = {"experiment": experiment, "fingerprint": result.fingerprint, "run_name": result.run_name}
        receipt.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    verb = "logged" if is_new else "was logged already"
    Console().print(f"{experiment}: {verb} as {result.run_name} in {store.uri}", soft_wrap=True, highlight=False)


def _read(params: Params, experiment: str) -> _Result:
    is_trained = experiment not in params.ensembles
    return _Result(
        experiment=experiment,
        params=params,
        fingerprint=fingerprints.result_fingerprint(params, experiment),
        training=fingerprints.training_fingerprint(params, experiment) if is_trained else None,
        metrics=_figures_of_merit(read_metrics(paths.metrics(experiment))),
        curves=live.read_points(paths.history(experiment)) if is_trained else {},
    )


def _figures_of_merit(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The fractions that metrics.json opens with.

    Its rows per class are left to the artifacts plots/ and figures/: as metrics, the UI would draw a chart for every class
    above those of the result.
    """
    return {key: value for key, value in metrics.items() if isinstance(value, float) and math.isfinite(value)}


def _show(store: tracking.Store, result: _Result) -> bool:
    """Make sure that one finished run shows the result; returns whether there was none."""
    found = store.find(fingerprint=result.fingerprint)
    is_new = not any(run.info.status == "FINISHED" for run in found)
    if is_new:
        run = found[0] if found else _adopt(store, result) or store.create(result.run_name, {})
        _complete(store, run, result)
    for left in store.unlogged(result.training) if result.training else ():
        if left.info.status != "RUNNING":  # the curves of a repetition: the same result, or not one that can be shown
            store.client.delete_run(left.info.run_id)
    return is_new


def _adopt(store: tracking.Store, result: _Result) -> tracking.Run | None:
    """The run that showed this result's training while it ran."""
    if result.training is None:
        return None
    deadline = time.monotonic() + _LIVE_SECONDS
    while any(run.info.status == "RUNNING" for run in store.unlogged(result.training)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for run in store.unlogged(result.training):
        if all(result.curves.get(place) == value for place, value in store.points(run).items()):
            return run
    return None


def _complete(store: tracking.Store, run: tracking.Run, result: _Result) -> None:
    """Log whatever the run does not show yet. Its status says FINISHED only when everything is there."""
    run_id = run.info.run_id
    store.set_tags(run_id, _tags(result))
    store.client.update_run(run_id, status="RUNNING", name=result.run_name)
    store.log_params(run, fingerprints.result_params(result.params, result.experiment))
    shown = store.points(run)
    store.log_points(run_id, {place: value for place, value in result.curves.items() if place not in shown})
    _log_files(store, run_id, result.experiment)
    store.client.log_artifacts(run_id, str(paths.dataset_report(result.dataset)), "dataset")
    folder = paths.augmented(result.dataset)
    digest = provenance.dvc_hash(folder)
    store.log_dataset(run_id, name=result.dataset, digest=digest, **_data(folder))
    network = {"model_id": _log_network(store, run, result)} if result.training else {}
    final = {(key, 0): value for key, value in result.metrics.items()}
    store.log_points(run_id, final, **network, dataset_name=result.dataset, dataset_digest=digest)
    store.client.set_terminated(run_id, "FINISHED")


def _log_network(store: tracking.Store, run: tracking.Run, result: _Result) -> str:
    return store.log_network(
        run,
        name=result.experiment,
        file=paths.model_file(result.experiment),
        example=np.array(packed.open_split(paths.augmented(result.dataset), "test")["inputs"][:1]),
        output_shape=_output_shape(result),
    )


def _tags(result: _Result) -> dict[str, str]:
    commit, lock = provenance.git_commit(), provenance.lock_digest()
    tags = {
        tracking.EXPERIMENT: result.experiment,
        tracking.FINGERPRINT: result.fingerprint,
        **({tracking.TRAINING: result.training} if result.training else {}),
        "mlflow.source.name": f"cnnkeras log {result.experiment}",
        "mlflow.note.content": _description(result),
    }
    if commit:
        dirty = str(provenance.git_is_dirty()).lower()
        tags |= {"cnnkeras.git_commit": commit, "cnnkeras.git_dirty": dirty, "mlflow.source.git.commit": commit}
    if lock:
        tags["cnnkeras.dvc_lock"] = lock
    return tags


def _description(result: _Result) -> str:
    """Markdown at the top of the run's page: what it is, and its figures of merit."""
    entry = result.params.measured(result.experiment)
    task = result.params.task(result.experiment)
    what = entry.architecture if result.training else f"{entry.combine} of {' and '.join(entry.members)}"
    rows = [f"| {key} | {value:.4g} |" for key, value in result.metrics.items()]
    about = f"**{what}** on **{entry.dataset}** ({task}), measured on the test split."
    return "\n".join([about, "", "| metric | value |", "| --- | --- |", *rows])


def _data(folder: Path) -> dict[str, Any]:
    """What MLflow shows of a dataset beside its name and digest."""
    index = packed.open_index(folder)
    dtype = np.dtype(index.splits["train"]["columns"]["inputs"]["dtype"]).name
    inputs = [{"name": "inputs", "type": "tensor", "tensor-spec": {"dtype": dtype, "shape": [-1, *index.shape]}}]
    return {
        "source": folder.relative_to(paths.root()).as_posix(),
        "schema": {"mlflow_tensorspec": {"features": json.dumps(inputs), "targets": None}},
        "profile": {split: entry["examples"] for split, entry in index.splits.items()}
        | {"classes": len(index.classes)},
    }


def _output_shape(result: _Result) -> tuple[int, ...]:
    entry = result.params.experiment(result.experiment)
    return output_shape(architectures.load(entry.architecture), result.params, entry.dataset, entry.model)


def _log_files(store: tracking.Store, run_id: str, experiment: str) -> None:
    for file in filter(Path.is_file, (paths.metrics(experiment), paths.history(experiment))):
        store.client.log_artifact(run_id, str(file))
    store.client.log_artifacts(run_id, str(paths.figures(experiment)), "figures")
    store.client.log_artifacts(run_id, str(paths.plots(experiment)), "plots")
    with tempfile.TemporaryDirectory() as temporary:
        for file in _few_files(paths.predictions(experiment), Path(temporary)):
            store.client.log_artifact(run_id, str(file), "predictions")


def _few_files(folder: Path, temporary: Path) -> list[Path]:
    """The files right in a folder that are small, and one archive with all others, such as thousands of label maps."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    single = [file for file in files if file.parent == folder and file.stat().st_size <= _LARGEST_FILE]
    if len(single) == len(files):
        return single
    archive = temporary / "others.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        for file in files:
            if file not in single:
                zipped.write(file, file.relative_to(folder))
    return [*single, archive]
