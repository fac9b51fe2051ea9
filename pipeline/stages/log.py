"""Stage `log`: shows a result in MLflow; a result that is logged again adds no second run.

A result is everything that `fingerprints.result_fingerprint` covers. The stage's output, the receipt, names the run without its id,
which is different in each store.
"""

import json
import math
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import architectures
from pipeline.formats import packed
from pipeline.formats.metrics import read_metrics
from pipeline.params import Params, load_params, output_shape
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.guard import stage
from pipeline.tracking import fingerprints, provenance
from pipeline.tracking.curves import read_curves
from pipeline.tracking.models import TrainedModel
from pipeline.tracking.results import Result, show
from pipeline.tracking.runs import Data

_MAX_FILE_BYTES = 10_000_000  # of a predictions file that is logged unzipped, so that the UI can show it


def run(experiment: str) -> None:
    """Log the result of an experiment or ensemble to MLflow and write a receipt, `results/EXPERIMENT/mlflow.json`.

    Args:
        experiment: Entry under `experiments:` or `ensembles:`.

    Raises:
        InputError: There is no such entry, a file of the result is missing, or the tracking store does not answer.
    """
    params = load_params()
    trained = () if experiment in params.ensembles else (paths.model_folder, paths.history)
    results = (*trained, paths.predictions, paths.metrics, paths.plots, paths.figures)
    dataset = params.measured(experiment).dataset
    inputs = [paths.augmented(dataset), paths.dataset_report(dataset), *(path(experiment) for path in results)]
    outputs = [paths.receipt(experiment)]
    with (
        stage(params.stage("log", experiment), experiment, inputs=inputs, outputs=outputs, params=params) as (receipt,),
        tempfile.TemporaryDirectory() as temporary,
    ):
        result = _read(params, experiment, Path(temporary))
        sentence = show(result)
        facts = {
            "experiment": experiment,
            "fingerprint": result.facts["fingerprint"],
            "run_name": result.run_name,
        }
        receipt.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    Console(soft_wrap=True).print(f"{experiment}: {sentence}")


def _read(params: Params, experiment: str, temporary: Path) -> Result:
    """The result, read from its files; `temporary` is a folder for zipped predictions."""
    is_trained = experiment not in params.ensembles
    fingerprint, facts = fingerprints.result_fingerprint(params, experiment), provenance.facts()
    if is_trained:
        facts["training"] = fingerprints.training_fingerprint(params, experiment)
    metrics = _figures_of_merit(read_metrics(paths.metrics(experiment)))
    return Result(
        run_name=f"{experiment}-{fingerprint[:8]}",
        facts={"experiment": experiment, "fingerprint": fingerprint, **facts},
        command=f"cnnkeras log {experiment}",
        description=_description(params, experiment, metrics),
        params=fingerprints.result_params(params, experiment),
        metrics=metrics,
        files=_files(experiment, params.measured(experiment).dataset, temporary),
        curves=read_curves(paths.history(experiment)) if is_trained else {},
        data=partial(_data, params.measured(experiment).dataset),
        model=partial(_model, params, experiment) if is_trained else None,
    )


def _figures_of_merit(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers at the top level of metrics.json.

    Its numbers per class are logged as the artifacts plots/ and figures/ only: as metrics, the UI would draw a chart for each class
    above the charts of the result.
    """
    return {key: value for key, value in metrics.items() if isinstance(value, float) and math.isfinite(value)}


def _description(params: Params, experiment: str, metrics: Mapping[str, float]) -> str:
    """Markdown at the top of the run's page: architecture or ensemble, dataset, task and figures of merit."""
    entry, task = params.measured(experiment), params.task(experiment)
    is_trained = experiment not in params.ensembles
    subject = entry.architecture if is_trained else f"{entry.combine} of {' and '.join(entry.members)}"
    rows = [f"| {key} | {value:.4g} |" for key, value in metrics.items()]
    sentence = f"**{subject}** on **{entry.dataset}** ({task}), measured on the test split."
    return "\n".join([sentence, "", "| metric | value |", "| --- | --- |", *rows])


def _data(dataset: str) -> Data:
    """Facts on a dataset for MLflow."""
    folder = paths.augmented(dataset)
    index = packed.open_index(folder)
    return Data(
        name=dataset,
        digest=provenance.dvc_hash(folder),
        source=folder.relative_to(paths.root()).as_posix(),
        dtype=np.dtype(index.splits["train"]["columns"]["inputs"]["dtype"]).name,
        shape=index.shape,
        profile={split: entry["examples"] for split, entry in index.splits.items()} | {"classes": len(index.classes)},
    )


def _model(params: Params, experiment: str) -> TrainedModel:
    entry = params.experiment(experiment)
    inputs = packed.open_split(paths.augmented(entry.dataset), "test")["inputs"]
    return TrainedModel(
        name=experiment,
        file=paths.model_file(experiment),
        example=np.array(inputs[:1]),
        output_shape=output_shape(architectures.load(entry.architecture), params, entry.dataset, entry.model),
    )


def _files(experiment: str, dataset: str, temporary: Path) -> Iterator[tuple[Path, str | None]]:
    """Files and folders to log, each with its folder in the run; None for the run's top folder."""
    for file in filter(Path.is_file, (paths.metrics(experiment), paths.history(experiment))):
        yield file, None
    yield paths.figures(experiment), "figures"
    yield paths.plots(experiment), "plots"
    for file in _few_files(paths.predictions(experiment), temporary):
        yield file, "predictions"
    yield paths.dataset_report(dataset), "dataset"


def _few_files(folder: Path, temporary: Path) -> list[Path]:
    """The small files directly in a folder, and an archive of all others, such as thousands of label maps in a subfolder."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    small = [file for file in files if file.parent == folder and file.stat().st_size <= _MAX_FILE_BYTES]
    if len(small) == len(files):
        return small
    archive = temporary / "others.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as zipped:
        for file in files:
            if file not in small:
                zipped.write(file, file.relative_to(folder))
    return [*small, archive]
