"""The data order, the learning rate, the papers' weight decay, weights from another network, and `fit`."""

import math
import subprocess
import sys

import keras
import numpy as np
import pytest
from typing_extensions import override

from cnnkeras.training import divergence, optimizers, schedules
from cnnkeras.training import fit as training
from cnnkeras.training.batches import Batches, PreparedBatches
from cnnkeras.training.initial_weights import copy_weights
from cnnkeras.training.mixup import mixup

INPUTS = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(10, 2)).astype("float32")


def batches(seed: int | None = 0, batch_size: int = 4, count: int = 10, parts: int = 1) -> Batches:
    return Batches(INPUTS[:count], lambda indices, _: TARGETS[indices], batch_size=batch_size, seed=seed, parts=parts)


def dense(units: int = 2, **options) -> keras.Model:
    """A linear network that starts from fixed weights."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.Dense(units, name="fc", **options)(inputs))


class Recorder(keras.callbacks.Callback):
    """Keeps the rate of every step and the logs of every epoch."""

    def __init__(self):
        super().__init__()
        self.rates, self.logs = [], []

    @override
    def on_train_batch_end(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))

    @override
    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(dict(logs))


def fit(model: keras.Model, *, rate: float = 0.1, momentum: float = 0.0, decay: float = 0.0, schedule=None, **options):
    """Train with mean squared error; returns what a recorder saw."""
    recorder = Recorder()
    settings = {
        "train": batches(),
        "validation": batches(seed=None),
        "epochs": 1,
        "loss": keras.losses.MeanSquaredError(),
    }
    settings.update(options)
    training.fit(
        model,
        settings.pop("train"),
        settings.pop("validation"),
        optimizer=optimizers.sgd(learning_rate=rate, momentum=momentum, weight_decay=decay),
        schedule=schedule or schedules.constant(),
        callbacks=[recorder],
        **settings,
    )
    return recorder


def indices_of(data: Batches) -> list[list[int]]:
    """Which examples each batch holds."""
    return [[int(np.flatnonzero((row == INPUTS).all(axis=1))[0]) for row in data[i][0]] for i in range(len(data))]


def test_order_is_a_function_of_seed_and_epoch():
    """The order of an epoch does not depend on the epochs before it, differs between epochs and seeds, and repeats nothing."""
    straight, jump, other = batches(), batches(), batches(seed=1)
    orders = []
    for epoch in range(3):
        straight.epoch = epoch
        orders.append(indices_of(straight))
    jump.epoch = other.epoch = 2
    assert indices_of(jump) == orders[2]
    assert indices_of(other) != orders[2]
    assert len({str(order) for order in orders}) == 3
    assert all(len({index for batch in order for index in batch}) == 8 for order in orders)


def test_prepared_batches_are_the_same_in_the_same_order():
    """They are started ahead, the next epoch's too, as often as Keras asks, and no more are under way than were allowed."""
    waiting, most, began = set(), 0, []

    def start(indices, epoch, change):
        nonlocal most
        ticket = object()
        waiting.add(ticket)
        most = max(most, len(waiting))
        began.append(epoch)

        def ready():
            waiting.remove(ticket)
            return change((INPUTS[indices], TARGETS[indices] + epoch))

        return ready

    data = PreparedBatches(len(INPUTS), start, ahead=3, batch_size=4, seed=0)
    expected = batches()
    assert len(data) == len(expected) == 2
    for epoch, batch in [
        (0, 0),
        (0, 1),
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (4, 0),
        (4, 1),
        (0, 1),
    ]:  # a look, epochs, restarts
        data.epoch = expected.epoch = epoch
        for found, wanted in zip(data[batch], expected[batch], strict=True):
            np.testing.assert_array_equal(found, wanted + epoch * (wanted.shape[1] == 2))
    assert most == 4
    assert began[:5] == [0, 0, 1, 1, 2]


