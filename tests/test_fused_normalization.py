"""Batch normalisation by one kernel trains as Keras' does, and leaves no trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import keras
import numpy as np
import pytest

from pipeline.backend.normalization import fused

KERNEL = "FusedBatchNormV3"


@contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build(**options) -> keras.Model:
    """A network whose layer `bn` normalises 6 x 7 values in each of 5 channels."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 9, 3))
    x = keras.layers.Conv2D(5, 3)(inputs)
    x = keras.layers.BatchNormalization(**{"momentum": 0.9, "epsilon": 1e-5, "name": "bn"} | options)(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(1, dtype="float32")(x))


def trained(model: keras.Model, context, steps: int = 3) -> tuple[list[float], list[np.ndarray]]:
    """The losses of some steps of plain descent, and all variables after them."""
    random = np.random.default_rng(4)
    inputs, targets = random.normal(2, 3, (6, 8, 9, 3)).astype("float32"), random.normal(size=(6, 1)).astype("float32")
    with context(model):
        model.compile(keras.optimizers.SGD(0.02), "mse", jit_compile=False)
        losses = [float(model.train_on_batch(inputs, targets)) for _ in range(steps)]
    return losses, model.get_weights()


def kernels(model: keras.Model, context, *, training: bool) -> int:
    """How often a step's graph has the kernel."""
    import tensorflow as tf

    with context(model):
        graph = tf.function(lambda inputs: model(inputs, training=training)).get_concrete_function(
            tf.TensorSpec((4, *model.input_shape[1:]))
        )
    return sum(operation.type == KERNEL for operation in graph.graph.get_operations())


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 1e-2), ("mixed_float16", 2e-3)]
)
def test_a_step_is_that_of_keras_to_rounding(precision, tolerance):
    """Losses, hence outputs; kernels, scales and shifts, hence gradients; moving averages of mean and variance."""
    with policy(precision):
        assert kernels(build(), fused, training=True) == 1
        expected, received = trained(build(), nullcontext), trained(build(), fused)
    np.testing.assert_allclose(received[0], expected[0], rtol=tolerance)
    for value, other in zip(received[1], expected[1], strict=True):
        np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance)
    moved = np.abs(expected[1][5] - 1).min()  # the moving variance, from 1
    assert moved > 100 * tolerance


def test_the_moving_variance_is_that_of_the_batch_not_of_the_population():
    """For 42 values a channel the two differ by 1/41, far above rounding."""
    model = build()
    features = keras.Model(model.input, model.layers[1].output)
    inputs = np.random.default_rng(4).normal(2, 3, (1, 8, 9, 3)).astype("float32")
    variance = np.var(features.predict_on_batch(inputs), axis=(0, 1, 2), dtype="float64")
    with fused(model):
        model(inputs, training=True)
    np.testing.assert_allclose(model.get_layer("bn").moving_variance, 0.9 + 0.1 * variance, rtol=1e-6)


def test_equal_trainings_have_equal_bits():
    """As everything else that trains."""
    first, second = trained(build(), fused), trained(build(), fused)
    assert first[0] == second[0]
    for value, other in zip(first[1], second[1], strict=True):
        np.testing.assert_array_equal(value, other)


def test_only_the_training_changes_and_nothing_of_the_model():
    """Predictions, also within the block, are Keras' own bits, and after it the model is as before."""
    model, inputs = build(), np.ones((2, 8, 9, 3), "float32")
    before, config = model.predict_on_batch(inputs), model.to_json()
    assert not kernels(model, fused, training=False)
    with fused(model):
        np.testing.assert_array_equal(model.predict_on_batch(inputs), before)
    assert not kernels(model, nullcontext, training=True)
    assert "call" not in vars(model.get_layer("bn"))
    assert model.to_json() == config


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"axis": 1}, {"axis": 2}, {"synchronized": True}]
)
def test_what_the_kernel_cannot_do_stays_with_keras(options):
    """Bits of Keras' own."""
    assert not kernels(build(**options), fused, training=True)
    expected, received = trained(build(**options), nullcontext), trained(build(**options), fused)
    assert received[0] == expected[0]


def test_a_frozen_layer_keeps_its_averages():
    """Keras normalises with the moving averages then, in training too."""
    model = build()
    model.get_layer("bn").trainable = False
    assert not kernels(model, fused, training=True)
    trained(model, fused)
    np.testing.assert_array_equal(model.get_layer("bn").moving_mean, np.zeros(5))


def test_features_without_a_place_are_keras():
    """A normalisation of a fully connected layer is of another rank."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(3)(inputs)))
    assert not kernels(model, fused, training=True)


@pytest.mark.backend
def test_on_other_backends_nothing_is_replaced():
    """There the layers' own `call` stays."""
    model = build()
    with fused(model):
        replaced = "call" in vars(model.get_layer("bn"))
    assert replaced == (keras.backend.backend() == "tensorflow")
