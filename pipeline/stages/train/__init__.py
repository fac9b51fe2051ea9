"""Stage `train`: trains an experiment's model on its packed dataset; writes the model and the history of the training."""

import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkeras import losses, tasks
from cnnkeras.training import optimizers, schedules
from pipeline.backend import devices, environment, model_files, normalization
from pipeline.formats import history
from pipeline.formats.packed import Index, open_index
from pipeline.params import Params, Repeat, load_params
from pipeline.runtime import durations, outcome, paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import Partials, stage
from pipeline.runtime.workers import available
from pipeline.stages.train import checkpoints, feed, several
from pipeline.stages.train.training import Training, resolve
from pipeline.stages.train.watch import Followers, Watch, write_timings
from pipeline.tracking import live

if TYPE_CHECKING:
    import keras

    from cnnkeras.training.batches import PreparedBatches


def run(name: str, *, workers: int | None = None) -> None:
    """Train an experiment's model.

    Writes the model, and beside it a sheet of the first batch, if the training augments; `history.csv`, a row per epoch, without times, so that the same training gives the same file; and the duration of
    each epoch into `.cnnkeras/timings/`. With `epochs: 0` the model keeps its initial weights.

    A training that was killed, refused or that failed goes on from its last checkpoint, with the bytes of a training in one go.
    With several `seeds`, a model that was trained is not trained again (`several`).

    Args:
        name: Entry under `experiments:`.
        workers: Number of processes that augment images; any number gives the same model. None: one per core.

    Raises:
        InputError: There is no such experiment, its dataset does not exist or was packed with other settings, the layers of the
            initial weights do not fit, the augmentation is wrong, the loss became infinite or not a number, or a step did not fit
            into memory.
    """
    params, workers = load_params(), workers or available()
    repeats = params.repeats(name)
    seconds = _train_several(params, repeats, workers) if len(repeats) > 1 else _train_one(repeats[0], workers)
    outcome.say("train", name, _result(repeats, sum(seconds)), paths.model_folder(name))
    write_timings(paths.timings(name), seconds)
    for repeat in repeats:
        checkpoints.forget(repeat.key)
    settings = params.experiment(name).train.model_dump(include={"precision", "profile", "threads"})
    environment.write(paths.environment(name), seal=paths.seal(f"train@{name}"), settings=settings)


def _result(repeats: Sequence[Repeat], seconds: float) -> str:
    """What came out: epochs, time, and the numbers of the first model's validation after the epoch whose weights it has."""
    name, settings = repeats[0].name, resolve(repeats[0]).settings
    columns = history.read(paths.history(name))
    epochs, best_by = len(columns.get("epoch", ())), settings.best_by
    if not epochs:
        return "the initial weights"
    kept, words = epochs - 1, [f"{epochs} epoch{'' if epochs == 1 else 's'}"]
    if best_by:
        from cnnkeras.training.loop import best_epoch  # imports Keras: it has trained

        kept = best_epoch(columns[best_by].tolist(), best_by)
    if len(repeats) > 1:
        words = [f"{len(repeats)} models", f"the first: {words[0]}"]
    words[0] += f" in {durations.in_words(seconds)}"
    words += [f"the best is {kept + 1}"] if best_by else []
    words += [f"{name} {values[kept]:.3g}" for name, values in columns.items() if name.startswith("val_")]
    return ", ".join(words)


def _train_one(repeat: Repeat, workers: int) -> list[float]:
    """Train the experiment's only model and publish it; returns the duration of each epoch in seconds."""
    name, curves, training = repeat.name, live.Mirror(repeat.params, repeat.name), resolve(repeat)
    outputs = [paths.model_folder(name), paths.history(name)]
    with (
        curves.outcome(),
        stage("train", name, inputs=training.inputs, outputs=outputs, params=repeat.params) as partials,
    ):
        begin = time.monotonic()
        seconds = _train(repeat, training, partials, curves, workers=workers)
        partials.seconds_before = _seconds_before(seconds, begin)
    return seconds


def _train_several(params: Params, repeats: Sequence[Repeat], workers: int) -> list[float]:
    """Train a model with each seed that has none yet, and publish all; returns the duration of each epoch, one seed's after another's."""
    name, inputs = repeats[0].name, resolve(repeats[0]).inputs
    outputs = [paths.model_folder(name), paths.history(name)]

    def train(repeat: Repeat, partials: Partials) -> list[float]:
        curves = live.Mirror(repeat.params, name)
        with curves.outcome():
            return _train(repeat, resolve(repeat), partials, curves, workers=workers)

    with stage("train", name, inputs=inputs, outputs=outputs, params=params) as partials:
        begin = time.monotonic()
        trained = several.trainings(params, repeats)
        seconds = several.train_all(trained, partials, train)
        partials.seconds_before = _seconds_before(seconds, begin)
    several.forget_others(trained)
    return seconds


def _seconds_before(seconds: Sequence[float], begin: float) -> float:
    """How much of the durations of epochs lies before `begin`, on the monotonic clock: what other processes have trained."""
    return max(sum(seconds) - (time.monotonic() - begin), 0.0)