def test_validation_keeps_the_last_partial_batch():
    """Without a seed every example comes once, in its own order; with one, the partial batch is left out."""
    assert indices_of(batches(seed=None)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [len(batch) for batch in indices_of(batches())] == [4, 4]
    assert [len(batch) for batch in indices_of(batches(count=3))] == [3]


def test_empty_split_is_refused():
    """A split without examples is an error that says so."""
    with pytest.raises(ValueError, match="at least one example; received: an empty split"):
        batches(count=0)


def test_fit_asks_for_the_order_of_each_epoch():
    """The network sees, epoch after epoch, the order of (seed, epoch)."""
    seen: list[tuple[int, list[int]]] = []

    def targets(indices, epoch):
        seen.append((epoch, indices.tolist()))
        return TARGETS[indices]

    data = Batches(INPUTS, targets, batch_size=4, seed=7)
    fit(dense(), train=data, epochs=3)
    for epoch in range(3):
        order = np.random.default_rng([7, epoch]).permutation(10)
        # Keras looks at the first batches once more to learn their shapes.
        assert [indices for at, indices in seen if at == epoch][-2:] == [order[:4].tolist(), order[4:8].tolist()]


def test_update_is_the_papers():
    """The step is v <- mu v - lr (g + decay w), w <- w + v for kernels, and without decay for biases.

    For the mean squared error of a linear network over b examples and o outputs, dL/dW = 2/(b o) x^T (xW + b - y) and
    dL/db = 2/(b o) sum (xW + b - y).
    """
    model, rate, momentum, decay = dense(), 0.1, 0.9, 0.3
    weight, bias = (variable.numpy().astype("float64") for variable in model.weights)
    velocity_weight, velocity_bias = np.zeros_like(weight), np.zeros_like(bias)
    data = batches()
    for epoch in range(2):
        data.epoch = epoch
        for inputs, targets in (data[0], data[1]):
            error = inputs @ weight + bias - targets
            velocity_weight = momentum * velocity_weight - rate * (2 / error.size * inputs.T @ error + decay * weight)
            velocity_bias = momentum * velocity_bias - rate * 2 / error.size * error.sum(axis=0)
            weight, bias = weight + velocity_weight, bias + velocity_bias
    fit(model, rate=rate, momentum=momentum, decay=decay, epochs=2)
    np.testing.assert_allclose(model.weights[0].numpy(), weight, rtol=1e-5)
    np.testing.assert_allclose(model.weights[1].numpy(), bias, rtol=1e-5, atol=1e-7)


def test_decay_is_on_kernels_only():
    """After one step only kernels differ from those without decay, by -lr decay w; biases and batch normalisation do not."""
    inputs = keras.Input((8, 1))
    outputs = keras.layers.Conv1D(4, 3)(inputs)
    outputs = keras.layers.BatchNormalization(gamma_initializer=keras.initializers.Constant(2.0))(outputs)
    outputs = keras.layers.Dense(2, bias_initializer="ones")(keras.layers.Flatten()(outputs))
    model = keras.Model(inputs, outputs)
    start = [variable.numpy() for variable in model.weights]
    signals = np.random.default_rng(0).normal(size=(4, 8, 1)).astype("float32")
    after = {}
    for decay in (0.0, 0.5):
        model.set_weights(start)
        data = Batches(signals, lambda indices, _: TARGETS[indices], batch_size=4, seed=0)
        fit(model, train=data, validation=data, decay=decay)
        after[decay] = [variable.numpy() for variable in model.weights]
    assert {variable.name for variable in model.weights} > {"kernel", "bias", "gamma", "beta", "moving_mean"}
    for variable, first, plain, decayed in zip(model.weights, start, after[0.0], after[0.5], strict=True):
        expected = plain - 0.1 * 0.5 * first if variable.name == "kernel" else plain
        np.testing.assert_allclose(decayed, expected, atol=1e-6, err_msg=variable.path)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (schedules.constant(), {0: 1, 99.5: 1}),
        (schedules.step(every_epochs=20, factor=0.5), {0: 1, 19.9: 1, 20: 0.5, 39: 0.5, 40: 0.25}),
        # YOLO v1, section 2.2: 10^-2 for 75 epochs, 10^-3 for 30, 10^-4 for 30.
        (
            schedules.piecewise(epochs=(75.0, 105.0), factors=(1.0, 0.1, 0.01)),
            {0: 1, 74.9: 1, 75: 0.1, 104: 0.1, 105: 0.01, 134: 0.01},
        ),
        # cos 0, 60, 90, 120, 180 degrees: 1, 1/2, 0, -1/2, -1; then the last factor.
        (schedules.cosine(epochs=6), {0: 1, 2: 0.75, 3: 0.5, 4: 0.25, 6: 0, 7: 0}),
        (schedules.cosine(epochs=6, last_factor=0.1), {0: 1, 2: 0.775, 3: 0.55, 4: 0.325, 6: 0.1, 600: 0.1}),
    ],
)
def test_schedules(schedule, factors):
    """Each schedule's factor at hand-picked epochs."""
    assert {epoch: schedule.factor_at(epoch, ()) for epoch in factors} == pytest.approx(factors)


