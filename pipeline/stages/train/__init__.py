"""`cnnkeras train EXPERIMENT`: from a packed dataset to a trained network and the history of its training."""

import csv
import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from cnnkeras import architectures, tasks
from pipeline.backend import devices
from pipeline.formats.packed import Index, open_index, open_split
from pipeline.params import SCRATCH, Experiment, Params, Train, load_params, output_shape
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.runtime.workers import available
from pipeline.stages.train.batches import ReadAhead, Reader, augmenting_reader, read_ahead
from pipeline.tracking import live

if TYPE_CHECKING:
    import keras

    from cnnkeras.training import Batches, PreparedBatches


_FIRST_COLUMNS = ("epoch", "learning_rate", "loss", "val_loss")  # of history.csv


def run(name: str, *, workers: int | None = None) -> None:
    """Train an experiment's network.

    Writes the network, `history.csv` (a row an epoch; no times, so that the same training gives the same file), and to
    `.cnnkeras/timings/` how long it took. With no epochs, the network is the one that it starts from.

    Args:
        name: Entry under `experiments:`.
        workers: Processes that augment images; any number gives the same network. Default: as many as there are cores.

    Raises:
        InputError: No such experiment, its data do not exist or belong to other params, the layers to start from do not
            fit, the augmentation is wrong, or the loss is no number any more.
    """
    params = load_params()
    experiment = params.experiment(name)
    start = experiment.train.initial_weights.experiment
    inputs = [paths.augmented(experiment.dataset), *([] if start == SCRATCH else [paths.model_folder(start)])]
    with stage("train", name, inputs=inputs, outputs=[paths.model_folder(name), paths.history(name)]) as partial:
        model_folder, history = partial
        model_file = model_folder / paths.model_file(name).name
        seconds = _train(params, name, model_file, history, workers=workers or available())
    _write_timings(paths.timings(name), seconds)


def _train(params: Params, name: str, model_file: Path, history: Path, *, workers: int) -> list[float]:
    """Train and save; returns the seconds that each epoch took."""
    experiment = params.experiment(name)
    settings, where = experiment.train, f"experiments.{name}.train"
    index = _checked_index(params, experiment.dataset, epochs=settings.epochs)
    seed = params.training_seed(name)
    # The workers first: no fork copies the threads that Keras' backend starts.
    with (
        _read_ahead(params, name, workers) as ahead,
        devices.set_up(seed=seed, precision=settings.precision, xla=settings.xla, threads=settings.threads),
    ):
        # What imports Keras comes this late so that wrong input is answered before those seconds.
        from pipeline.backend import model_files

        network = _build(params, experiment, index)
        copied = _copy_initial_weights(network, settings, where)
        if not settings.epochs:
            _require_all(copied, network, where)
            history.write_text(",".join(_FIRST_COLUMNS) + "\n", encoding="utf-8")
            model_files.save(network, model_file)
            return []
        train, val = _training_batches(params, name, ahead), _validation_batches(params, name)
        with progress.bar(f"train {name}", settings.epochs * len(train), unit="steps") as bar:
            watch = _Watch(history, bar, steps=len(train), epochs=settings.epochs)
            with live.mirror(params, name, history):
                _fit(network, train, val, settings, params.task(name), watch, where)
        model_files.save(network, model_file)
    return watch.seconds


def _checked_index(params: Params, dataset: str, *, epochs: int) -> Index:
    """The dataset's index, after a look at whether it is of these params, and enough to train on."""
    entry, index = params.dataset(dataset), open_index(paths.augmented(dataset))
    expected = (entry.task, params.classes(dataset), entry.input_shape)
    received = (index.task, index.classes, index.shape)
    if expected != received:
        place = paths.augmented(dataset).relative_to(paths.root())
        raise InputError(f"{place}: expected {expected}; received: {received}. Run `cnnkeras augment {dataset}` again")
    for split in ("train", "val"):
        if epochs and not index.splits[split]["examples"]:
            raise InputError(
                f"datasets.{dataset}: expected examples to train on and to validate with; received: no {split}"
            )
    return index


def _build(params: Params, experiment: Experiment, index: Index) -> "keras.Model":
    architecture = architectures.load(experiment.architecture)
    given = experiment.input
    return architecture.build(
        input_shape=index.shape,
        output_shape=output_shape(architecture, params, experiment.dataset, experiment.model),
        input_mean=index.mean if given.mean == "dataset" else given.mean,
        input_std=index.std if given.std == "dataset" else given.std,
        **experiment.model,
    )


def _copy_initial_weights(network: "keras.Model", settings: Train, where: str) -> list[str]:
    """Give the network the weights that it starts from; returns the names of the layers that have them."""
    from cnnkeras import training
    from pipeline.backend import model_files

    start = settings.initial_weights
    if start.experiment == SCRATCH:
        return []
    source = model_files.load(paths.model_file(start.experiment))
    try:
        return training.copy_weights(source, network, start.layers)
    except ValueError as error:
        raise InputError(f"{where}.initial_weights: {error}") from error


def _require_all(copied: list[str], network: "keras.Model", where: str) -> None:
    """A network that is not trained has no layer of its own."""
    own = [layer.name for layer in network.layers if layer.weights and layer.name not in copied]
    if own:
        raise InputError(
            f"{where}: expected initial_weights for every layer, with epochs: 0; received: none for {', '.join(own)}. "
            'Write layers: ["*"] and take a network that has them all'
        )


