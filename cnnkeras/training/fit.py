"""Training a model with `fit`: the papers' weight decay, a learning rate for each step, an error when the loss diverges."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from typing_extensions import override

from cnnkeras.training.batches import Batches, PreparedBatches
from cnnkeras.training.optimizers import Optimizer
from cnnkeras.training.schedules import Schedule


class DivergedError(ArithmeticError):
    """The loss became infinite or NaN."""


class _EpochOrder(keras.callbacks.Callback):
    """Tells the batches which epoch begins: their order depends on it."""

    def __init__(self, batches: Batches | PreparedBatches):
        super().__init__()
        self._batches = batches

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batches.epoch = epoch


class _LearningRate(keras.callbacks.Callback):
    """Sets the optimizer's learning rate before each step, by the schedule; adds `learning_rate` to the epoch's logs.

    The rate can change only between two executions of the compiled function: with `steps_per_execution` above 1 it is the same for that
    many steps. The logged rate is that of the epoch's last step.
    """

    def __init__(self, base: float, schedule: Schedule):
        super().__init__()
        self._base, self._schedule = base, schedule
        self._epoch, self._current = 0, None

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._epoch = epoch

    @override
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        rate = self._schedule.rate_at(self._epoch + batch / self.params["steps"], base=self._base)
        if rate == self._current:
            return
        if keras.backend.backend() == "jax":
            # During an epoch on JAX the values of the variables are outside the model; without this copy back, the new rate is lost.
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = self._current = rate

    @override
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs["learning_rate"] = self._current
        self._schedule.observe(logs["val_loss"])


class _Divergence(keras.callbacks.Callback):
    """Stops at the first loss that is not finite, and raises an error at the end of that epoch."""

    async_safe = True  # Keras may call it later, from another thread, so no step waits for its loss

    @override
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # The loss in the logs is the mean of the epoch so far: once infinite or NaN, it stays so.
        if not math.isfinite(logs["loss"]):
            self.model.stop_training = True

    @override
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        for name in ("loss", "val_loss"):
            if not math.isfinite(logs[name]):
                raise DivergedError(
                    f"expected a finite {name}; received: {logs[name]} in epoch {epoch + 1}. "
                    "Lower the learning rate, or let it rise in a warm-up"
                )


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
    validation: Batches,
    *,
    epochs: int,
    optimizer: Optimizer,
    schedule: Schedule,
    loss: keras.losses.Loss,
    metrics: Sequence[keras.metrics.Metric] = (),
    patience_epochs: int | None = None,
    xla: bool = False,
    steps_per_execution: int = 1,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    feed: Callable[[keras.utils.PyDataset], Any] = lambda batches: batches,
) -> None:
    """Train a model in place.

    The logs of an epoch hold `loss` and `val_loss`, both with the penalty of the weight decay, the metrics of both splits (the
    validation's with the prefix `val_`), and `learning_rate`. On one CPU, equal calls after the same `keras.utils.set_random_seed`
    give equal bits.

    Args:
        model: Built; with several devices, built and trained in the scope of their strategy.
        train: Training batches, shuffled with a seed.
        validation: Validation batches.
        epochs: Number of passes over the training batches.
        optimizer: Updates the weights; holds their decay and the base learning rate.
        schedule: Gives the factor on the base learning rate.
        loss: A function of the targets and the model's outputs.
        metrics: Metrics for the logs.
        patience_epochs: Stop when `val_loss` has not fallen for this many epochs, with the weights of the best epoch; None: never.
        xla: Compile the step with XLA; on JAX it is always compiled.
        steps_per_execution: Number of steps between two returns to Python: more is faster for small models. Always 1 on several
            devices, where TensorFlow refuses more.
        callbacks: Called after the callbacks of this function.
        feed: A function from batches to an iterable that `keras.Model.fit` reads, in the same order; by default the batches.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    set_weight_decay(model, optimizer.weight_decay, optimizer.normalization_decay)
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    is_distributed = strategy is not None and strategy.num_replicas_in_sync > 1
    model.compile(
        optimizer.update,
        loss,
        metrics=list(metrics),
        jit_compile=xla or keras.backend.backend() == "jax",
        steps_per_execution=1 if is_distributed else min(steps_per_execution, len(train)),
    )
    # If the first step created the optimizer's variables, TensorFlow would trace the step twice, which takes seconds. `compile` may
    # wrap the optimizer (in half precision), so its variables are created here, after it.
    model.optimizer.build(model.trainable_variables)
    required = [_EpochOrder(train), _Divergence(), _LearningRate(optimizer.learning_rate, schedule)]
    if patience_epochs is not None:
        required.append(keras.callbacks.EarlyStopping("val_loss", patience=patience_epochs, restore_best_weights=True))
    # `shuffle=True` would permute the batches with Python's global generator.
    model.fit(
        feed(train),
        validation_data=feed(validation),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*required, *callbacks],
    )
