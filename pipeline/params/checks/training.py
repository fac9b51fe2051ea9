"""Checks of an experiment's section `train` against its dataset, and of values that contradict each other or are too large to be meant."""

import math
from collections.abc import Mapping
from typing import Any

from cnnkeras import losses, tasks
from cnnkeras.by_name import unknown
from cnnkeras.training import schedules
from pipeline import sources
from pipeline.backend import layer_table
from pipeline.params.experiments import Experiment
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import checked_arguments
from pipeline.params.training import Train
from pipeline.params.whole import Params, input_shape
from pipeline.runtime.entries import Arguments

# Bytes of the inputs of one step, in float32. The largest published batch, 65,536 images of 160 x 160 pixels on 3,456 GPUs, has
# 19 GiB.
MAX_BATCH_BYTES = 2**35
NORMALIZATIONS = "bn"  # begins the names of batch normalisations in all our architectures


def check_training(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse a schedule that does not fit the epochs, a batch that does not fit the memory or the dataset, and parts or a best epoch by nothing."""
    experiment = params.experiments[name]
    location = ("experiments", name)
    values = math.prod(input_shape(params, experiment))
    for section in ("train", "predict"):
        batch_size = getattr(experiment, section).batch_size
        if 4 * values * batch_size > MAX_BATCH_BYTES:
            raise file.error(
                (*location, section, "batch_size"),
                f"expected at most {MAX_BATCH_BYTES // (4 * values):,} inputs of this size at once, "
                f"{MAX_BATCH_BYTES >> 30} GiB; received: {batch_size}",
            )
    _check_seeds(file, location, experiment)
    _check_parts(file, (*location, "train", "accumulate"), experiment.train)
    _check_mixing(file, (*location, "train", "mixup_alpha"), experiment.train, params.task(name))
    _check_best(file, (*location, "train", "keep_by"), experiment.train, params.datasets[experiment.dataset].task)
    if experiment.train.epochs:
        _check_schedule(file, (*location, "train", "schedule"), experiment)
        _check_batch(file, params, (*location, "train", "batch_size"), experiment)


def check_normalization(file: ParsedFile, params: Params, name: str, model: Mapping[str, Any]) -> None:
    """Refuse a decay of scales and shifts where the network has none, and parts of a batch where it has some.

    `model`: the checked options of the architecture.
    """
    experiment, location = params.experiments[name], ("experiments", name, "train")
    layers = layer_table.layers(experiment.architecture, params.task(name), model)
    if layers is None:  # an architecture of the user's, whose layers may have any name: the training itself looks
        return
    normalizations = [layer for layer in layers if layer.startswith(NORMALIZATIONS)]
    decay = experiment.train.optimizer.arguments.get("normalization_decay")
    if decay and not normalizations:
        raise file.error(
            (*location, "optimizer", "normalization_decay"),
            f"expected none, as this {experiment.architecture} has no batch normalisation; received: {decay:g}",
        )
    if experiment.train.accumulate > 1 and normalizations:
        raise file.error(
            (*location, "accumulate"),
            f"expected none, as this {experiment.architecture} has batch normalisation, {normalizations[0]} for example, whose statistics "
            f"are those of what is computed at once; received: {experiment.train.accumulate}. Take a smaller batch_size",
        )


def _check_seeds(file: ParsedFile, location: tuple[str, ...], experiment: Experiment) -> None:
    seeds, train = experiment.seeds, experiment.train
    if seeds is None:
        return
    if len(set(seeds)) < len(seeds):
        raise file.error((*location, "seeds"), f"expected different seeds; received: {list(seeds)}")
    if train.seed is not None:
        message = f"expected none beside seeds: {list(seeds)}; received: {train.seed}. Leave one of the two out"
        raise file.error((*location, "train", "seed"), message)
    if not train.epochs:
        received = "none, as train.epochs is 0 and every seed gives the same model"
        raise file.error((*location, "seeds"), f"expected something to train; received: {received}")


def _check_parts(file: ParsedFile, location: tuple[str, ...], train: Train) -> None:
    if train.batch_size % train.accumulate:
        message = f"expected a number that divides batch_size, {train.batch_size}; received: {train.accumulate}"
        raise file.error(location, message)


def checked_loss(file: ParsedFile, params: Params, name: str) -> Arguments:
    """The settings under `train.loss` with all defaults: with the key `name` if the file names another loss than the task's own.

    Refuses numbers for more or fewer classes than the dataset has, and parts of a batch whose losses do not add up to the batch's.
    """
    experiment, task, location = params.experiments[name], params.task(name), ("experiments", name, "train", "loss")
    chosen = experiment.train.loss.get(losses.NAME, task)
    if chosen not in losses.names():
        raise file.error((*location, losses.NAME), unknown(chosen, losses.names(), "loss"))
    module = losses.load(chosen)
    if task not in module.TASKS:
        message = f"expected a loss of {task}; received: {chosen}, one of {', '.join(module.TASKS)}"
        raise file.error((*location, losses.NAME), message)
    written = {key: value for key, value in experiment.train.loss.items() if key != losses.NAME}
    loss = checked_arguments(file, location, module.build, written)
    classes = params.known_classes(experiment.dataset)
    for key in module.PER_CLASS:
        if classes is not None and loss.get(key) is not None and len(loss[key]) != len(classes):
            message = f"expected {len(classes)} numbers, one for each class; received: {len(loss[key])}"
            raise file.error((*location, key), message)
    parts = experiment.train.accumulate
    if parts > 1 and not module.IS_MEAN_OF_EXAMPLES:
        noun = "the loss of" if chosen == task else "the loss"
        message = f"expected none, as {noun} {chosen} averages over more than one example; received: {parts}"
        raise file.error((*location[:-1], "accumulate"), f"{message}. Take a smaller batch_size")
    return Arguments({**loss, **({losses.NAME: chosen} if losses.NAME in experiment.train.loss else {})})


def _check_mixing(file: ParsedFile, location: tuple[str, ...], train: Train, task: str) -> None:
    if train.mixup_alpha is not None and tasks.load(task).soft_targets is None:
        message = f"expected none, as the targets of {task} cannot be mixed; received: {train.mixup_alpha:g}"
        raise file.error(location, message)


def _check_best(file: ParsedFile, location: tuple[str, ...], train: Train, task: str) -> None:
    names = ["val_loss", *(f"val_{name}" for name in tasks.load(task).METRICS)]
    if train.keep_by not in names:
        raise file.error(location, unknown(train.keep_by, names, "number of the validation split"))
    if train.keep_by != names[0] and train.best_by is None:
        raise file.error(location, f"expected keep: best beside it; received: {train.keep_by} by which nothing is kept")


def _check_schedule(file: ParsedFile, location: tuple[str, ...], experiment: Experiment) -> None:
    epochs, named = experiment.train.epochs, experiment.train.schedule
    schedule = named.call(schedules)
    if schedule.warmup_epochs >= epochs:
        message = f"expected a warm-up shorter than the training, {epochs} epochs; received: {schedule.warmup_epochs:g}"
        raise file.error((*location, "warmup_epochs"), message)
    if schedule.needed_epochs >= epochs:
        keys = [key for key, value in named.arguments.items() if schedule.needed_epochs in _leaves(value)]
        message = f"expected changes of the rate within the {epochs} epochs of training; received: one after {schedule.needed_epochs:g}"
        raise file.error((*location, *keys[:1]), message)
    if schedule.lasts_epochs > epochs:
        message = f"expected at most {epochs}, the epochs of training, so that the schedule reaches its end; received: {schedule.lasts_epochs:g}"
        raise file.error((*location, "epochs"), message)
    if not schedule.factor_at(epochs - 1, ()):
        message = f"expected a rate above 0 in each of the {epochs} epochs of training; received: 0 in the last one"
        raise file.error(location, message)


def _leaves(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _check_batch(file: ParsedFile, params: Params, location: tuple[str, ...], experiment: Experiment) -> None:
    """Refuse a batch with more examples than the training split, if the number of these is known before the download."""
    dataset = params.datasets[experiment.dataset]
    source = params.sources[dataset.source]
    count = getattr(sources.load(source.kind), "max_training_examples", None)
    if count is None or dataset.examples == "proposals":
        return
    max_examples = count(source, examples=dataset.examples) * (1 + dataset.copies)
    if experiment.train.batch_size > max_examples:
        raise file.error(
            location,
            f"expected at most {max_examples:,} examples, as {experiment.dataset} has no more to train on; "
            f"received: {experiment.train.batch_size}",
        )
