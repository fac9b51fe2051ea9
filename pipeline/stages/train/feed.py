"""Batches for `fit` from a training's dataset; the README beside this file explains the design."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.training.mixup import mixup
from pipeline.backend import devices
from pipeline.formats.packed import open_split
from pipeline.runtime import paths
from pipeline.stages.train.batch_sheet import draw_batch
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.training import Training
from pipeline.stages.train.workers import THREADS, ReadAhead, read_with_processes, read_with_threads

if TYPE_CHECKING:
    from cnnkeras.training.batches import Batch, Change, PreparedBatches


def _reader(training: Training, split: str) -> Reader:
    """A reader of a split, which augments the training split if the experiment has an augmentation."""
    columns = open_split(training.folder, split)
    settings = {
        "seed": training.seed,
        "output_shape": training.output_shape,
        "classes": len(training.classes),
        "fit": training.fit,
        "size": training.input_shape[:2] if len(training.input_shape) == 3 else None,
    }
    transforms = training.settings.augmentation
    if split != "train" or not transforms:
        return Reader(columns, training.task, **settings)
    location = f"{paths.PARAMS}: {training.location}.augmentation"
    settings["min_visible_fraction"] = training.settings.min_visible_fraction
    return augmenting_reader(columns, training.task, transforms, location, **settings)


@contextmanager
def read_ahead(training: Training, workers: int) -> Iterator[tuple[ReadAhead, ReadAhead] | None]:
    """Processes and threads that prepare the batches of the training and of the validation while the block runs; None if nothing is trained."""
    settings = training.settings
    if not settings.epochs:
        yield None
        return
    train, validation = (_reader(training, split) for split in ("train", "val"))
    size, threads = settings.batch_size // settings.accumulate, min(workers, THREADS)
    prepare = (
        read_with_processes(train, batch_size=size, workers=workers)
        if train.is_slow
        else read_with_threads(train, batch_size=size, threads=threads)
    )
    threads = workers if validation.is_slow else threads
    # Processes first: a fork does not copy threads.
    with prepare as ahead, read_with_threads(validation, batch_size=size, threads=threads) as validation_ahead:
        yield ahead, validation_ahead


def training_batches(training: Training, ahead: ReadAhead) -> "PreparedBatches":
    """Batches of the training split, prepared by `ahead`, in an order that depends on seed and epoch."""
    settings = training.settings
    options = {"batch_size": settings.batch_size, "seed": training.seed, "parts": settings.accumulate}
    return _prepared(ahead, **options, change=_mixing(training))


def validation_batches(training: Training, ahead: ReadAhead) -> "PreparedBatches":
    """Batches of the validation split, prepared by `ahead`, in its own order."""
    settings = training.settings
    return _prepared(ahead, batch_size=settings.batch_size // settings.accumulate)


def _prepared(ahead: ReadAhead, **options: Any) -> "PreparedBatches":
    from cnnkeras.training.batches import PreparedBatches

    put = devices.to_device()

    def start(indices: np.ndarray, epoch: int, change: "Callable[[Batch], Batch]") -> "Callable[[], Batch]":
        return ahead.start(indices, epoch, lambda batch: put(change(batch)))

    return PreparedBatches(ahead.examples, start, ahead=ahead.ahead, **options)


def _mixing(training: Training) -> "Change | None":
    """Mixup of a batch with probabilities as targets; None if the training has none."""
    task, alpha = tasks.load(training.task), training.settings.mixup_alpha
    if alpha is None:
        return None

    def mix(inputs: np.ndarray, targets: np.ndarray, generator: np.random.Generator) -> "Batch":
        soft = task.soft_targets(targets, classes=len(training.classes))
        return mixup(inputs, soft, alpha=alpha, generator=generator)

    return mix


def draw_first_batch(training: Training, batches: "PreparedBatches", path: Path) -> None:
    """Draw the first batch of the training as a sheet, if it is augmented: the dataset's contact sheet shows what is packed."""
    if training.settings.augmentation:
        ids = open_split(training.folder, "train")["ids"]
        draw_batch(path, _reader(training, "train"), batches.indices(0, 0), ids, training)
