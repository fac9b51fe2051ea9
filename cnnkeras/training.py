"""Training: the data order, the learning rate, the papers' weight decay, weights from another network, and the only `fit`.

The optimizer is Keras' own. Its SGD with momentum is v <- momentum v - rate g, w <- w + v, as in AlexNet (Krizhevsky et
al. 2012, section 5) and Caffe; PyTorch and Darknet multiply by the rate outside v, which differs while the rate changes.
"""

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import keras
import numpy as np
from typing_extensions import override


class DivergedError(ArithmeticError):
    """The loss stopped being a number."""


Batch = tuple[np.ndarray, np.ndarray]


class _Order(keras.utils.PyDataset):
    """Which examples are in which batch.

    With a seed, the order is a function of (seed, epoch) alone: `epoch` is set by `fit`, nothing is carried from one epoch
    to the next, so that a training that starts again at epoch 7 sees what it would have seen. The examples that do not
    fill a last batch are left out of that epoch (another few in each epoch): every step has the same shape, compiled once,
    and batch normalisation never sees a batch of one. Without a seed, all examples come in their own order, the last batch
    being smaller.

    Raises:
        ValueError: There is no example.
    """

    def __init__(self, examples: int, *, batch_size: int, seed: int | None):
        super().__init__()
        if not examples:
            raise ValueError("expected at least one example; received: an empty split. Give the data set some")
        self._examples, self._seed = examples, seed
        self.batch_size = min(batch_size, examples)
        self._orders: dict[int, np.ndarray] = {}
        self.epoch = 0  # whose order the batches are in

    def __len__(self) -> int:
        """Number of batches."""
        partial = self._seed is None and self._examples % self.batch_size > 0
        return self._examples // self.batch_size + partial

    def indices(self, epoch: int, batch: int) -> np.ndarray:
        """Which examples a batch of an epoch holds: int64 (batch,)."""
        if epoch not in self._orders:
            order = np.arange(self._examples)
            if self._seed is not None:
                np.random.default_rng([self._seed, epoch]).shuffle(order)
            # This epoch's, and the next one's where that is asked for ahead.
            self._orders = {kept: self._orders[kept] for kept in self._orders if kept == self.epoch} | {epoch: order}
        return self._orders[epoch][batch * self.batch_size : (batch + 1) * self.batch_size]


class Batches(_Order):
    """Batches of a split, read from arrays that may be mapped from disk.

    Args:
        inputs: (N, ...), left as it is: uint8 images are normalised inside the network.
        targets: From indices (batch,), int64, and the epoch to the targets of these examples, an array (batch, ...).
        batch_size: Examples in a batch; at most N of them.
        seed: Shuffles, and leaves out the last partial batch.

    Raises:
        ValueError: There is no example.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: Callable[[np.ndarray, int], np.ndarray],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(len(inputs), batch_size=batch_size, seed=seed)
        self._inputs, self._targets = inputs, targets

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of one batch."""
        indices = self.indices(self.epoch, index)
        return self._inputs[indices], self._targets(indices, self.epoch)