def _train(repeat: Repeat, training: Training, partials: Partials, curves: live.Mirror, *, workers: int) -> list[float]:
    """Train and save for the stage; returns the duration of each epoch in seconds."""
    followers = Followers(
        functools.partial(progress.bar, f"train {training.title}", unit="steps"),
        curves.shown,
        curves.epoch,
        functools.partial(_checkpoints, repeat, training, curves),
        partials.require_unchanged,
        lambda past: curves.go_on(past["times"]),
    )
    return train(training, *partials, followers, workers=workers)


def train(
    training: Training, model_folder: Path, history_file: Path, followers: Followers, *, workers: int
) -> list[float]:
    """Train and save; returns the duration of each epoch in seconds.

    Args:
        training: The training.
        model_folder: Where the model is written; is there.
        history_file: Where the history is written; is not there.
        followers: Who follows it.
        workers: Number of processes that augment images.
    """
    model_file = model_folder / paths.model_file(training.name).name
    index, settings = _checked_index(training), training.settings
    # The workers are forked first: a fork does not copy the threads that Keras' backend starts.
    with (
        feed.read_ahead(training, workers) as ahead,
        # Importing Keras takes seconds: the errors above come first.
        devices.set_up(
            seed=training.seed, precision=settings.precision, profile=settings.profile, threads=settings.threads
        ),
    ):
        model = _build(training, index)
        copied = _copy_initial_weights(model, training)
        if not settings.epochs:
            _require_all(copied, model, training)
            history.start(history_file)
            model_files.save(model, model_file)
            return []
        batches = feed.training_batches(training, ahead[0]), feed.validation_batches(training, ahead[1])
        feed.draw_first_batch(training, batches[0], model_file.with_name(paths.training_batch(training.name).name))
        steps = len(batches[0])
        with followers.bar(settings.epochs * steps) as bar, followers.shown(history_file):
            watch = Watch(history_file, bar, followers.epoch, steps=steps, epochs=settings.epochs)
            with normalization.fused(model):
                _fit(model, *batches, training, watch, followers)
        model_files.save(model, model_file)
    return watch.seconds


def _checked_index(training: Training) -> Index:
    """The dataset's index.

    Raises:
        InputError: The dataset was packed with another task, classes or size, or a split that the training needs is empty.
    """
    index = open_index(training.folder)
    expected = (training.task, training.classes, training.packed_shape)
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


def _checkpoints(repeat: Repeat, training: Training, curves: live.Mirror, watch: Watch) -> checkpoints.Checkpoints:
    def past() -> dict[str, Any]:
        return {"seconds": watch.seconds, "elapsed": watch.elapsed, "times": curves.times}

    folder = paths.checkpoints(repeat.key) / checkpoints.key(repeat.params, training)
    return checkpoints.Checkpoints(f"train {training.title}", folder, repeat.params.checkpoint, past)


def _fit(
    model: "keras.Model",
    train: "PreparedBatches",
    val: "PreparedBatches",
    training: Training,
    watch: Watch,
    followers: Followers,
) -> None:
    """Train from the last checkpoint, or from the start."""
    import keras

    from cnnkeras.training.divergence import DivergedError
    from cnnkeras.training.fit import FitError, fit, why_indivisible

    callback = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda _epoch, _logs: followers.require_unchanged(),
        on_train_batch_end=watch.on_step,
        on_epoch_end=watch.on_epoch,
    )
    callback.async_safe = True  # Keras need not wait for it after a step
    settings, task = training.settings, tasks.load(training.task)
    chosen, arguments = losses.chosen(settings.loss, task=training.task)
    loss = chosen.build(**arguments)
    start, kept = None, followers.checkpoints(watch)
    if kept is not None and (loaded := kept.load_with_past()) is not None:
        start, past = loaded
        followers.go_on(past)  # before the history has the former epochs, which are shown with their times
        watch.go_on(start.logs, past["seconds"], elapsed=past["elapsed"], step=start.step)
        kept.go_on(start)
    try:
        fit(
            model,
            train,
            val,
            epochs=settings.epochs,
            optimizer=settings.optimizer.call(optimizers),
            schedule=settings.schedule.call(schedules),
            loss=loss,
            metrics=task.build_metrics(),
            patience_epochs=settings.early_stopping.patience_epochs if settings.early_stopping else None,
            best_by=settings.best_by,
            ema_momentum=settings.ema_momentum,
            xla=devices.compiles(settings.profile),
            steps_per_execution=settings.steps_per_execution,
            callbacks=[callback, *followers.callbacks()],
            feed=devices.feed,
            start=start,
            checkpoints=kept,
        )
    except (DivergedError, FitError) as error:
        raise InputError(f"{training.location}: {error}") from error
    except Exception as error:
        if not devices.lacks_memory(error):
            raise
        raise InputError(
            _smaller(training, can_divide=chosen.IS_MEAN_OF_EXAMPLES and why_indivisible(model, loss) is None)
        ) from error


def _smaller(training: Training, *, can_divide: bool) -> str:
    """What to try if a step did not fit into memory. `can_divide`: whether a batch can be computed in parts."""
    size, parts = training.settings.batch_size, training.settings.accumulate
    more = next((count for count in range(parts + 1, size + 1) if size % count == 0), None)
    said = f"{training.location}: expected memory for a step of {size // parts} examples; received: less. "
    if more is None:
        return f"{said}Take a smaller model or smaller inputs"
    said += f"Try batch_size: {max(size // 2 // parts, 1) * parts}"
    return f"{said}, or accumulate: {more}, whose steps are those of batch_size: {size}" if can_divide else said
