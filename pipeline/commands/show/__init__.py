"""`cnnkeras show`: draws the predictions of a trained experiment on the user's own images or signals, or on those of the test split.

Each task has a file with a function

    show(image, answer, classes, settings) -> Shown

that takes an image (or a signal), what was found in it (`cnnkeras.answers`), the class names, and the keyword arguments of the task's
`postprocess`, the section `postprocess` of the experiment.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import answers, tasks
from cnnkeras.answers import Answer
from cnnkeras.by_name import Files
from cnnkeras.looking.look import Look
from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols.posteriors import combine
from cnnkeras.protocols.windows import Proposal
from pipeline.backend.trained_model import load_model
from pipeline.commands.show_inputs import Given, given
from pipeline.commands.trained import chosen_settings, require_trained
from pipeline.drawing import overlays
from pipeline.formats.proposals import read_proposals
from pipeline.params import Params, load_params, look_at
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
    """A drawing of an image's predictions.

    Attributes:
        image: uint8 RGB (H, W, 3).
        lines: Predictions as text, a line each.
    """

    image: np.ndarray
    lines: list[str]


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
    found = _answers(params, name, images, settings)
    drawings = [task.show(image.values, answer, classes, settings) for image, answer in zip(images, found, strict=True)]
    targets = _targets(images, name, folder)
    console = Console(soft_wrap=True)
    for image, target, drawing in zip(images, targets, drawings, strict=True):
        _write(target, overlays.png(drawing.image))
        console.print(image.name, style="bold")
        for line in drawing.lines:
            console.print(f"  {line}")
        console.print(f"  drawn in {target}")
    if format:
        for target, answer in zip(targets, found, strict=True):
            for ending, content in answer.files.items():
                _write(target.with_name(f"{target.stem}-{ending}"), content)
        file = folder / f"{name}.{format}"
        _write(file, as_text(format, name, answers.load(dataset.task).COLUMNS, images, targets, found).encode())
        console.print(f"predictions in {file}")


def as_text(
    format: str,
    name: str,
    columns: Iterable[str],
    images: Sequence[Given],
    targets: Sequence[Path],
    found: Sequence[Answer],
) -> str:
    """All predictions as `json`, or as `csv`: a row for each, with the file that it is of.

    Args:
        format: `json` or `csv`.
        name: The experiment.
        columns: Keys of a prediction.
        images: What was looked at.
        targets: The drawing of each.
        found: Their predictions.
    """
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, ("file", *columns), lineterminator="\n")
        writer.writeheader()
        for image, answer in zip(images, found, strict=True):
            writer.writerows({"file": image.name, **row} for row in answer.rows)
        return text.getvalue()
    entries = [
        {
            "file": image.name,
            "drawing": target.name,
            **{Path(ending).stem: f"{target.stem}-{ending}" for ending in answer.files},
            "predictions": list(answer.rows),
        }
        for image, target, answer in zip(images, targets, found, strict=True)
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


def _answers(params: Params, name: str, images: Sequence[Given], settings: Mapping[str, Any]) -> list[Answer]:
    """What an experiment or ensemble says of each image or signal."""
    look = replace(_look(params, params.models(name)[0]), postprocess=settings)
    outputs = _outputs(params, name, images)
    return [look.answer(image.values.shape[:2], values) for image, values in zip(images, outputs, strict=True)]


def _outputs(params: Params, name: str, images: Sequence[Given]) -> list[np.ndarray]:
    """Outputs for each image or signal, as the task's `postprocess` takes them: averaged over views, merged over regions and combined over models."""
    if name not in params.ensembles:
        look, model = _look(params, name), load_model(name, seed=params.seed)
        outputs = look.outputs(model, [image.values for image in images], _proposals(look, images))
        return [look.averaged(values) for values in outputs]
    ensemble = params.ensemble(name)
    members = [_outputs(params, member, images) for member in ensemble.members]
    models = [len(params.models(member)) for member in ensemble.members]
    try:
        combined = [combine(outputs, models, ensemble.combine) for outputs in zip(*members, strict=True)]
    except ValueError as error:
        raise InputError(f"ensembles.{name}.members: {error}") from error
    return [outputs.astype(tasks.load(params.task(name)).OUTPUT_DTYPE) for outputs in combined]


def _look(params: Params, name: str) -> Look:
    """How an experiment's model looks at an image."""
    return Look(**look_at(params, name, params.experiment(name).postprocess))


def _proposals(look: Look, images: Sequence[Given]) -> list[Sequence[Proposal]]:
    """Object proposals of each image, for regions that are made of them."""
    regions = look.regions
    proposals = read_proposals(regions.file, regions.sha256) if regions and regions.file else {}
    return [proposals.get(image.name, ()) for image in images]


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
