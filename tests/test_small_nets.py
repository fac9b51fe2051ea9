"""The networks in plain NumPy against Keras: the same outputs, the same gradients, the same steps."""

import itertools

import numpy as np
import pytest

from cnnkeras.small_nets.layers import BidirectionalGru, Convolution, Dense, MeanPool, Relu, Residual
from cnnkeras.small_nets.networks import SGD, Adam, Network, orders, train


def build_network(name: str) -> tuple[Network, tuple[int, int]]:
    """A small network of each kind of layer, and the shape of its inputs."""
    layers = {
        "dense": [Dense(12, 7), Relu(), Residual(7), Dense(7, 5)],
        "conv1d": [
            Convolution((12,), 1, 4, (3,), 2, "same"),
            Relu(),
            Convolution((6,), 4, 3, (3,), 1, 1),
            Relu(),
            Dense(18, 5),
        ],
        "conv2d": [
            Convolution((4, 3), 1, 4, (3, 2), (2, 1), "same"),
            Relu(),
            Convolution((2, 3), 4, 3, (2, 3), (1, 2), "same"),
            Relu(),
            MeanPool(),
            Dense(3, 5),
        ],
        "gru": [BidirectionalGru(1, 3), Dense(72, 5)],
    }
    return Network(layers[name], seed=1), (12, 1)


def build_in_keras(name: str, network: Network):
    """The same in Keras, with the same parameters."""
    import keras

    k = keras.layers
    inputs = keras.Input((12, 1))
    if name == "dense":
        hidden = k.Dense(7, activation="relu")(k.Flatten()(inputs))
        hidden = k.Add()([hidden, k.Dense(7, activation="relu")(hidden)])
    elif name == "conv1d":
        hidden = k.Conv1D(4, 3, 2, "same", activation="relu")(inputs)
        hidden = k.Flatten()(k.Conv1D(3, 3, 1, "same", activation="relu")(hidden))
    elif name == "conv2d":
        hidden = k.Conv2D(4, (3, 2), (2, 1), "same", activation="relu")(k.Reshape((4, 3, 1))(inputs))
        hidden = k.Conv2D(3, (2, 3), (1, 2), "same", activation="relu")(hidden)
        hidden = k.GlobalAveragePooling2D()(hidden)
    else:
        hidden = k.Flatten()(k.Bidirectional(k.GRU(3, return_sequences=True))(inputs))
    model = keras.Model(inputs, k.Dense(5)(hidden))
    model.set_weights(as_in_keras(name, network.parameters, model))
    return model


def as_in_keras(name: str, values: list, model) -> list:
    """Parameters, or their gradients, in Keras' shapes and order.

    Its fully connected layers read position by position, ours channel by channel; its GRU has z before r and both biases in one array.
    """
    flat = [value for own in values for value in own]
    if name in ("conv1d", "gru"):
        channels = {"conv1d": 3, "gru": 6}[name]
        flat[-2] = flat[-2].reshape(channels, -1, 5).swapaxes(0, 1).reshape(-1, 5)
    if name == "gru":
        kernel, recurrent, bias, recurrent_bias = (
            np.concatenate([part[..., 3:6], part[..., :3], part[..., 6:]], axis=-1) for part in flat[:4]
        )
        biases = np.concatenate([bias, recurrent_bias], axis=1)
        flat = [part[direction] for direction in (0, 1) for part in (kernel, recurrent, biases)] + flat[4:]
    return [value.reshape(weight.shape) for value, weight in zip(flat, model.weights, strict=True)]


@pytest.mark.parametrize("name", ["dense", "conv1d", "conv2d", "gru"])
def test_logits_losses_and_gradients_are_those_of_keras(name):
    """A whole network of each kind of layer against Keras' layers and its backend's automatic differentiation."""
    import keras
    import tensorflow as tf

    network, shape = build_network(name)
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(6, *shape)).astype("float32"), rng.integers(0, 5, 6)
    model = build_in_keras(name, network)
    with tf.GradientTape() as tape:
        logits = model(inputs)
        expected = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    loss, gradients = network.gradients(inputs, labels)
    np.testing.assert_allclose(network.logits(inputs), logits, atol=1e-5)
    assert loss == pytest.approx(float(expected), abs=1e-5)
    pairs = zip(as_in_keras(name, gradients, model), tape.gradient(expected, model.trainable_weights), strict=True)
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_ten_steps_are_those_of_keras(name):
    """The optimizers take Keras' steps on the same batches; ten steps without Adam's corrections differ by 0.3.

    Keras adds epsilon to a square that is not yet corrected, ours (algorithm 1 of the paper) to the corrected one: at a weight whose
    gradient is as small as epsilon ten steps differ by up to 5.3e-5, in float64 too.
    """
    import keras

    network, shape = build_network("conv1d")
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(20, *shape)).astype("float32"), rng.integers(0, 5, 20)
    model = build_in_keras("conv1d", network)
    theirs = keras.optimizers.SGD(0.1) if name == "sgd" else keras.optimizers.Adam(0.01, epsilon=1e-8)
    model.compile(theirs, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = list(itertools.islice(orders(20, 5, seed=3), 10))
    for batch in batches:
        model.train_on_batch(inputs[batch], labels[batch])
    losses = train(network, SGD(0.1) if name == "sgd" else Adam(0.01), inputs, labels, batches=iter(batches), steps=10)
    assert len(losses) == 10
    tolerance = 1e-5 if name == "sgd" else 1e-4
    for ours, kept in zip(as_in_keras("conv1d", network.parameters, model), model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, kept, atol=tolerance)


def test_orders_are_derived_from_the_seed():
    """Every epoch holds each example once, in another order; without a seed always in theirs."""
    first, again = orders(10, 5, seed=1), orders(10, 5, seed=1)
    epochs = [np.concatenate([next(first), next(first)]) for _ in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    assert np.array_equal(epochs[0][:5], next(again))
    unshuffled = orders(10, 4, seed=None)
    assert [next(unshuffled).tolist() for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]]
