"""`cnnkeras show`: draws the predictions of a trained experiment on the user's own images or signals, or on those of the test split.

Each task has a file with `COLUMNS`, the keys of a prediction as `--format` writes it, and a function

    show(image, outputs, classes, settings) -> Shown

that takes an image (or a signal), the model's outputs for it, the class names, and the keyword arguments of the task's `postprocess`,
the section `postprocess` of the experiment.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.by_name import Files
from cnnkeras.protocols import fits
from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols import views as view_kinds
from cnnkeras.protocols.posteriors import average_views, combine
from cnnkeras.resizing import resize
from pipeline.backend import inference
from pipeline.commands.show_inputs import Given, given
from pipeline.commands.trained import chosen_settings, require_trained
from pipeline.drawing import overlays
from pipeline.formats.proposals import read_proposals
from pipeline.params import Dataset, Experiment, Params, load_params
from pipeline.runtime import places
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

_files = Files(__name__, "a task")
names, load = _files.names, _files.load

FOLDER = "show"  # in the current folder
SIDES = 480, 1600  # pixels, min and max: the longer side of a drawing is that of the image, clipped to these


@dataclass(frozen=True)
class Shown:
    """A drawing of an image's predictions, and the predictions.

    Attributes:
        image: uint8 RGB (H, W, 3).
        lines: Predictions as text, a line each.
        rows: Predictions, each with the task's `COLUMNS`.
        files: Predictions that are no rows: content by the ending of the file's name.
    """

    image: np.ndarray
    lines: list[str]
    rows: Sequence[Mapping[str, Any]]
    files: Mapping[str, bytes] = field(default_factory=dict)


def run(name: str, arguments: Sequence[str], *, output: Path | None = None, format: str | None = None) -> None:
    """Run the models of an experiment or ensemble on images or signals; print and draw the predictions.

    Outputs are computed as in the stages `predict`, with the experiment's `views` or `regions`, and `combine`. Everything is read before
    a model is loaded, and all drawings are made before the first one is written.

    Args:
        name: Entry under `experiments:` or `ensembles:`.
        arguments: Files, folders and patterns; images in any format, or for a model of signals .npy or .csv files with the model's number
            of values. None: examples of the test split.
        output: Folder for the drawings, FILE-EXPERIMENT.png. None: show/ in the current folder.
        format: `json` or `csv`, to write the predictions too, into EXPERIMENT.json or EXPERIMENT.csv in this folder. None: neither.

    Raises:
        InputError: There is no such entry; a model is not trained, or needs proposals, which the user's images do not have; a file
            cannot be read, or does not fit the model; or a drawing cannot be written.
    """
    params = load_params()
    entry = params.measured(name)
    dataset, classes = params.dataset(entry.dataset), params.classes(entry.dataset)
    for model in params.models(name):
        require_trained(params, model)
        _require_regions(params, model, has_proposals=not arguments)
    settings = chosen_settings(params, name)
    folder = Path(FOLDER) if output is None else output
    places.require_writable(folder)
    images = given([str(argument) for argument in arguments], dataset=entry.dataset, size=dataset.size or ())
    task = load(dataset.task)
    drawings = [
        task.show(image.values, outputs, classes, settings, _frame(params, name, image.values))
        for image, outputs in zip(images, _outputs(params, name, images), strict=True)
    ]
    targets = _targets(images, name, folder)
    console = Console(soft_wrap=True)
    for image, target, drawing in zip(images, targets, drawings, strict=True):
        _write(target, overlays.png(drawing.image))
        console.print(image.name, style="bold")
        for line in drawing.lines:
            console.print(f"  {line}")
        console.print(f"  drawn in {target}")
    if format:
        for target, drawing in zip(targets, drawings, strict=True):
            for ending, content in drawing.files.items():
                _write(target.with_name(f"{target.stem}-{ending}"), content)
        file = folder / f"{name}.{format}"
        _write(file, as_text(format, name, task.COLUMNS, images, targets, drawings).encode())
        console.print(f"predictions in {file}")


def as_text(
    format: str,
    name: str,
    columns: Sequence[str],
    images: Sequence[Given],
    targets: Sequence[Path],
    drawings: Sequence[Shown],
) -> str:
    """All predictions as `json`, or as `csv`: a row for each, with the file that it is of.

    Args:
        format: `json` or `csv`.
        name: The experiment.
        columns: Keys of a prediction.
        images: What was looked at.
        targets: The drawing of each.
        drawings: Their predictions.
    """
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ("file", *columns), lineterminator="\n")
        writer.writeheader()
        for image, drawing in zip(images, drawings, strict=True):
            writer.writerows({"file": image.name, **row} for row in drawing.rows)
        return text.getvalue()
    entries = [
        {
            "file": image.name,
            "drawing": target.name,
            **{Path(ending).stem: f"{target.stem}-{ending}" for ending in drawing.files},
            "predictions": list(drawing.rows),
        }
        for image, target, drawing in zip(images, targets, drawings, strict=True)
    ]
    return json.dumps({"experiment": name, "images": entries}, indent=2, ensure_ascii=False) + "\n"


def _require_regions(params: Params, name: str, *, has_proposals: bool) -> None:
    """Refuse a model that needs proposals, which exist only for the images of the dataset."""
    settings = params.experiment(name).predict.regions
    regions = settings.call(region_kinds) if settings else None
    if regions and regions.file and not has_proposals:
        raise InputError(
            f"experiments.{name}.predict.regions: expected regions that every image has; received: proposals, and "
            f"{regions.file} has none for your images. Choose boxes or sliding_windows to show them"
        )


def _outputs(params: Params, name: str, images: Sequence[Given]) -> list[np.ndarray]:
    """Outputs for each image or signal, as the task's `postprocess` takes them: averaged over views, merged over regions and combined over models."""
    if name not in params.ensembles:
        return _model_outputs(params, name, images)
    ensemble = params.ensemble(name)
    members = [_outputs(params, member, images) for member in ensemble.members]
    models = [len(params.models(member)) for member in ensemble.members]
    try:
        combined = [combine(outputs, models, ensemble.combine) for outputs in zip(*members, strict=True)]
    except ValueError as error:
        raise InputError(f"ensembles.{name}.members: {error}") from error
    return [outputs.astype(tasks.load(params.task(name)).OUTPUT_DTYPE) for outputs in combined]