def _reader(params: Params, name: str, split: str) -> Reader:
    """What reads a split: the training split augmented, if the experiment says so."""
    experiment, task = params.experiment(name), params.task(name)
    shape = output_shape(architectures.load(experiment.architecture), params, experiment.dataset, experiment.model)
    columns, classes = open_split(paths.augmented(experiment.dataset), split), len(params.classes(experiment.dataset))
    settings = {"seed": params.training_seed(name), "grid": shape[0], "classes": classes}
    transforms = experiment.train.augmentation
    if split != "train" or not transforms:
        return Reader(columns, task, **settings)
    where = f"params.yaml: experiments.{name}.train.augmentation"
    return augmenting_reader(columns, task, transforms, where, **settings)


def _read_ahead(params: Params, name: str, workers: int) -> AbstractContextManager[ReadAhead | None]:
    """Processes that prepare the training batches, where there is more to do than to read."""
    settings = params.experiment(name).train
    if not settings.epochs or not (read := _reader(params, name, "train")).is_slow:
        return nullcontext()
    return read_ahead(read, batch_size=settings.batch_size, workers=workers)


def _training_batches(params: Params, name: str, ahead: ReadAhead | None) -> "Batches | PreparedBatches":
    """The training split's batches, shuffled."""
    from cnnkeras import training

    options = {"batch_size": params.experiment(name).train.batch_size, "seed": params.training_seed(name)}
    if ahead is not None:
        return training.PreparedBatches(ahead.examples, ahead.start, ahead=ahead.ahead, **options)
    read = _reader(params, name, "train")
    return training.Batches(read.inputs, read.targets, **options)


def _validation_batches(params: Params, name: str) -> "Batches":
    """The validation split's batches, in its own order."""
    from cnnkeras import training

    read = _reader(params, name, "val")
    return training.Batches(read.inputs, read.targets, batch_size=params.experiment(name).train.batch_size)


def _fit(
    network: "keras.Model",
    train: "Batches | PreparedBatches",
    val: "Batches",
    settings: Train,
    task: str,
    watch: "_Watch",
    where: str,
) -> None:
    import keras

    from cnnkeras import training

    follow = keras.callbacks.LambdaCallback(on_train_batch_end=watch.on_step, on_epoch_end=watch.on_epoch)
    follow.async_safe = True  # the step need not wait for it
    optimizer, schedule = settings.optimizer, settings.schedule
    try:
        training.fit(
            network,
            train,
            val,
            epochs=settings.epochs,
            optimizer=training.build_optimizer(**optimizer.model_dump(exclude={"weight_decay"})),
            learning_rate=training.LearningRate(
                optimizer.learning_rate,
                training.SCHEDULES[schedule.name](
                    **schedule.model_dump(exclude={"name", "warmup_epochs", "warmup_factor"})
                ),
                warmup_epochs=schedule.warmup_epochs,
                warmup_factor=schedule.warmup_factor,
            ),
            loss=tasks.load(task).build_loss(**settings.loss),
            metrics=tasks.load(task).build_metrics(),
            weight_decay=optimizer.weight_decay,
            patience_epochs=settings.early_stopping.patience_epochs if settings.early_stopping else None,
            xla=settings.xla,
            steps_per_execution=settings.steps_per_execution,
            callbacks=[follow],
            feed=devices.feed,
        )
    except training.DivergedError as error:
        raise InputError(f"{where}: {error}") from error


class _Watch:
    """Follows a training: writes the history, moves the bar, takes the time."""

    def __init__(self, history: Path, bar: progress.Bar, *, steps: int, epochs: int):
        self._history, self._bar, self._steps, self._epochs = history, bar, steps, epochs
        self._epoch, self._last = 0, time.monotonic()
        self._figures: dict[str, float] = {}
        self.seconds: list[float] = []

    def on_step(self, step: int, logs: Mapping[str, float]) -> None:
        """Show the figures of the epoch so far; `step` counts from 0. The last one is over after the validation."""
        self._show(min(step + 1, self._steps - 1), logs)

    def on_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keep and show the figures of an epoch, which counts from 0."""
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last = now
        row = {"epoch": epoch + 1} | {
            key: f"{logs[key]:.6g}" for key in (*_FIRST_COLUMNS[1:], *sorted(logs.keys() - set(_FIRST_COLUMNS)))
        }
        with self._history.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, row, lineterminator="\n")
            if not epoch:
                writer.writeheader()
            writer.writerow(row)
        self._show(self._steps, logs)
        self._epoch = epoch + 1

    def _show(self, steps: int, logs: Mapping[str, float]) -> None:
        self._figures |= logs  # those of the last validation stay until there is another
        names = sorted(self._figures, key=lambda name: (name not in ("loss", "val_loss"), name))
        figures = "  ".join(f"{name} {self._figures[name]:.3g}" for name in names)
        epoch = self._epoch + 1
        self._bar.update(self._epoch * self._steps + steps, f"epoch {epoch}/{self._epochs}  {figures}")


def _write_timings(path: Path, seconds: list[float]) -> None:
    """How long each epoch took (the first one: with the compilation) and on what machine. Differs from run to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": devices.describe(),
        "seconds": round(sum(seconds), 3),
        "seconds_per_epoch": [round(value, 3) for value in seconds],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