@pytest.mark.parametrize(
    ("epochs", "factors", "message"),
    [
        ((1.0, 2.0), (1.0, 0.1), "expected 3 factors for 2 epochs; received: 2"),
        ((2.0, 1.0), (1.0, 0.1, 0.01), r"expected epochs that rise; received: \[2.0, 1.0\]"),
    ],
)
def test_a_piecewise_schedule_has_a_factor_more_than_epochs(epochs, factors, message):
    """And its epochs rise."""
    with pytest.raises(ValueError, match=message):
        schedules.piecewise(epochs=epochs, factors=factors)


def test_a_schedule_says_how_many_epochs_it_needs():
    """More than up to its last change; of those without a last one, up to the first."""
    assert schedules.constant().needed_epochs == 0
    assert schedules.step(every_epochs=20, factor=0.5).needed_epochs == 20
    assert schedules.piecewise(epochs=(75.0, 105.0), factors=(1.0, 0.1, 0.01)).needed_epochs == 105
    assert schedules.plateau(factor=0.1, patience_epochs=3).needed_epochs == 3
    assert schedules.cosine(epochs=3).lasts_epochs == 3


def test_plateau():
    """Falls after `patience_epochs` epochs without a new least loss, and starts to count again."""
    plateau = schedules.plateau(factor=0.1, patience_epochs=2)
    losses = [3.0, 2.0, 2.0, 2.5, 1.0, 1.5, 0.9, 1.0, 1.0, 1.0, 1.0]
    factors = [plateau.factor_at(0, losses[: epoch + 1]) for epoch in range(len(losses))]
    assert factors == pytest.approx([1, 1, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001])


def test_rate_is_set_for_every_step():
    """A warm-up over one and a half epochs of two steps, then a step: base rate 0.1, from a tenth."""
    recorder = fit(dense(), schedule=schedules.step(every_epochs=2, factor=0.5, warmup_epochs=1.5), epochs=3)
    # 0.01 + 0.09 x (0, 1/3, 2/3) during the warm-up, then 0.1, and half of it from epoch 2 on.
    assert recorder.rates == pytest.approx([0.01, 0.04, 0.07, 0.1, 0.05, 0.05])
    assert [logs["learning_rate"] for logs in recorder.logs] == pytest.approx([0.04, 0.1, 0.05])


def test_plateau_follows_the_validation_loss():
    """A loss that cannot fall any more, zero, lowers the rate after each `patience_epochs`."""
    model = dense()
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    zeros = Batches(INPUTS, lambda indices, _: np.zeros_like(TARGETS[indices]), batch_size=10, seed=0)
    recorder = fit(
        model, train=zeros, validation=zeros, schedule=schedules.plateau(factor=0.5, patience_epochs=1), epochs=3
    )
    assert [logs["learning_rate"] for logs in recorder.logs] == pytest.approx([0.1, 0.1, 0.05])