def _model_outputs(params: Params, name: str, given: Sequence[Given]) -> list[np.ndarray]:
    experiment = params.experiment(name)
    settings, dataset = experiment.predict, params.dataset(experiment.dataset)
    images = [each.values for each in given]
    model = inference.load_model(name, seed=params.seed)
    views = [view.call(view_kinds) for view in settings.views]
    if views:
        outputs = inference.view_outputs(model, images, views, settings.batch_size)
    elif settings.regions:
        regions = settings.regions.call(region_kinds)
        proposals = read_proposals(regions.file, regions.sha256) if regions.file else {}
        outputs = (
            inference.region_outputs(model, each.values, regions, settings.batch_size, proposals.get(each.name, ()))
            for each in given
        )
    else:
        inputs = images if dataset.is_signal else [_input(dataset, experiment, image) for image in images]
        outputs = (model.predict_on_batch(item[None])[0] for item in inputs)
    # The same dtype as in the file of outputs that the stage `predict` writes.
    outputs = [np.asarray(values, tasks.load(params.task(name)).OUTPUT_DTYPE) for values in outputs]
    counts = [view.count for view in views]
    return [average_views(values[None], counts)[0] for values in outputs] if counts else outputs


def _input(dataset: Dataset, experiment: Experiment, image: np.ndarray) -> np.ndarray:
    """What the model gets of an image: as `augment` would pack it, and then by the fit of the experiment."""
    packed, fit = resize(image, dataset.stored_size(image.shape[:2])), experiment.input.fit
    return packed if fit is None else fit.call(fits).image(packed, experiment.input.size)


def _frame(params: Params, name: str, image: np.ndarray) -> np.ndarray | None:
    """Where an image lies in what the model gets of it, as `Fit.frame`; None: it fills it, or is seen in parts."""
    experiment = params.first_experiment(name)
    fit, settings = experiment.input.fit, experiment.predict
    if fit is None or settings.views or settings.regions:
        return None
    shape = params.dataset(experiment.dataset).stored_size(image.shape[:2])
    return fit.call(fits).frame(shape, experiment.input.size)


def _targets(images: Sequence[Given], name: str, folder: Path) -> list[Path]:
    """Path of each drawing: FILE-EXPERIMENT.png, with a number if several files have the same name."""
    targets: list[Path] = []
    for image in images:
        target, number = folder / f"{image.stem}-{name}.png", 1
        while target in targets:
            number += 1
            target = folder / f"{image.stem}-{name}-{number}.png"
        targets.append(target)
    return targets


def _write(target: Path, content: bytes) -> None:
    """Write a file in one step, so that an interruption leaves no partial one."""
    with replacing(target) as partial:
        partial.write_bytes(content)


def drawn_side(image: np.ndarray) -> int:
    """Longer side, in pixels, of the drawing of an image (H, W, 3)."""
    return int(np.clip(max(image.shape[:2]), *SIDES))
