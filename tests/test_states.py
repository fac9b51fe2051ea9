"""`fit` from a state, with the best epoch's weights, in parts of a batch; and what is said of a loss that is no number."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from cnnkeras import objectives
from cnnkeras.training import optimizers, schedules
from cnnkeras.training.batches import Batches, Span
from cnnkeras.training.divergence import DivergedError
from cnnkeras.training.fit import FitError, fit
from cnnkeras.training.state import State

INPUTS = np.random.default_rng(0).normal(size=(26, 6)).astype("float32")
TARGETS = np.random.default_rng(1).normal(size=(26, 2)).astype("float32")


class Kept:
    """Checkpoints in memory: all states, one before each step."""

    def __init__(self, last: State | None = None):
        self.states: list[State] = [] if last is None else [last]

    def load(self) -> State | None:
        return self.states[-1] if self.states else None

    def is_due(self, steps: int, *, ends_epoch: bool) -> bool:  # noqa: ARG002
        return True

    def save(self, state: State) -> None:
        self.states.append(state)


def network(*, normalized: bool = True, dropout: float = 0.5) -> keras.Model:
    keras.utils.set_random_seed(0)
    given = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(given)
    if normalized:
        hidden = keras.layers.BatchNormalization(name="bn")(hidden)
    hidden = keras.layers.Dropout(dropout)(hidden)
    return keras.Model(given, keras.layers.Dense(2, name="output")(hidden))


def batches(parts: int = 1, *, seed: int | None = 0, batch_size: int = 4) -> Batches:
    return Batches(INPUTS, lambda indices, _: TARGETS[indices], batch_size=batch_size, seed=seed, parts=parts)


def train(model: keras.Model, *, parts: int = 1, adam: bool = True, rate: float = 0.01, **options) -> list[dict]:
    """Train for five epochs; returns the logs of the epochs that this call trained."""
    logs: list[dict] = []
    settings = {
        "train": batches(parts),
        "validation": batches(seed=None),
        "epochs": 5,
        "optimizer": optimizers.adam(learning_rate=rate) if adam else optimizers.sgd(learning_rate=rate, momentum=0.9),
        "schedule": schedules.plateau(factor=0.5, patience_epochs=1, warmup_epochs=1.5),
        "loss": keras.losses.MeanSquaredError(),
        "metrics": [keras.metrics.MeanAbsoluteError(name="error")],
        "callbacks": [keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, seen: logs.append(dict(seen)))],
    }
    settings |= options
    fit(model, settings.pop("train"), settings.pop("validation"), **settings)
    return logs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"steps_per_execution": 4},
        {"patience_epochs": 2, "best_by": "val_error"},
        {"ema_momentum": 0.9},
        {"ema_momentum": 0.9, "best_by": "val_loss"},
    ],
)
def test_a_training_goes_on_from_each_of_its_states_with_the_same_bits(options):
    """From before any step: the weights, and the logs of the epochs since, metrics of the whole epoch included."""
    kept, expected = Kept(), network()
    logs = train(expected, checkpoints=kept, **options)
    assert {state.epoch for state in kept.states} == set(range(len(logs) + 1))
    assert len({(state.epoch, state.step) for state in kept.states}) == len(kept.states)
    assert [state.step for state in kept.states[:4]] == (
        [0, 4, 0, 4] if "steps_per_execution" in options else [0, 1, 2, 3]
    )
    for state in kept.states[::5] + kept.states[-2:]:
        model = network()
        again = train(model, start=state, **options)
        assert again == logs[state.epoch :]
        for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_segmentation_with_class_weights_goes_on_with_the_same_bits():
    """From each state; and without the weights the bits are others."""
    images = np.random.default_rng(2).normal(size=(8, 6, 6, 3)).astype("float32")
    masks = np.random.default_rng(3).choice(np.array([0, 1, 2, 255], np.uint8), (8, 6, 6))

    def trained(loss: keras.losses.Loss, **options) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((6, 6, 3)), keras.layers.Dropout(0.3), keras.layers.Conv2D(3, 3, padding="same")]
        )
        given = Batches(images, lambda indices, _: masks[indices], batch_size=2, seed=0)
        train(
            model,
            train=given,
            validation=given,
            epochs=2,
            loss=loss,
            metrics=[objectives.ValidPixelAccuracy()],
            **options,
        )
        return model.get_weights()

    kept, weighted = Kept(), objectives.SegmentationCrossEntropy(0.5, (3.0, 0.25))
    expected = trained(weighted, checkpoints=kept)
    for state in kept.states[::2]:
        for got, wanted in zip(trained(weighted, start=state), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    assert not np.array_equal(trained(objectives.SegmentationCrossEntropy(0.5))[0], expected[0])


def test_a_state_of_another_network_is_refused():
    """Never half of it is taken."""
    kept = Kept()
    train(network(), checkpoints=kept)
    with pytest.raises(ValueError, match="expected values for 15 variables of this training; received: 23 others"):
        train(network(normalized=False), start=kept.states[-1])


def test_a_span_holds_the_batches_of_an_epoch_from_one_on():
    """In their order, as those of a training that goes on there."""
    whole = batches()
    for first, stop in ((0, None), (2, None), (2, 5), (5, 5)):
        span = Span(whole, first, stop)
        wanted = list(range(6))[first:stop]
        assert len(span) == len(wanted)
        for index, number in enumerate(wanted):
            np.testing.assert_array_equal(span[index][0], whole[number][0])


@pytest.mark.parametrize(("best_by", "better"), [("val_loss", min), ("val_error", max)])
def test_the_best_epoch_is_kept(best_by, better):
    """The weights are those of the epoch with the lowest loss, or the highest metric; without `best_by` those of the last."""
    model, seen = network(dropout=0.0), []
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _epoch, logs: seen.append((logs[best_by], model.get_weights()))
    )
    train(model, best_by=best_by, rate=0.3, callbacks=[record])
    values = [value for value, _ in seen]
    best = values.index(better(values))
    assert best < len(values) - 1  # or the test shows nothing
    for got, wanted in zip(model.get_weights(), seen[best][1], strict=True):
        np.testing.assert_array_equal(got, wanted)
    last, seen = network(dropout=0.0), []
    train(last, rate=0.3)
    assert not np.array_equal(last.get_weights()[0], model.get_weights()[0])
    with pytest.raises(FitError, match="expected the best epoch by one of val_loss, val_error; received: 'val_top1'"):
        train(network(), best_by="val_top1")


@pytest.mark.parametrize("adam", [False, True])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_train_as_the_whole(adam, parts):
    """The same weights and logs except for rounding, with momentum, Adam, decay, a warm-up, and examples that fill no batch."""
    whole, divided = network(normalized=False, dropout=0.0), network(normalized=False, dropout=0.0)
    expected = train(whole, adam=adam)
    received = train(divided, adam=adam, parts=parts)
    for got, wanted in zip(divided.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    for got, wanted in zip(received, expected, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4)
    grouped = network(normalized=False, dropout=0.0)
    train(grouped, adam=adam, parts=parts, steps_per_execution=2)
    once = network(normalized=False, dropout=0.0)
    train(once, adam=adam, steps_per_execution=2)
    for got, wanted in zip(grouped.get_weights(), once.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)


def test_a_training_in_parts_goes_on_between_two_batches():
    """The parts of a batch are one execution, so a state is never between two of them."""
    kept, expected = Kept(), network(normalized=False)
    train(expected, parts=4, checkpoints=kept)
    assert [state.step for state in kept.states[:7]] == [0, 4, 8, 12, 16, 20, 0]
    model = network(normalized=False)
    train(model, parts=4, start=kept.states[9])
    for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_parts_that_do_not_add_up_to_the_batch_are_refused():
    """Batch normalisation, a loss over all pixels of a batch, and a batch that does not divide."""
    with pytest.raises(FitError, match="received: bn, a batch normalisation"):
        train(network(), parts=2)
    with pytest.raises(FitError, match="received: segmentation_cross_entropy, which averages over more"):
        train(network(normalized=False), parts=2, loss=objectives.SegmentationCrossEntropy())
    with pytest.raises(ValueError, match="a batch that divides into 3 equal parts; received: 4 examples"):
        batches(parts=3)


def momentum(wanted: float, step: int) -> float:
    """That of the average after a step, which counts from 1."""
    return min(wanted, (1 + step) / (10 + step))


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 3}, {"parts": 2}])
def test_the_model_gets_the_averages_of_the_weights_after_each_step(options):
    """The average is a <- m a + (1 - m) w, of the weights after each step of a training without averages, in float64; each epoch is validated with it.

    The training itself keeps its bits. The momentum rises from 2/11 and is 0.7 from step 20 of 30 on.
    """
    normalized = "parts" not in options
    weights: list[list[np.ndarray]] = []
    plain, averaged = network(normalized=normalized, dropout=0.0), network(normalized=normalized, dropout=0.0)
    start = [np.array(variable) for variable in plain.trainable_variables]

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):  # noqa: ARG002 - part of Keras' interface
            if keras.backend.backend() == "jax":
                plain.jax_state_sync()
            weights.append([np.array(variable) for variable in plain.trainable_variables])

    settings = {"schedule": schedules.constant(), "adam": False}
    before = train(plain, **settings)
    plain.set_weights(network(normalized=normalized, dropout=0.0).get_weights())
    train(plain, callbacks=[Record()], **settings)
    logs = train(averaged, ema_momentum=0.7, **settings, **options)
    assert len(weights) == 30
    assert momentum(0.7, 19) < 0.7 == momentum(0.7, 20)
    expected = [value.astype("float64") for value in start]
    tested = network(normalized=normalized, dropout=0.0)
    for step, values in enumerate(weights, 1):
        m = momentum(0.7, step)
        expected = [m * average + (1 - m) * value for average, value in zip(expected, values, strict=True)]
        if step == 30:
            tested.set_weights(plain.get_weights())  # the moving statistics, which are not averaged
            for variable, value in zip(tested.trainable_variables, expected, strict=True):
                variable.assign(value)
    for got, wanted in zip(averaged.get_weights(), tested.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    error = float(np.mean((keras.ops.convert_to_numpy(tested(INPUTS)) - TARGETS) ** 2))
    assert logs[-1]["val_loss"] == pytest.approx(error, rel=1e-4)
    assert logs[-1]["val_loss"] != pytest.approx(before[-1]["val_loss"], rel=1e-3)
    if not options:
        assert [epoch["loss"] for epoch in logs] == [epoch["loss"] for epoch in before]


def test_the_best_epoch_has_its_averages():
    """Not the weights: the model then gives the metric of that epoch; this one falls, so the best epoch is an early one."""
    model = network(dropout=0.0)
    logs = train(model, ema_momentum=0.9, best_by="val_error")
    best = max(epoch["val_error"] for epoch in logs)
    assert best > logs[-1]["val_error"]  # or the test shows nothing
    found = float(np.mean(np.abs(keras.ops.convert_to_numpy(model(INPUTS)) - TARGETS)))
    assert found == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_averages_in_half_precision(precision):
    """They are float32, of float32 weights, also where the optimizer is wrapped; a momentum near 0 gives the weights themselves."""
    keras.config.set_dtype_policy(precision)
    try:
        plain, averaged = network(dropout=0.0), network(dropout=0.0)
        train(plain)
        train(averaged, ema_momentum=1e-9)
    finally:
        keras.config.set_dtype_policy("float32")
    for got, wanted in zip(averaged.get_weights(), plain.get_weights(), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def overflowing(bias: float = 0.0) -> keras.Model:
    """A network whose second layer gives infinity as soon as the first gives more than 1e30."""
    given = keras.Input((6,))
    first = keras.layers.Dense(2, kernel_initializer="ones", name="first")(given)
    second = keras.layers.Rescaling(1e9, offset=bias, name="second")(first)
    return keras.Model(given, keras.layers.Dense(2, name="third")(second))


@pytest.mark.parametrize("spe", [1, 4])
def test_the_first_layer_without_a_number_is_named(spe):
    """With epoch and step, both from 1; the last good state is before that step, and is named too."""
    inputs = np.ones((24, 6), "float32")
    order = np.random.default_rng([0, 1]).permutation(24)
    inputs[order[9]] = 3e30  # the third step of the second epoch; the seed is 0
    data = Batches(inputs, lambda indices, epoch: np.full((len(indices), 2), np.float32(epoch)), batch_size=4, seed=0)
    val = Batches(np.ones((4, 6), "float32"), lambda indices, _: np.zeros((len(indices), 2), "float32"), batch_size=4)

    class Growing(Batches):
        """Only the second epoch has the large example: the others have ones in its place."""

        def __getitem__(self, index):
            inputs, targets = super().__getitem__(index)
            return (inputs if self.epoch == 1 else np.ones_like(inputs)), targets

    data.__class__ = Growing
    kept = Kept()
    message = (
        r"expected a finite loss; received: (inf|nan) in epoch 2, step 3; the first layer whose output was no number: second\. "
        rf"The last good state, after 1 epochs and {2 if spe == 1 else 0} steps, is kept\. Lower the learning rate"
    )
    with pytest.raises(DivergedError, match=message):
        train(
            overflowing(), train=data, validation=val, adam=False, rate=1e-30, checkpoints=kept, steps_per_execution=spe
        )
    assert all(state.is_finite for state in kept.states)


def test_weights_that_became_no_numbers_are_told_from_outputs_that_did():
    """A step that overflows leaves weights that are none; the first layer that has them is named, and they are."""
    data = Batches(INPUTS, lambda indices, _: 1e3 * TARGETS[indices], batch_size=4, seed=0)
    message = r"no number: hidden, whose weights were none either after the step before\. The last"
    with pytest.raises(DivergedError, match=message):
        train(
            network(normalized=False),
            train=data,
            adam=False,
            rate=1e38,
            schedule=schedules.constant(),
            checkpoints=Kept(),
        )


def test_a_validation_without_a_number_is_named():
    """The training's own losses are finite, an example of the validation is not."""
    inputs = INPUTS.copy()
    inputs[7] = 3e30
    val = Batches(inputs, lambda indices, _: TARGETS[indices], batch_size=4)
    message = r"finite val_loss; received: nan in the validation after epoch 1; the first layer whose output was no number: second\. "
    with pytest.raises(DivergedError, match=message):
        train(overflowing(), validation=val, adam=False, rate=1e-30, checkpoints=Kept())


