"""`cnnkeras show`: draws the predictions of a trained experiment on the user's own images or signals.

Each task has a file with a function

    show(image, outputs, classes, settings) -> Shown

that takes an image (or a signal), the model's outputs for it, the class names, and the keyword arguments of the task's `postprocess`,
the section `postprocess` of the experiment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cnnkeras import tasks
from cnnkeras.by_name import Files
from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols import views as view_kinds
from cnnkeras.protocols.posteriors import average_views, combine
from cnnkeras.resizing import resize
from pipeline.backend import inference
from pipeline.drawing import overlays
from pipeline.images import reading
from pipeline.params import Params, load_params
from pipeline.runtime import paths, places
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing
from pipeline.runtime.seals import Seals

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


def run(name: str, files: Sequence[Path], *, output: Path | None = None) -> None:
    """Run the models of an experiment or ensemble on files; print and draw the predictions.

    Outputs are computed as in the stages `predict`, with the experiment's `views` or `regions`, and `combine`. All files are read before
    a model is loaded, and all drawings are made before the first one is written.

    Args:
        name: Entry under `experiments:` or `ensembles:`.
        files: Image files in any format; for a model of signals, .npy or .csv files with the model's number of values.
        output: Folder for the drawings, FILE-EXPERIMENT.png. None: show/ in the current folder.

    Raises:
        InputError: There is no such entry; a model is not trained, or needs proposals, which the user's images do not have; a file
            cannot be read, or does not fit the model; or a drawing cannot be written.
    """
    params = load_params()
    entry = params.measured(name)
    dataset, classes = params.dataset(entry.dataset), params.classes(entry.dataset)
    for model in params.models(name):
        _check_model(params, model)
    folder = Path(FOLDER) if output is None else output
    places.require_writable(folder)
    is_signal = len(dataset.size) == 1
    images = [read_signal(file, dataset.size[0]) if is_signal else read_image(file) for file in files]
    show = load(dataset.task).show
    drawings = [
        show(image, outputs, classes, entry.postprocess)
        for image, outputs in zip(images, _outputs(params, name, images), strict=True)
    ]
    console = Console(soft_wrap=True)
    for file, target, drawing in zip(files, _targets(files, name, folder), drawings, strict=True):
        _write(target, drawing.image)
        console.print(f"{file}", style="bold")
        for line in drawing.lines:
            console.print(f"  {line}")
        console.print(f"  drawn in {target}")


def read_image(file: Path) -> np.ndarray:
    """An image file as uint8 RGB (H, W, 3), read as `augment` reads the images that the model was trained on.

    Raises:
        InputError: The file does not exist, is no image, or is damaged.
    """
    try:
        return reading.read_image(file.read_bytes(), str(file))
    except OSError as error:
        raise _not_readable(file, "a whole image", error) from error
    except InputError as error:
        raise InputError(f"{error}. Give another file") from error


def read_signal(file: Path, length: int) -> np.ndarray:
    """A signal, float32 (length, 1), from a .npy file, or from a text file of numbers separated by commas, spaces or lines.

    Raises:
        InputError: The file does not exist, does not hold numbers, or does not hold `length` finite ones.
    """
    try:
        if file.suffix == ".npy":
            values = np.load(file, allow_pickle=False)
        else:
            values = np.array(file.read_text(encoding="utf-8").replace(",", " ").split(), np.float32)
        signal = np.asarray(values, np.float32).reshape(-1, 1)
    except (OSError, ValueError, EOFError) as error:
        raise _not_readable(file, f"{length} numbers, as .npy or .csv", error) from error
    if len(signal) != length or not np.isfinite(signal).all():
        raise _not_readable(file, f"{length} finite numbers", f"{len(signal)}, {np.isfinite(signal).sum()} finite")
    return signal


def _check_model(params: Params, name: str) -> None:
    """Refuse a model that is not trained, is damaged, or needs proposals, which exist only for the images of the dataset."""
    if not paths.model_file(name).is_file():
        file = paths.model_file(name).relative_to(paths.root())
        raise InputError(
            f"expected the trained model {file}; received: no such file. "
            f"Run `cnnkeras train {name}` or `dvc repro train@{name}` first"
        )
    seals = Seals(params)
    if change := seals.require_whole(paths.model_file(name)):
        note = f"{name}: the model is from before a change, {change.text}"
        Console(stderr=True, soft_wrap=True, highlight=False).print(note, markup=False)
    seals.save()
    settings = params.experiment(name).predict.regions
    regions = settings.call(region_kinds) if settings else None
    if regions and regions.file:
        raise InputError(
            f"experiments.{name}.predict.regions: expected regions that every image has; received: proposals, and "
            f"{regions.file} has none for your images. Choose boxes or sliding_windows to show them"
        )


def _outputs(params: Params, name: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
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


def _model_outputs(params: Params, name: str, images: Sequence[np.ndarray]) -> list[np.ndarray]:
    experiment = params.experiment(name)
    settings, size = experiment.predict, params.dataset(experiment.dataset).size
    model = inference.load_model(name, seed=params.seed)
    views = [view.call(view_kinds) for view in settings.views]
    if views:
        outputs = inference.view_outputs(model, images, views, settings.batch_size)
    elif settings.regions:
        regions = settings.regions.call(region_kinds)
        outputs = (inference.region_outputs(model, image, regions, settings.batch_size) for image in images)
    else:
        inputs = images if len(size) == 1 else [resize(image, size) for image in images]
        outputs = (model.predict_on_batch(item[None])[0] for item in inputs)
    # The same dtype as in the file of outputs that the stage `predict` writes.
    outputs = [np.asarray(values, tasks.load(params.task(name)).OUTPUT_DTYPE) for values in outputs]
    counts = [view.count for view in views]
    return [average_views(values[None], counts)[0] for values in outputs] if counts else outputs


def _targets(files: Sequence[Path], name: str, folder: Path) -> list[Path]:
    """Path of each drawing: FILE-EXPERIMENT.png, with a number if several files have the same name."""
    targets: list[Path] = []
    for file in files:
        target, number = folder / f"{file.stem}-{name}.png", 1
        while target in targets:
            number += 1
            target = folder / f"{file.stem}-{name}-{number}.png"
        targets.append(target)
    return targets


def _write(target: Path, image: np.ndarray) -> None:
    """Write a drawing in one step, so that an interruption leaves no partial file."""
    with replacing(target) as partial:
        overlays.write_png(partial, image)


def drawn_side(image: np.ndarray) -> int:
    """Longer side, in pixels, of the drawing of an image (H, W, 3)."""
    return int(np.clip(max(image.shape[:2]), *SIDES))


def _not_readable(file: Path, expected: str, received: object) -> InputError:
    if isinstance(received, OSError) and received.strerror:
        received = received.strerror.lower()
    return InputError(f"{file}: expected {expected}; received: {received}. Give another file")
