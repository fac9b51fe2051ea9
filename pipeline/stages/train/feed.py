"""Batches for `fit` from a training's dataset; the README beside this file explains the design."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnkeras import tasks
from cnnkeras.training.mixup import mixup
from pipeline.formats.packed import open_split
from pipeline.runtime import paths
from pipeline.stages.train.batch_sheet import draw_batch
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.training import Training
from pipeline.stages.train.workers import ReadAhead, read_ahead

if TYPE_CHECKING:
    from cnnkeras.training.batches import Batch, Batches, Change, PreparedBatches


def _reader(training: Training, split: str) -> Reader:
    """A reader of a split, which augments the training split if the experiment has an augmentation."""
    columns = open_split(training.folder, split)
    settings = {
        "seed": training.seed,
        "output_shape": training.output_shape,
        "classes": len(training.classes),
    }
    transforms = training.settings.augmentation
    if split != "train" or not transforms:
        return Reader(columns, training.task, **settings)
    location = f"{paths.PARAMS}: {training.location}.augmentation"
    settings["min_visible_fraction"] = training.settings.min_visible_fraction
    return augmenting_reader(columns, training.task, transforms, location, **settings)


def workers(training: Training, count: int) -> AbstractContextManager[ReadAhead | None]:
    """Worker processes that prepare the training batches while the block runs; None if reading is only copying, or nothing is trained."""
    settings = training.settings
    if not settings.epochs or not (read := _reader(training, "train")).is_slow:
        return nullcontext()
    return read_ahead(read, batch_size=settings.batch_size // settings.accumulate, workers=count)


def training_batches(training: Training, ahead: ReadAhead | None) -> "Batches | PreparedBatches":
    """Batches of the training split, in an order that depends on seed and epoch; `ahead` prepares them, if it is not None."""
    from cnnkeras.training.batches import Batches, PreparedBatches

    settings = training.settings
    options = {"batch_size": settings.batch_size, "seed": training.seed, "parts": settings.accumulate}
    options["change"] = _mixing(training)
    if ahead is not None:
        return PreparedBatches(ahead.examples, ahead.start, ahead=ahead.ahead, **options)
    read = _reader(training, "train")
    return Batches(read.inputs, read.targets, **options)


def _mixing(training: Training) -> "Change | None":
    """Mixup of a batch with probabilities as targets; None if the training has none."""
    task, alpha = tasks.load(training.task), training.settings.mixup_alpha
    if alpha is None:
        return None

    def mix(inputs: np.ndarray, targets: np.ndarray, generator: np.random.Generator) -> "Batch":
        soft = task.soft_targets(targets, classes=len(training.classes))
        return mixup(inputs, soft, alpha=alpha, generator=generator)

    return mix


def draw_first_batch(training: Training, batches: "Batches | PreparedBatches", path: Path) -> None:
    """Draw the first batch of the training as a sheet, if it is augmented: the dataset's contact sheet shows what is packed."""
    if training.settings.augmentation:
        ids = open_split(training.folder, "train")["ids"]
        draw_batch(path, _reader(training, "train"), batches.indices(0, 0), ids, training)


def validation_batches(training: Training) -> "Batches":
    """Batches of the validation split, in its own order."""
    from cnnkeras.training.batches import Batches

    read, settings = _reader(training, "val"), training.settings
    return Batches(read.inputs, read.targets, batch_size=settings.batch_size // settings.accumulate)