def test_early_stopping_keeps_the_best_epoch():
    """When the validation loss rises, training stops and the weights are those of the least loss."""
    model, constant = dense(), np.zeros_like(TARGETS)
    # Training pulls towards the targets, validation wants zeros: the loss falls no more at some point.
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    validation = Batches(INPUTS, lambda indices, _: constant[indices], batch_size=10)
    recorder = fit(model, validation=validation, patience_epochs=2, best_by="val_loss", epochs=20)
    losses = [logs["val_loss"] for logs in recorder.logs]
    assert len(losses) == 3
    assert losses == sorted(losses)
    assert model.evaluate(INPUTS, constant, verbose=0) == pytest.approx(losses[0])


def test_divergence_is_an_error():
    """A loss that overflows ends the training, naming the epoch and the fix."""
    with pytest.raises(
        divergence.DivergedError, match=r"received: (inf|nan) in epoch \d+, step \d\. Lower the learning rate"
    ):
        fit(dense(), rate=1e30, epochs=5)


class _CountedCalls(keras.losses.Loss):
    """Mean squared error that counts how often Python runs it: once a trace."""

    calls = 0

    @override
    def call(self, y_true, y_pred):
        self.calls += 1
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def test_training_step_is_traced_once():
    """An optimizer that makes its variables in the first step would have TensorFlow trace that step again."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX traces as it needs to")
    loss = _CountedCalls()
    fit(dense(), momentum=0.9, loss=loss, validation=batches(seed=None, count=8))
    assert loss.calls == 2  # the training step and the validation step


def test_xla_and_several_steps_per_execution_change_nothing_but_speed():
    """The same weights, within rounding, however the steps are compiled and grouped."""
    if keras.backend.backend() == "tensorflow":
        # A test that ran a stage in this process has switched op determinism on, which refuses XLA; only TensorFlow's own tests
        # can switch it off.
        from tensorflow.python.framework import config

        config.disable_op_determinism()
    expected = dense()
    fit(expected, epochs=2, momentum=0.9, schedule=schedules.step(every_epochs=1, factor=0.5))
    for options in ({"xla": True}, {"steps_per_execution": 100}):
        model = dense()
        fit(model, epochs=2, momentum=0.9, schedule=schedules.step(every_epochs=1, factor=0.5), **options)
        for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(precision):
    """Weights stay float32, and the rate reaches the optimizer through the loss scaling."""
    keras.config.set_dtype_policy(precision)
    try:
        model = dense()
        recorder = fit(
            model, train=batches(batch_size=10), epochs=2, schedule=schedules.step(every_epochs=1, factor=0.5)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    assert recorder.rates == pytest.approx([0.1, 0.05])
    assert {variable.dtype for variable in model.trainable_variables} == {"float32"}
    assert recorder.logs[1]["loss"] < recorder.logs[0]["loss"]


SHARED = """
import contextlib
import keras, numpy as np, tensorflow as tf
from cnnkeras.training import batches, fit, optimizers, schedules
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
inputs = np.random.default_rng(0).normal(size=(50, 6)).astype("float32")
targets = np.random.default_rng(1).normal(size=(50, 2)).astype("float32")
results = []
for scope in (contextlib.nullcontext(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()):
    logs = []
    with scope:
        keras.utils.set_random_seed(0)
        given = keras.Input((6,))
        model = keras.Model(given, keras.layers.Dense(2)(keras.layers.Dense(4, activation="relu")(given)))
        fit.fit(
            model,
            batches.Batches(inputs, lambda indices, _: targets[indices], batch_size=8, seed=0),
            batches.Batches(inputs[:17], lambda indices, _: targets[indices], batch_size=8),  # the last one: one example
            epochs=2,
            optimizer=optimizers.sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.1),
            schedule=schedules.step(every_epochs=1, factor=0.5, warmup_epochs=1),
            loss=keras.losses.MeanSquaredError(),
            steps_per_execution=4 if results else 1,  # on two devices it is 1 whatever is asked for
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, epoch_logs: logs.append(epoch_logs["val_loss"]))],
        )
    results.append([*model.get_weights(), np.array(logs)])
