"""The only `fit`: the papers' weight decay, the learning rate of each step, an end where the loss is no number."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from typing_extensions import override

from cnnkeras.training.batches import Batches, PreparedBatches
from cnnkeras.training.optimizers import Optimizer
from cnnkeras.training.schedules import Schedule


class DivergedError(ArithmeticError):
    """The loss stopped being a number."""


class _EpochOrder(keras.callbacks.Callback):
    """Sets the epoch whose order the batches are in."""

    def __init__(self, batches: Batches | PreparedBatches):
        super().__init__()
        self._batches = batches

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batches.epoch = epoch


class _LearningRate(keras.callbacks.Callback):
    """Sets the optimizer's rate before each step as the schedule says; adds `learning_rate` to the epoch's logs.

    The rate changes between two executions of the compiled step, so with `steps_per_execution` above 1 a warm-up rises in
    as many steps at a time. The logged rate is that of the epoch's last step.
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
            # Within an epoch JAX keeps the variables' values outside the model: bring them back, or this one is ignored.
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = self._current = rate

    @override
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs["learning_rate"] = self._current
        self._schedule.observe(logs["val_loss"])


class _Divergence(keras.callbacks.Callback):
    """Stops at the first loss that is not finite, and raises an error at the end of that epoch."""

    async_safe = True  # Keras may call it late, from another thread, and need not wait for the loss after every step

    @override
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # The loss in the logs is the epoch's mean so far: once it is not finite it remains so.
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


def set_weight_decay(model: keras.Model, decay: float) -> None:
    """Add the papers' weight decay to a built model: decay x w in the gradient of every kernel w.

    That is the penalty decay / 2 sum w^2 in the loss (Keras' L2 has the gradient 2 factor w), before momentum: AlexNet,
    section 5; VGG, section 3.1; YOLO v1, section 2.2. Unlike `SGD(weight_decay=)`, which is decoupled from the gradient
    (Loshchilov and Hutter 2019). Biases and batch normalisation are left alone, as in Caffe's and Darknet's nets.

    Departures from the paper: none of the texts says that biases are exempt; the authors' code does.
    """
    penalty = keras.regularizers.L2(decay / 2) if decay else None
    for variable in model.trainable_variables:
        if variable.name == "kernel":
            variable.regularizer = penalty


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

    The logs of an epoch hold `loss` and `val_loss` (with the weight decay's penalty), the metrics, the same with `val_`, and
    `learning_rate`. On one CPU the same calls after the same `keras.utils.set_random_seed` give the same bits.

    Args:
        model: Built; where several devices share the work, under their strategy's scope, as is this call.
        train: Training batches, shuffled by a seed.
        validation: Validation batches.
        epochs: Passes over the training batches.
        optimizer: Updates the weights, and says their decay and the base learning rate.
        schedule: What the base learning rate is multiplied by.
        loss: Of targets and the model's outputs.
        metrics: Shown in the logs.
        patience_epochs: Stop when `val_loss` has not fallen for this many epochs; the best epoch's weights are kept.
        xla: Compile the step with XLA. On JAX, which knows nothing else, always.
        steps_per_execution: Steps between two returns to Python: more is faster for small networks. Always 1 on several
            devices, where TensorFlow refuses more.
        callbacks: Called after those of this function.
        feed: Turns batches into what `keras.Model.fit` reads, in the same order; by default the batches themselves.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    set_weight_decay(model, optimizer.weight_decay)
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    shared = strategy is not None and strategy.num_replicas_in_sync > 1
    model.compile(
        optimizer.update,
        loss,
        metrics=list(metrics),
        jit_compile=xla or keras.backend.backend() == "jax",
        steps_per_execution=1 if shared else min(steps_per_execution, len(train)),
    )
    # Variables that the first step had to make would have TensorFlow trace that step twice, which takes seconds. Only now is
    # it known which optimizer: in half precision `compile` wraps it.
    model.optimizer.build(model.trainable_variables)
    required = [_EpochOrder(train), _Divergence(), _LearningRate(optimizer.learning_rate, schedule)]
    if patience_epochs is not None:
        required.append(keras.callbacks.EarlyStopping("val_loss", patience=patience_epochs, restore_best_weights=True))
    # `shuffle` would permute the batches by Python's global generator.
    model.fit(
        feed(train),
        validation_data=feed(validation),
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[*required, *callbacks],
    )