class PreparedBatches(_Order):
    """Batches that others prepare while the network is busy with those before; the order is that of `Batches`.

    Args:
        examples: How many there are.
        start: From indices (batch,) and an epoch, to a function that waits until this batch is ready and returns it. Every one
            that was started is waited for before more than `ahead` others are.
        ahead: How many batches are started beyond the one that is asked for, those of the next epoch included.
        batch_size: Examples in a batch; at most as many as there are.
        seed: Shuffles, and leaves out the last partial batch.

    Raises:
        ValueError: There is no example.
    """

    def __init__(
        self,
        examples: int,
        start: Callable[[np.ndarray, int], Callable[[], Batch]],
        *,
        ahead: int,
        batch_size: int,
        seed: int,
    ):
        super().__init__(examples, batch_size=batch_size, seed=seed)
        self._start, self._ahead = start, ahead
        self._started: dict[tuple[int, int], Callable[[], Batch]] = {}

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of one batch."""
        steps = [divmod(index + step, len(self)) for step in range(self._ahead + 1)]
        places = [(self.epoch + epochs, batch) for epochs, batch in steps]
        for place in self._started.keys() - places:
            # Keras reads the first batches once more than it trains on them, to see their shapes.
            self._started.pop(place)()
        for place in places:
            if place not in self._started:
                self._started[place] = self._start(self.indices(*place), place[0])
        return self._started.pop(places[0])()


class _EpochOrder(keras.callbacks.Callback):
    """Tells the batches which epoch begins."""

    def __init__(self, batches: Batches | PreparedBatches):
        super().__init__()
        self._batches = batches

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._batches.epoch = epoch


@dataclass(frozen=True)
class Constant:
    """The same rate throughout."""

    def at(self, _epoch: float) -> float:
        """What the base rate is multiplied by."""
        return 1.0


@dataclass(frozen=True)
class Step:
    """Times `factor` after every `every_epochs` epochs."""

    every_epochs: float
    factor: float

    def at(self, epoch: float) -> float:
        """What the base rate is multiplied by, `epoch` epochs after the start."""
        return self.factor ** math.floor(epoch / self.every_epochs)


@dataclass(frozen=True)
class Piecewise:
    """Times `factors[i]` from epoch `epochs[i - 1]` on, until `epochs[i]`: one factor more than epochs, which rise."""

    epochs: Sequence[float]
    factors: Sequence[float]

    def at(self, epoch: float) -> float:
        """What the base rate is multiplied by, `epoch` epochs after the start."""
        return self.factors[bisect.bisect_right(self.epochs, epoch)]


@dataclass
class Plateau:
    """Times `factor` when the validation loss has not fallen below its least for `patience_epochs` epochs, and again.

    AlexNet (section 5) and VGG (section 3.1) divide by 10 when the validation error stops improving.
    """

    factor: float
    patience_epochs: int
    _least: float = field(default=math.inf, init=False)
    _waited: int = field(default=0, init=False)
    _now: float = field(default=1.0, init=False)

    def at(self, _epoch: float) -> float:
        """What the base rate is multiplied by now."""
        return self._now

    def observe(self, validation_loss: float) -> None:
        """Take in an epoch's validation loss."""
        if validation_loss < self._least:
            self._least, self._waited = validation_loss, 0
            return
        self._waited += 1
        if self._waited >= self.patience_epochs:
            self._now, self._waited = self._now * self.factor, 0


Schedule = Constant | Step | Piecewise | Plateau
SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "piecewise": Piecewise,
    "plateau": Plateau,
}