for one, two in zip(*results, strict=True):
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_two_devices_train_as_one():
    """Two devices that share each batch give the weights and validation losses of one, weight decay and warm-up included.

    The one processor is presented as two devices, in a process of its own, because that is settled before the first operation.
    """
    finished = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr


def test_optimizers():
    """Keras' own; momentum is not Nesterov's."""
    assert isinstance(optimizers.adam(learning_rate=0.1).update, keras.optimizers.Adam)
    sgd = optimizers.sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.5)
    assert (sgd.update.momentum, sgd.update.nesterov) == (0.9, False)
    assert (sgd.learning_rate, sgd.weight_decay) == (0.1, 0.5)


def linear_gradients(weight: np.ndarray, bias: np.ndarray, batch) -> list[np.ndarray]:
    """Of the mean squared error of a linear network: dL/dW = 2/(b o) x^T (xW + b - y) and dL/db = 2/(b o) sum (xW + b - y)."""
    inputs, targets = batch
    error = inputs @ weight + bias - targets
    return [2 / error.size * inputs.T @ error, 2 / error.size * error.sum(axis=0)]


def test_adamw_is_its_formula():
    """Loshchilov and Hutter 2019, algorithm 2, in float64: w <- w - rate decay w for the kernel, then Adam's step from the gradient alone."""
    model, rate, decay, beta_1, beta_2 = dense(), 0.1, 0.3, 0.9, 0.999
    values = [np.array(variable, "float64") for variable in model.weights]
    means, squares = [np.zeros_like(value) for value in values], [np.zeros_like(value) for value in values]
    data = batches()
    for t in range(1, 5):
        data.epoch = (t - 1) // 2
        for i, gradient in enumerate(linear_gradients(*values, data[(t - 1) % 2])):
            means[i] = beta_1 * means[i] + (1 - beta_1) * gradient
            squares[i] = beta_2 * squares[i] + (1 - beta_2) * gradient**2
            mean, square = means[i] / (1 - beta_1**t), squares[i] / (1 - beta_2**t)
            values[i] = values[i] * (1 - rate * decay * (i == 0)) - rate * mean / (np.sqrt(square) + 1e-7)
    training.fit(
        model,
        data,
        batches(seed=None),
        epochs=2,
        optimizer=optimizers.adamw(learning_rate=rate, weight_decay=decay),
        schedule=schedules.constant(),
        loss=keras.losses.MeanSquaredError(),
    )
    for variable, value in zip(model.weights, values, strict=True):
        np.testing.assert_allclose(np.array(variable), value, rtol=1e-4, atol=1e-6)


def test_adamw_decays_kernels_only():
    """One step from ones: only kernels differ from those without decay, by rate times decay."""
    inputs = keras.Input((8, 1))
    outputs = keras.layers.BatchNormalization(beta_initializer="ones")(
        keras.layers.Conv1D(4, 3, kernel_initializer="ones", bias_initializer="ones", name="kernel_of_layer")(inputs)
    )
    model = keras.Model(inputs, keras.layers.Dense(2, bias_initializer="ones")(keras.layers.Flatten()(outputs)))
    start, after = model.get_weights(), []
    signals = np.random.default_rng(0).normal(size=(4, 8, 1)).astype("float32")
    data = Batches(signals, lambda indices, _: TARGETS[indices], batch_size=4, seed=0)
    for decay in (0.0, 0.5):
        model.set_weights(start)
        training.fit(
            model,
            data,
            data,
            epochs=1,
            optimizer=optimizers.adamw(learning_rate=0.1, weight_decay=decay),
            schedule=schedules.constant(),
            loss=keras.losses.MeanSquaredError(),
        )
        after.append(model.get_weights())
    for variable, first, plain, decayed in zip(model.weights, start, *after, strict=True):
        expected = plain - 0.1 * 0.5 * first if variable.name == "kernel" else plain
        np.testing.assert_allclose(decayed, expected, atol=1e-6, err_msg=variable.path)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("norm", [0.1, 1e6])
