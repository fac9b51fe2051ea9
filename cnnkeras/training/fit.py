"""Training a model with `fit`: the papers' weight decay, accumulated gradients, averaged weights, and the epochs of `cnnkeras.training.loop`."""

from collections.abc import Callable, Sequence

import keras

from cnnkeras.training import state as states
from cnnkeras.training.averages import Averages
from cnnkeras.training.batches import Batches, PreparedBatches
from cnnkeras.training.loop import Feed, LearningRate, Loop, Progress
from cnnkeras.training.optimizers import Optimizer
from cnnkeras.training.schedules import Schedule
from cnnkeras.training.state import Checkpoints, State


class FitError(ValueError):
    """Settings that a training of this model cannot have."""


def set_weight_decay(model: keras.Model, decay: float, normalization_decay: float = 0.0) -> None:
    """Add the papers' weight decay to a built model: decay x w in the gradient of every kernel w.

    This is the penalty decay / 2 sum w^2 in the loss (the gradient of Keras' L2 is 2 factor w), applied before momentum:
    AlexNet, section 5; VGG, section 3.1; YOLO v1, section 2.2. `SGD(weight_decay=)` differs: its decay is decoupled from the
    gradient (Loshchilov and Hutter 2019). Biases do not decay, as in cuda-convnet2's, Caffe's and Darknet's networks, nor do the
    scales and shifts of batch normalisation, unless `normalization_decay` says so: DeconvNet's Caffe treats them as weights.

    Departures from the paper: the papers do not say that biases are exempt; the authors' code exempts them.

    Args:
        model: Built; its variables get or lose the penalty.
        decay: The factor; 0: no penalty.
        normalization_decay: The factor for scales and shifts; 0: no penalty.
    """
    decays = {"kernel": decay, "gamma": normalization_decay, "beta": normalization_decay}
    for variable in model.trainable_variables:
        if variable.name in decays:
            own = decays[variable.name]
            variable.regularizer = keras.regularizers.L2(own / 2) if own else None