class LearningRate(keras.callbacks.Callback):
    """Sets the optimizer's rate: base rate x the schedule's factor x warm-up; adds `learning_rate` to the epoch's logs.

    The rate changes between two executions of the compiled step, so with `steps_per_execution` above 1 a warm-up rises in
    as many steps at a time. What is logged is the rate of the epoch's last step.

    Args:
        rate: Base learning rate.
        schedule: How the rate falls.
        warmup_epochs: At the start the rate rises linearly, over this many epochs ...
        warmup_factor: ... from this fraction of what it would be (YOLO v1, section 2.2: from a tenth).
    """

    def __init__(self, rate: float, schedule: Schedule, *, warmup_epochs: float = 0.0, warmup_factor: float = 0.1):
        super().__init__()
        self._rate, self._schedule = rate, schedule
        self._warmup_epochs, self._warmup_factor = warmup_epochs, warmup_factor
        self._epoch, self._set = 0, None

    def at(self, epoch: float) -> float:
        """The rate `epoch` epochs after the start, a fraction being the part of the epoch that is over."""
        rate = self._rate * self._schedule.at(epoch)
        if epoch >= self._warmup_epochs:
            return rate
        return rate * (self._warmup_factor + (1 - self._warmup_factor) * epoch / self._warmup_epochs)

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember which epoch the batches that follow belong to."""
        self._epoch = epoch

    @override
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Set the rate, where it has changed."""
        rate = self.at(self._epoch + batch / self.params["steps"])
        if rate == self._set:
            return
        if keras.backend.backend() == "jax":
            # Within an epoch JAX keeps the variables' values outside the model: bring them back, or this one is ignored.
            self.model.jax_state_sync()
        self.model.optimizer.learning_rate = self._set = rate

    @override
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Log the rate, and tell a plateau schedule the validation loss."""
        logs["learning_rate"] = self._set
        if isinstance(self._schedule, Plateau):
            self._schedule.observe(logs["val_loss"])


class _Divergence(keras.callbacks.Callback):
    """Ends the epoch at a loss that is no number, and the training with an error."""

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


def build_optimizer(name: str, *, learning_rate: float, momentum: float = 0.0) -> keras.optimizers.Optimizer:
    """Optimizer by its name: `sgd` (with momentum, not Nesterov's) or `adam` (Kingma and Ba 2015; no momentum to set).

    Raises:
        ValueError: Neither of the two, or a momentum for Adam.
    """
    if name == "sgd":
        return keras.optimizers.SGD(learning_rate, momentum=momentum)
    if name == "adam" and not momentum:
        return keras.optimizers.Adam(learning_rate)
    raise ValueError(f"expected sgd, or adam without momentum; received: {name} with momentum {momentum}")


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


def copy_weights(source: keras.Model, target: keras.Model, layers: Sequence[str]) -> list[str]:
    """Start a network from another one's layers, as the papers do.

    Copied are all weights of the layers, moving statistics included, that both networks have under the same name and that
    match a pattern; layers that only one of them has are left as they are (batch normalisation, say, or a detector's last
    convolutions). A kernel may have another rank if its size and its outputs are the same: VGG's dense `fc6` (7 x 7 x 512,
    4096) is DeconvNet's convolution (7, 7, 512, 4096), both in the order height, width, channel.

    Args:
        source: Where the weights come from.
        target: Where they go; changed in place.
        layers: Layer names with * and ?.

    Returns:
        Names of the copied layers, in the target's order.

    Raises:
        ValueError: A pattern matches no layer with weights that both have, or a layer's weights do not fit. The target is
            then unchanged.
    """
    donors = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [layer for layer in target.layers if layer.weights and layer.name in donors]
    for pattern in layers:
        if not any(fnmatchcase(layer.name, pattern) for layer in shared):
            raise ValueError(
                f"expected layers of both networks under the pattern {pattern!r}; received: none. "
                f"Both have: {', '.join(layer.name for layer in shared) or 'no layer in common'}"
            )
    chosen = [layer for layer in shared if any(fnmatchcase(layer.name, pattern) for pattern in layers)]
    weights = {layer.name: _fitted_weights(donors[layer.name], layer) for layer in chosen}
    for layer in chosen:
        layer.set_weights(weights[layer.name])
    return list(weights)


def _fitted_weights(source: keras.Layer, target: keras.Layer) -> list[np.ndarray]:
    values = {weight.name: keras.ops.convert_to_numpy(weight) for weight in source.weights}
    wanted = {weight.name: tuple(weight.shape) for weight in target.weights}
    shapes = {name: value.shape for name, value in values.items()}
    if shapes.keys() != wanted.keys() or not all(_fits(shapes[name], wanted[name]) for name in wanted):
        raise ValueError(
            f"layer {target.name}: expected weights {_describe(wanted)}; received: {_describe(shapes)}. "
            "Give both experiments the same width and options, or leave the layer out"
        )
    return [values[name].reshape(shape) for name, shape in wanted.items()]


def _fits(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    # Of the same rank, equal sizes are no proof: (1, 3) and (3, 1) kernels differ.
    reshaped = len(source) != len(target) and source[-1] == target[-1] and math.prod(source) == math.prod(target)
    return source == target or reshaped


def _describe(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())


def fit(
    model: keras.Model,
    train: Batches | PreparedBatches,
    validation: Batches,
    *,
    epochs: int,
    optimizer: keras.optimizers.Optimizer,
    learning_rate: LearningRate,
    loss: keras.losses.Loss,
    metrics: Sequence[keras.metrics.Metric] = (),
    weight_decay: float = 0.0,
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
        optimizer: See `build_optimizer`.
        learning_rate: Sets the optimizer's rate.
        loss: Of targets and the model's outputs.
        metrics: Shown in the logs.
        weight_decay: See `set_weight_decay`.
        patience_epochs: Stop when `val_loss` has not fallen for this many epochs; the best epoch's weights are kept.
        xla: Compile the step with XLA. On JAX, which knows nothing else, always.
        steps_per_execution: Steps between two returns to Python: more is faster for small networks. Always 1 on several
            devices, where TensorFlow refuses more.
        callbacks: Called after the ones above.
        feed: From either batches to what Keras reads them from: anything that `keras.Model.fit` takes, in their order.

    Raises:
        DivergedError: The loss became infinite or NaN.
    """
    set_weight_decay(model, weight_decay)
    strategy = getattr(model, "distribute_strategy", None)  # TensorFlow's
    shared = strategy is not None and strategy.num_replicas_in_sync > 1
    model.compile(
        optimizer,
        loss,
        metrics=list(metrics),
        jit_compile=xla or keras.backend.backend() == "jax",
        steps_per_execution=1 if shared else min(steps_per_execution, len(train)),
    )
    # Variables that the first step had to make would have TensorFlow trace that step twice, which takes seconds. Only now is
    # it known which optimizer: in half precision `compile` wraps it.
    model.optimizer.build(model.trainable_variables)
    required = [_EpochOrder(train), _Divergence(), learning_rate]
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