def test_gradients_are_clipped_together(norm, parts):
    """W <- w - rate g min(1, c / |g|), with |g| over kernel and bias of the whole batch; a norm below the greatest changes nothing."""
    model, rate = dense(), 0.1
    values = [np.array(variable, "float64") for variable in model.weights]
    data = batches(parts=parts)
    for number in range(2):
        gradients = linear_gradients(*values, batches()[number])
        length = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
        assert 0.2 < length < 1e5
        values = [value - rate * g * min(1, norm / length) for value, g in zip(values, gradients, strict=True)]
    training.fit(
        model,
        data,
        batches(seed=None),
        epochs=1,
        optimizer=optimizers.sgd(learning_rate=rate, global_clipnorm=norm),
        schedule=schedules.constant(),
        loss=keras.losses.MeanSquaredError(),
    )
    for variable, value in zip(model.weights, values, strict=True):
        np.testing.assert_allclose(np.array(variable), value, rtol=1e-4, atol=1e-6)


def test_every_optimizer_clips():
    """The function hands the norm on."""
    for name in ("sgd", "adam", "adamw"):
        assert getattr(optimizers, name)(learning_rate=0.1, global_clipnorm=2.0).update.global_clipnorm == 2.0
        assert getattr(optimizers, name)(learning_rate=0.1).update.global_clipnorm is None


