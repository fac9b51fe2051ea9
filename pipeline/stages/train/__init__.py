"""Stage `train`: trains an experiment's model on its packed dataset; writes the model and the history of the training."""

from pathlib import Path
from typing import TYPE_CHECKING

from cnnkeras import tasks
from cnnkeras.training import optimizers, schedules
from pipeline.backend import devices, model_files
from pipeline.formats import history
from pipeline.formats.packed import Index, open_index
from pipeline.params import load_params
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.runtime.workers import available
from pipeline.stages.train import feed
from pipeline.stages.train.training import Training, resolve
from pipeline.stages.train.watch import Watch, write_timings
from pipeline.tracking import live

if TYPE_CHECKING:
    import keras

    from cnnkeras.training.batches import Batches, PreparedBatches


def run(name: str, *, workers: int | None = None) -> None:
    """Train an experiment's model.

    Writes the model; `history.csv`, a row per epoch, without times, so that the same training gives the same file; and the duration of
    each epoch into `.cnnkeras/timings/`. With `epochs: 0` the model keeps its initial weights.

    Args:
        name: Entry under `experiments:`.
        workers: Number of processes that augment images; any number gives the same model. None: one per core.

    Raises:
        InputError: There is no such experiment, its dataset does not exist or was packed with other settings, the layers of the
            initial weights do not fit, the augmentation is wrong, or the loss became infinite or not a number.
    """
    params = load_params()
    training = resolve(params, name)
    outputs = [paths.model_folder(name), paths.history(name)]
    curves = live.Mirror(params, name)
    with (
        curves.outcome(),
        stage("train", name, inputs=training.inputs, outputs=outputs, params=params) as (model_folder, history_file),
    ):
        model_file = model_folder / paths.model_file(name).name
        seconds = _train(training, model_file, history_file, curves, workers=workers or available())
    write_timings(paths.timings(name), seconds)


def _train(
    training: Training, model_file: Path, history_file: Path, curves: live.Mirror, *, workers: int
) -> list[float]:
    """Train and save; returns the duration of each epoch in seconds."""
    index, settings = _checked_index(training), training.settings
    # The workers are forked first: a fork does not copy the threads that Keras' backend starts.
    with (
        feed.workers(training, workers) as ahead,
        # Importing Keras takes seconds: the errors above come first.
        devices.set_up(seed=training.seed, precision=settings.precision, xla=settings.xla, threads=settings.threads),
    ):
        model = _build(training, index)
        copied = _copy_initial_weights(model, training)
        if not settings.epochs:
            _require_all(copied, model, training)
            history.start(history_file)
            model_files.save(model, model_file)
            return []
        train, val = feed.training_batches(training, ahead), feed.validation_batches(training)
        with progress.bar(f"train {training.name}", settings.epochs * len(train), unit="steps") as bar:
            watch = Watch(history_file, bar, curves.epoch, steps=len(train), epochs=settings.epochs)
            with curves.shown(history_file):
                _fit(model, train, val, training, watch)
        model_files.save(model, model_file)
    return watch.seconds


def _checked_index(training: Training) -> Index:
    """The dataset's index.

    Raises:
        InputError: The dataset was packed with another task, classes or size, or a split that the training needs is empty.
    """
    index = open_index(training.folder)
    expected = (training.task, training.classes, training.input_shape)
    received = (index.task, index.classes, index.shape)
    if expected != received:
        folder = training.folder.relative_to(paths.root())
        raise InputError(
            f"{folder}: expected {expected}; received: {received}. Run `cnnkeras augment {training.dataset}` again"
        )
    for split in ("train", "val"):
        if training.settings.epochs and not index.splits[split]["examples"]:
            raise InputError(
                f"datasets.{training.dataset}: expected examples to train on and to validate with; received: no {split}"
            )
    return index


def _build(training: Training, index: Index) -> "keras.Model":
    mean, std = training.input.mean, training.input.std
    return training.architecture.build(
        input_shape=training.input_shape,
        output_shape=training.output_shape,
        input_mean=index.mean if mean == "dataset" else mean,
        input_std=index.std if std == "dataset" else std,
        **training.model,
    )


def _copy_initial_weights(model: "keras.Model", training: Training) -> list[str]:
    """Copy the initial weights into the model; returns the names of the layers that were copied."""
    from cnnkeras.training.initial_weights import copy_weights

    if training.initial_model is None:
        return []
    source = model_files.load(training.initial_model)
    try:
        return copy_weights(source, model, training.settings.initial_weights.layers)
    except ValueError as error:
        raise InputError(f"{training.location}.initial_weights: {error}") from error


def _require_all(copied: list[str], model: "keras.Model", training: Training) -> None:
    """Refuse `epochs: 0` if a layer with weights was not copied."""
    missing = [layer.name for layer in model.layers if layer.weights and layer.name not in copied]
    if missing:
        raise InputError(
            f"{training.location}: expected initial_weights for every layer, with epochs: 0; received: none for "
            f'{", ".join(missing)}. Write layers: ["*"] and take a model that has them all'
        )


def _fit(
    model: "keras.Model", train: "Batches | PreparedBatches", val: "Batches", training: Training, watch: Watch
) -> None:
    import keras

    from cnnkeras.training.fit import DivergedError, fit

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=watch.on_step, on_epoch_end=watch.on_epoch)
    callback.async_safe = True  # Keras need not wait for it after a step
    settings, task = training.settings, tasks.load(training.task)
    try:
        fit(
            model,
            train,
            val,
            epochs=settings.epochs,
            optimizer=settings.optimizer.call(optimizers),
            schedule=settings.schedule.call(schedules),
            loss=task.build_loss(**settings.loss),
            metrics=task.build_metrics(),
            patience_epochs=settings.early_stopping.patience_epochs if settings.early_stopping else None,
            xla=settings.xla,
            steps_per_execution=settings.steps_per_execution,
            callbacks=[callback],
            feed=devices.feed,
        )
    except DivergedError as error:
        raise InputError(f"{training.location}: {error}") from error
