"""Results as MLflow is to show them, read from the local files: of experiments and ensembles, and of the lab's claims."""

import base64
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from pipeline.backend import environment
from pipeline.formats import packed
from pipeline.formats.metrics import by_seed_of, deviations_of, read_metrics
from pipeline.formats.predictions import read_chosen
from pipeline.lab import numbers
from pipeline.lab.numbers import Numbers
from pipeline.params import Params, Repeat, look_at
from pipeline.runtime import paths
from pipeline.tracking import fingerprints, provenance, times
from pipeline.tracking.curves import Points, read_curves
from pipeline.tracking.models import TrainedModel
from pipeline.tracking.runs import Data
from pipeline.tracking.times import Times

RUN_ID = "RUN_ID"  # in a description, in place of the id that the run is going to have


@dataclass(frozen=True)
class Result:
    """The content of a result's run.

    Attributes:
        run_name: Name of the run.
        facts: Tags of the run. `fingerprint` is used to find the run again; `training`, if the result has a training, to find the run
            with its curves.
        command: Command that logs the result.
        description: Markdown at the top of the run's page.
        params: Params as text, by key.
        metrics: Figures of merit.
        files: Files and folders to log, each with its folder in the run, "" for the top folder.
        texts: Text files to log in the folder `origin`, by name.
        part: Part of the store: "" for experiments, "lab" for claims.
        curves: Points of the training's curves.
        times: When it was made; None if this machine does not know.
        data: Returns the data that the model was trained on; reads gigabytes.
        model: Returns the trained model.
    """

    run_name: str
    facts: Mapping[str, str]
    command: str
    description: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Sequence[tuple[Path, str]]
    texts: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    curves: Points = field(default_factory=dict)
    times: Times | None = None
    data: Callable[[], Data] | None = None
    model: Callable[[], TrainedModel] | None = None


def inputs(params: Params, name: str) -> list[Path]:
    """Files and folders that `of_experiment` reads."""
    trained = () if name in params.ensembles else (paths.model_folder, paths.history)
    results = (*trained, paths.predictions, paths.metrics, paths.plots, paths.figures)
    dataset = params.measured(name).dataset
    return [paths.augmented(dataset), paths.dataset_report(dataset), *(path(name) for path in results)]


def all_of_experiment(params: Params, name: str) -> list[Result]:
    """The result of an experiment or ensemble, whose `inputs` exist; with several seeds also that of each, below the one of all."""
    whole, repeats = of_experiment(params, name), params.repeats(name)
    if len(repeats) == 1:
        return [whole]
    each = [_of_seed(repeat, whole.facts["fingerprint"]) for repeat in repeats]
    spans = [one.times for one in each]
    if None not in spans:
        whole = replace(whole, times=Times(min(span.start for span in spans), end=max(span.latest for span in spans)))
    return [whole, *each]


def _of_seed(repeat: Repeat, parent: str) -> Result:
    """The result of one of several trainings; `parent` is the fingerprint of the result of all."""
    params, name = repeat.params, repeat.name
    metrics = by_seed_of(read_metrics(paths.metrics(name)))[repeat.seed]
    fingerprint = fingerprints.fingerprint_of_seed(repeat, metrics)
    training = fingerprints.training_fingerprint(params, name)
    history = paths.history(name, repeat.folder)
    figures_of_merit = _figures_of_merit(metrics)
    return Result(
        run_name=f"{name}-seed-{repeat.seed}-{fingerprint[:8]}",
        facts={
            "experiment": name,
            "fingerprint": fingerprint,
            "parent": parent,
            "training": training,
            "seed": str(repeat.seed),
            **provenance.facts(),
            **_environment(name),
        },
        command=f"cnnkeras log {name}",
        description=f"Seed {repeat.seed}. {_sentence(params, name, figures_of_merit)}",
        params=fingerprints.result_params(params, name),
        metrics=figures_of_merit,
        files=[(history, "")],
        curves=read_curves(history.read_text(encoding="utf-8")),
        times=times.read(training),
        data=partial(_data, params.measured(name).dataset),
        model=partial(_model, params, name, repeat.folder),
    )


def _environment(name: str) -> dict[str, str]:
    """With what an experiment was trained, as facts."""
    recorded = environment.read(paths.environment(name), seal=paths.seal(f"train@{name}"))
    return {f"{part}.{key}": str(value) for part, values in recorded.items() for key, value in values.items()}


def of_experiment(params: Params, name: str) -> Result:
    """The result of an experiment or ensemble, whose `inputs` exist. That of several seeds has no curves and no model of its own."""
    is_measured_once = len(params.repeats(name)) == 1
    is_trained = name not in params.ensembles and is_measured_once
    fingerprint, facts = fingerprints.result_fingerprint(params, name), provenance.facts()
    if is_trained:
        facts["training"] = fingerprints.training_fingerprint(params, name)
        facts["seed"] = str(params.training_seed(name))
    if name not in params.ensembles:
        facts |= _environment(name)
    content = read_metrics(paths.metrics(name))
    deviations = {f"{key}_std": value for key, value in deviations_of(content).items()}
    metrics = _figures_of_merit(content | deviations)
    return Result(
        run_name=f"{name}-{fingerprint[:8]}",
        facts={"experiment": name, "fingerprint": fingerprint, **facts},
        command=f"cnnkeras log {name}",
        description=_description(params, name, metrics),
        params=fingerprints.result_params(params, name),
        metrics=metrics,
        files=_files(name, params.measured(name).dataset),
        texts=provenance.texts(),
        curves=read_curves(paths.history(name).read_text(encoding="utf-8")) if is_trained else {},
        times=times.read(facts["training"]) if is_trained else None,
        data=partial(_data, params.measured(name).dataset),
        model=partial(_model, params, name) if is_trained else None,
    )


