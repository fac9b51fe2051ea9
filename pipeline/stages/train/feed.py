"""From a training's dataset to the batches that `fit` takes; the README beside this file says how and why."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from pipeline.formats.packed import open_split
from pipeline.runtime import paths
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.training import Training
from pipeline.stages.train.workers import ReadAhead, read_ahead

if TYPE_CHECKING:
    from cnnkeras.training.batches import Batches, PreparedBatches


def _reader(training: Training, split: str) -> Reader:
    """Reads a split: the training split augmented, if the experiment says so."""
    columns = open_split(training.folder, split)
    settings = {
        "seed": training.seed,
        "output_shape": training.output_shape,
        "classes": len(training.classes),
    }
    transforms = training.settings.augmentation
    if split != "train" or not transforms:
        return Reader(columns, training.task, **settings)
    where = f"{paths.PARAMS}: {training.where}.augmentation"
    return augmenting_reader(columns, training.task, transforms, where, **settings)


def workers(training: Training, count: int) -> AbstractContextManager[ReadAhead | None]:
    """Processes that prepare the training batches, where there is more to do than to read."""
    settings = training.settings
    if not settings.epochs or not (read := _reader(training, "train")).is_slow:
        return nullcontext()
    return read_ahead(read, batch_size=settings.batch_size, workers=count)


def training_batches(training: Training, ahead: ReadAhead | None) -> "Batches | PreparedBatches":
    """The training split's batches, shuffled."""
    from cnnkeras.training.batches import Batches, PreparedBatches

    options = {"batch_size": training.settings.batch_size, "seed": training.seed}
    if ahead is not None:
        return PreparedBatches(ahead.examples, ahead.start, ahead=ahead.ahead, **options)
    read = _reader(training, "train")
    return Batches(read.inputs, read.targets, **options)


def validation_batches(training: Training) -> "Batches":
    """The validation split's batches, in its own order."""
    from cnnkeras.training.batches import Batches

    read = _reader(training, "val")
    return Batches(read.inputs, read.targets, batch_size=training.settings.batch_size)