def fit(
    model: keras.Model,
    train: Batches | PreparedBatches,
    validation: Batches | PreparedBatches,
    *,
    epochs: int,
    optimizer: Optimizer,
    schedule: Schedule,
    loss: keras.losses.Loss | Callable,
    metrics: Sequence[keras.metrics.Metric] = (),
    patience_epochs: int | None = None,
    best_by: str | None = None,
    ema_momentum: float | None = None,
    xla: bool = False,
    steps_per_execution: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    feed: Feed = lambda batches: batches,
    start: State | None = None,
    checkpoints: Checkpoints | None = None,
) -> None:
    """Train a model in place.

    The logs of an epoch hold `loss` and `val_loss`, both with the penalty of the weight decay, the metrics of both splits (the
    validation's with the prefix `val_`), and `learning_rate`. On one CPU, equal calls after the same `keras.utils.set_random_seed`
    give equal bits, whether in one go or from a state that an earlier call kept.

    If `train` divides its batches into parts, their gradients are accumulated: each batch gives one step of the optimizer, that of the
    whole batch except for rounding. The schedule and `steps_per_execution` count whole batches; dropout draws a mask for each part.

    Args:
        model: Built; with several devices, built and trained in the scope of their strategy.
        train: Training batches, shuffled with a seed.
        validation: Validation batches.
        epochs: Number of passes over the training batches.
        optimizer: Updates the weights; holds their decay and the base learning rate.
        schedule: Gives the factor on the base learning rate.
        loss: Keras' loss, or a function of the targets and the model's outputs that gives a number for each example.
        metrics: Metrics for the logs.
        patience_epochs: Stop when `val_loss` has not fallen for this many epochs; None: never.
        best_by: Give the model the weights of the epoch that is best by this number of the logs: `val_loss`, or a metric, which is
            better the higher it is. None: those of the last epoch.
        ema_momentum: Validate with moving averages of the weights, and give the model these, by this momentum (`Averages`), between 0
            and 1; None: the weights themselves. The training goes on from the weights in either case.
        xla: Compile the step with XLA; on JAX it is always compiled.
        steps_per_execution: Number of steps between two returns to Python: more is faster for small models. Always 1 on several
            devices, where TensorFlow refuses more.
        callbacks: Called after the callbacks of this function. Those of a batch get its number from where the call began in the epoch.
        feed: A function from batches to an iterable that `keras.Model.fit` reads, in the same order; by default the batches.
        start: The state to go on from; None: the start.
        checkpoints: Keeps states of the training; None: none are kept.

    Raises:
        DivergedError: The loss became infinite or NaN. With `checkpoints` the error names the first layer whose output was no number.
        FitError: The parts of a batch would not give what the whole batch gives, gradients would be clipped on several devices, or `best_by` is not in the logs.
    """
    _require_named(best_by, metrics)
    set_weight_decay(model, optimizer.weight_decay, optimizer.normalization_decay)
    # AdamW's decay, which is not in the gradient, is of kernels too. By variable: the names that Keras would match differ by backend.
    optimizer.update.exclude_from_weight_decay([own for own in model.trainable_variables if own.name != "kernel"])
    is_distributed = _is_distributed(model)
    if is_distributed and optimizer.update.global_clipnorm is not None:
        raise FitError(
            f"expected no global_clipnorm; received: {optimizer.update.global_clipnorm:g} on several devices, "
            "each of which Keras lets clip the gradient of its own share. Leave it out, or train on one device"
        )
    if train.parts > 1:
        if reason := why_indivisible(model, loss):
            raise FitError(
                f"expected a training whose batches can be computed in parts; received: {reason}. "
                "Leave `accumulate` out and take a smaller batch_size"
            )
        optimizer.update.gradient_accumulation_steps = train.parts
    model.compile(
        optimizer.update,
        loss,
        metrics=list(metrics),
        jit_compile=xla or keras.backend.backend() == "jax",
        steps_per_execution=1 if is_distributed else min(steps_per_execution * train.parts, len(train)),
    )
    # If the first step created the optimizer's variables, TensorFlow would trace the step twice, which takes seconds. `compile` may
    # wrap the optimizer (in half precision), so its variables are created here, after it.
    model.optimizer.build(model.trainable_variables)
    averages = Averages(model, ema_momentum) if ema_momentum is not None else None
    progress = Progress()
    Loop(
        model=model,
        train=train,
        validation=feed(validation),
        epochs=epochs,
        rate=LearningRate(optimizer.learning_rate, schedule, progress, steps=len(train)),
        progress=progress,
        feed=feed,
        variables=states.variables(model),
        sums=states.sums(model, metrics),
        patience_epochs=patience_epochs,
        best_by=best_by,
        averages=averages,
        checkpoints=checkpoints,
        callbacks=callbacks,
    ).run(start)


def _require_named(best_by: str | None, metrics: Sequence[keras.metrics.Metric]) -> None:
    names = ["val_loss", *(f"val_{metric.name}" for metric in metrics)]
    if best_by is not None and best_by not in names:
        raise FitError(f"expected the best epoch by one of {', '.join(names)}; received: {best_by!r}")


def _is_distributed(model: keras.Model) -> bool:
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    return strategy is not None and strategy.num_replicas_in_sync > 1


def why_indivisible(model: keras.Model, loss: keras.losses.Loss | Callable) -> str | None:
    """Why the gradients of parts of a batch do not add up to that of the whole; None if they do."""
    normalization = next(
        (layer.name for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)), None
    )
    if normalization is not None:
        return f"{normalization}, a batch normalisation, whose statistics are those of what is computed at once"
    if not getattr(loss, "is_mean_of_examples", True):
        return f"{loss.name}, which averages over more than one example"
    if _is_distributed(model):
        return "several devices, on which Keras does not accumulate gradients"
    return None