def of_claim(params: Params, name: str) -> Result:
    """The result of an entry of the lab, whose numbers and figure exist."""
    content, settings = numbers.read(paths.claim_numbers(name)), claim_settings(params, name)
    fingerprint, commit = fingerprint_of_claim(params, name), provenance.git_commit()
    facts = {"experiment": f"lab/{name}", "fingerprint": fingerprint, **({"git_commit": commit} if commit else {})}
    return Result(
        run_name=f"lab-{name}-{fingerprint[:8]}",
        facts=facts,
        command=f"cnnkeras lab {name}",
        description=f"{content.claim}\n\n**{content.verdict}.** {content.paragraph}\n\n{_picture(paths.claim_figure(name).name)}",
        params=settings,
        metrics=_numbers(content),
        files=[(paths.claim_numbers(name), ""), (paths.claim_figure(name), "")],
        part="lab",
        times=times.read(fingerprint),
    )


def fingerprint_of_claim(params: Params, name: str) -> str:
    """Fingerprint of the result of an entry of the lab."""
    files = [paths.claim_numbers(name), paths.claim_figure(name)]
    return fingerprints.claim_fingerprint(name, claim_settings(params, name), files)


def claim_settings(params: Params, name: str) -> dict[str, str]:
    """Settings of an entry of the lab, as text."""
    settings = {**params.claim(name).model_dump(mode="json"), "seed": params.seed}
    return {key: json.dumps(value) for key, value in settings.items()}


def _numbers(content: Numbers) -> dict[str, float]:
    """Metrics of a claim: the measured numbers, their spreads as KEY_spread, and the verdict as `holds`, 0 or 1."""
    metrics = {key: value for key, value in content.measured.items() if isinstance(value, int | float)}
    metrics |= {f"{key}_spread": value for key, value in content.spread.items() if value is not None}
    return {key: float(value) for key, value in metrics.items()} | {"holds": float(content.holds)}


def _figures_of_merit(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers at the top level of metrics.json.

    Its numbers per class are logged as the artifacts plots/ and figures/ only: as metrics, the UI would draw a chart for each class
    above the charts of the result.
    """
    return {key: value for key, value in metrics.items() if isinstance(value, float) and math.isfinite(value)}


def _description(params: Params, experiment: str, metrics: Mapping[str, float]) -> str:
    """Markdown at the top of the run's page, which folds all but its beginning away: what it is, how good, and its predictions as a picture."""
    sentence, figure = _sentence(params, experiment, metrics), paths.figures(experiment) / "predictions.png"
    return f"{sentence}\n\n{_picture(f'figures/{figure.name}')}" if figure.is_file() else sentence


def _sentence(params: Params, experiment: str, metrics: Mapping[str, float]) -> str:
    """Architecture or ensemble, dataset, task and the first figures of merit in Markdown."""
    entry, task = params.measured(experiment), params.task(experiment)
    is_trained = experiment not in params.ensembles
    subject = entry.architecture if is_trained else f"{entry.combine} of {' and '.join(entry.members)}"
    numbers = ", ".join(f"{key} {value:.4g}" for key, value in list(metrics.items())[:3])
    return f"**{subject}** on **{entry.dataset}** ({task}), measured on the test split: {numbers}."


def _picture(file: str) -> str:
    """A file of the run as a picture in its description, which the UI's server answers; the run's id is put in when there is one."""
    return f"![{file}](get-artifact?path={quote(file)}&run_uuid={RUN_ID})"


def _data(dataset: str) -> Data:
    """Facts on a dataset for MLflow."""
    folder = paths.augmented(dataset)
    index = packed.open_index(folder)
    return Data(
        name=dataset,
        digest=provenance.dvc_hash(folder),
        source=folder.relative_to(paths.root()).as_posix(),
        dtype=np.dtype(index.splits["train"]["columns"]["inputs"]["dtype"]).name,
        shape=tuple(-1 if side is None else side for side in index.shape),
        profile={split: entry["examples"] for split, entry in index.splits.items()} | {"classes": len(index.classes)},
    )


def _model(params: Params, experiment: str, part: str = "") -> TrainedModel:
    chosen = read_chosen(paths.predictions(experiment) / part)
    return TrainedModel(
        name=experiment,
        file=paths.model_file(experiment, part),
        backend=params.backend,
        look=look_at(params, experiment, {**params.experiment(experiment).postprocess, **chosen}),
        example=_example(params.experiment(experiment).dataset),
    )


def _example(dataset: str) -> str | list[Any]:
    """The first image of a test split: its file in base64; of what has no file, such as a signal, the numbers."""
    split = packed.open_split(paths.augmented(dataset), "test")
    if "originals" in split:
        return base64.b64encode(np.asarray(split["originals"][0]).tobytes()).decode()
    return np.asarray(split["inputs"][0]).tolist()


def _files(experiment: str, dataset: str) -> list[tuple[Path, str]]:
    """Files and folders to log, each with its folder in the run."""
    files = filter(Path.is_file, (path(experiment) for path in (paths.metrics, paths.history, paths.training_batch)))
    folders = {
        "figures": paths.figures(experiment),
        "plots": paths.plots(experiment),
        "predictions": paths.predictions(experiment),
        "dataset": paths.dataset_report(dataset),
    }
    return [*((file, "") for file in files), *((folder, name) for name, folder in folders.items())]