def test_mixup_is_its_formula():
    """X <- s x + (1 - s) x', y likewise, with one share for the batch, of Beta(alpha, alpha), and partners that are a permutation."""
    inputs = np.random.default_rng(0).integers(0, 256, (64, 5, 5, 1), np.uint8)
    targets = np.eye(64, dtype="float32")  # so that a target names its examples
    shares = []
    for seed in range(300):
        mixed, soft = mixup(inputs, targets, alpha=0.4, generator=np.random.default_rng(seed))
        assert mixed.dtype == soft.dtype == np.float32
        np.testing.assert_allclose(soft.sum(axis=0), 1, atol=1e-5)  # each is a partner once
        np.testing.assert_allclose(soft.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(mixed.reshape(64, -1), soft @ inputs.reshape(64, -1), rtol=1e-4, atol=1e-3)
        values = np.unique(soft.diagonal()[soft.diagonal() < 1])
        assert len(values) == 1
        shares.append(values[0])
    # Beta(a, a) has mean 1/2 and variance 1 / (4 (2 a + 1)): 0.139; 300 draws know both to within 0.06 and 0.02.
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert np.var(shares) == pytest.approx(1 / (4 * 1.8), abs=0.025)


def test_a_change_of_batches_is_a_function_of_seed_epoch_and_batch():
    """The same whether batches are prepared ahead or not, whichever epoch comes first; other numbers in each batch, epoch and seed."""

    def change(inputs, targets, generator):
        return inputs, targets + generator.integers(10**6)

    def changes(seed: int) -> dict[tuple[int, int], float]:
        data = Batches(INPUTS, lambda i, _: 0 * TARGETS[i], batch_size=4, seed=seed, change=change)
        return {(data.epoch, index): float(data[index][1].mean()) for data.epoch in (1, 0) for index in (1, 0)}

    first = changes(0)
    assert len({*first.values(), *changes(1).values()}) == 8

    def start(indices, _epoch, change):
        return lambda: change((INPUTS[indices], 0 * TARGETS[indices]))

    prepared = PreparedBatches(len(INPUTS), start, ahead=3, batch_size=4, seed=0, change=change)
    for prepared.epoch in (0, 1):
        for index in (0, 1):
            assert float(prepared[index][1].mean()) == first[prepared.epoch, index]


def test_schemas_are_read_without_keras():
    """The signatures of optimizers and schedules are what params.yaml is checked against, before anything heavy is imported."""
    code = (
        "import sys\n"
        "from cnnkeras.training import optimizers, schedules\n"
        "schedules.step(every_epochs=1, factor=0.5)\n"
        "assert not {'keras.src', 'tensorflow', 'jax'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def classifier(channels: int = 4, *, batch_norm: bool = True, dense_name: str = "fc6") -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    outputs = keras.layers.Conv2D(channels, 3, padding="same", name="conv1_1")(inputs)
    if batch_norm:
        outputs = keras.layers.BatchNormalization(name="bn1_1")(outputs)
    outputs = keras.layers.MaxPooling2D(name="pool1")(outputs)
    outputs = keras.layers.Flatten(name="flatten")(outputs)
    return keras.Model(inputs, keras.layers.Dense(5, name=dense_name)(outputs))


def segmenter(channels: int = 4) -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    outputs = keras.layers.Conv2D(channels, 3, padding="same", name="conv1_1")(inputs)
    outputs = keras.layers.MaxPooling2D(name="pool1")(outputs)
    outputs = keras.layers.Conv2D(5, 3, name="fc6")(outputs)
    return keras.Model(inputs, keras.layers.Conv2DTranspose(2, 6, name="fc6-deconv")(outputs))


def test_weights_are_copied_by_name():
    """Layers of both models under the patterns are copied, a dense layer becomes the same convolution; others are left."""
    source, target = classifier(), segmenter()
    before = target.get_layer("fc6-deconv").get_weights()
    assert copy_weights(source, target, ["conv*", "fc?"]) == ["conv1_1", "fc6"]
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype("float32")
    plain = classifier(batch_norm=False)
    copy_weights(source, plain, ["*"])
    encoder = keras.Model(target.input, target.get_layer("fc6").output)
    np.testing.assert_allclose(encoder(images)[:, 0, 0], plain(images), rtol=1e-4, atol=1e-5)
    for now, then in zip(target.get_layer("fc6-deconv").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_moving_statistics_are_copied():
    """All of a batch normalisation is copied, its moving mean and variance too."""
    source, target = classifier(), classifier()
    source.get_layer("bn1_1").set_weights([np.full(4, value, "float32") for value in (1, 2, 3, 4)])
    copy_weights(source, target, ["bn*"])
    assert [weight[0] for weight in target.get_layer("bn1_1").get_weights()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("target", "patterns", "message"),
    [
        (lambda: classifier(), ["conv9*"], r"pattern 'conv9\*'; received: none. Both have: conv1_1, bn1_1, fc6"),
        (lambda: classifier(), ["pool1"], "pattern 'pool1'; received: none"),
        (lambda: dense(), ["*"], "Both have: no layer in common"),
        (
            lambda: segmenter(8),
            ["*"],
            "layer conv1_1: expected weights kernel 3 x 3 x 3 x 8, bias 8; received: kernel 3 x 3 x 3 x 4",
        ),
    ],
)
def test_copying_what_does_not_fit_is_an_error(target, patterns, message):
    """A pattern without layers, or weights of another size, name the pattern or layer and the shapes; nothing is changed."""
    target = target()
    before = target.get_weights()
    with pytest.raises(ValueError, match=message):
        copy_weights(classifier(), target, patterns)
    assert all(np.array_equal(now, then) for now, then in zip(target.get_weights(), before, strict=True))


def test_only_another_rank_is_reshaped():
    """Kernels 1 x 3 and 3 x 1 have the same size and mean different things."""
    models = []
    for size in ((1, 3), (3, 1)):
        inputs = keras.Input((6, 6, 3))
        models.append(keras.Model(inputs, keras.layers.Conv2D(4, size, name="conv")(inputs)))
    with pytest.raises(ValueError, match="layer conv: expected weights kernel 3 x 1 x 3 x 4"):
        copy_weights(*models, ["conv"])


def test_rate_never_leaves_the_schedule():
    """After the warm-up the rate is exactly the schedule's, and it is never above the base rate."""
    schedule = schedules.step(every_epochs=30, factor=0.1, warmup_epochs=5)
    assert all(schedule.rate_at(epoch, base=0.1) <= 0.1 for epoch in np.linspace(0, 60, 601))
    assert schedule.rate_at(5, base=0.1) == 0.1
    assert schedule.rate_at(0, base=0.1) == pytest.approx(0.01)


def test_biases_learn_at_their_own_rate_and_scales_decay():
    """V <- mu v - f lr g for biases, with f = 2; scales and shifts get the gradient d w of their decay d, at the plain rate."""
    inputs = keras.Input((8, 1))
    outputs = keras.layers.Conv1D(4, 3, bias_initializer="ones")(inputs)
    outputs = keras.layers.BatchNormalization(beta_initializer=keras.initializers.Constant(0.5))(outputs)
    model = keras.Model(inputs, keras.layers.Dense(2, bias_initializer="ones")(keras.layers.Flatten()(outputs)))
    start = [variable.numpy() for variable in model.weights]
    signals = np.random.default_rng(0).normal(size=(4, 8, 1)).astype("float32")
    data = Batches(signals, lambda indices, _: TARGETS[indices], batch_size=4, seed=0)
    after = {}
    for options in ({}, {"bias_rate_factor": 2.0}, {"normalization_decay": 0.5}):
        model.set_weights(start)
        optimizer = optimizers.sgd(learning_rate=0.1, momentum=0.9, **options)
        training.fit(
            model,
            data,
            data,
            epochs=1,
            optimizer=optimizer,
            schedule=schedules.constant(),
            loss=keras.losses.MeanSquaredError(),
        )
        after[next(iter(options), "")] = [variable.numpy() for variable in model.weights]
    names = [variable.name for variable in model.weights]
    assert names.count("bias") == 2
    for name, first, plain, doubled, decayed in zip(names, start, *after.values(), strict=True):
        step = plain - first
        factor = 2 if name == "bias" else 1
        np.testing.assert_allclose(doubled - first, factor * step, atol=1e-6, err_msg=name)
        expected = plain - 0.1 * 0.5 * first if name in ("gamma", "beta") else plain
        np.testing.assert_allclose(decayed, expected, atol=1e-6, err_msg=name)


@pytest.mark.parametrize(("momentum", "steps"), [(0.0, 3), (0.9, 4)])
def test_the_bias_rate_holds_over_steps_and_drops_of_the_rate(momentum, steps):
    """A bias alone against v <- mu v - 2 lr g by hand, the rate divided by ten after two steps."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    inputs, target = np.zeros((steps, 1), "float32"), 3.0
    data = Batches(inputs, lambda indices, _: np.full((len(indices), 1), target, "float32"), batch_size=1, seed=0)
    schedule = schedules.piecewise(epochs=(2 / steps,), factors=(1.0, 0.1))
    optimizer = optimizers.sgd(learning_rate=0.05, momentum=momentum, bias_rate_factor=2.0)
    training.fit(
        model, data, data, epochs=1, optimizer=optimizer, schedule=schedule, loss=keras.losses.MeanSquaredError()
    )
    bias = velocity = 0.0
    for step in range(steps):
        velocity = momentum * velocity - 2 * (0.05 if step < 2 else 0.005) * 2 * (bias - target)
        bias += velocity
    np.testing.assert_allclose(model.weights[1].numpy(), [bias], rtol=1e-5)


def test_darknets_sigmoid():
    """0.01 / (1 + exp(2e-5 (batch - 400,000))) at batches 0, 400,000 and 800,000, of 100,000 an epoch."""
    schedule = schedules.sigmoid(half_epochs=4.0, width_epochs=0.5)
    for batch in (0, 100_000, 400_000, 450_000, 800_000):
        expected = 0.01 / (1 + math.exp(2e-5 * (batch - 400_000)))
        assert schedule.rate_at(batch / 100_000, base=0.01) == pytest.approx(expected, rel=1e-9)
    assert schedules.sigmoid(half_epochs=1.0, width_epochs=0.001).rate_at(1000.0, base=1.0) == 0