SHARED = """
import keras, numpy as np, tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from cnnkeras.training import optimizers
from tests.test_states import Kept, FitError, network, train
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results, kept = [], Kept()
with strategy.scope():
    expected = network()
    logs = train(expected, checkpoints=kept)
for state in (kept.states[0], kept.states[9], kept.states[-2]):
    with strategy.scope():
        model = network()
        assert train(model, start=state) == logs[state.epoch:], state.step
    for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)
one = network(normalized=False, dropout=0.0)
train(one, ema_momentum=0.9, adam=False)
with strategy.scope():
    two, kept = network(normalized=False, dropout=0.0), Kept()
    train(two, ema_momentum=0.9, adam=False, checkpoints=kept)
    again = network(normalized=False, dropout=0.0)
    train(again, ema_momentum=0.9, adam=False, start=kept.states[9])
for got, same, wanted in zip(two.get_weights(), again.get_weights(), one.get_weights(), strict=True):
    np.testing.assert_array_equal(got, same)
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
clipped = optimizers.sgd(learning_rate=0.1, global_clipnorm=1.0)
for wrong in ({"parts": 2}, {"optimizer": clipped}):
    with strategy.scope():
        try:
            train(network(normalized=False), **wrong)
        except FitError as error:
            print(error)
"""


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="MirroredStrategy is TensorFlow's")
def test_a_training_on_two_devices_goes_on():
    """With the sums that each device has of the metrics and the masks that each draws; in parts it is refused."""
    ended = subprocess.run([sys.executable, "-c", SHARED], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "received: several devices" in ended.stdout
    assert "expected no global_clipnorm; received: 1 on several devices" in ended.stdout
