"""The layers against slow NumPy oracles, hand-worked examples and Keras' own."""

import keras
import numpy as np
import pytest

from cnnkeras import layers
from tests.oracles import normalized, pooled_with_switches

pytestmark = pytest.mark.backend

# Prince, Understanding Deep Learning, notebook 10.4.
PATCH = np.array([[1, 3, 5, 3], [6, 2, 0, 8], [4, 6, 1, 4], [2, 8, 0, 3]], "float32")


@pytest.mark.parametrize("constants", [{}, {"n": 3, "k": 1.0, "alpha": 0.5, "beta": 0.5}, {"alpha": 2e-5}])
@pytest.mark.parametrize("channels", [1, 4, 11])
def test_local_response_normalization_is_the_formula(constants, channels):
    """The layer computes the paper's sum, cut off at the first and last channel, for activations of the paper's size."""
    activations = np.random.default_rng(0).normal(0, 60, (2, 3, 2, channels)).astype("float32")
    layer = layers.LocalResponseNormalization(**constants)
    expected = normalized(activations.astype("float64"), layer.n, layer.k, layer.alpha, layer.beta)
    np.testing.assert_allclose(np.asarray(layer(activations)), expected, rtol=1e-5)


def test_local_response_normalization_by_hand():
    """Five channels of 100 with the paper's constants: the middle one sees 5 * 100^2, the first 3 * 100^2."""
    out = np.asarray(layers.LocalResponseNormalization()(np.full((1, 1, 1, 5), 100.0, "float32"))).ravel()
    assert out[2] == pytest.approx(100 / (2 + 1e-4 * 50_000) ** 0.75)  # 100 / 7^0.75 = 23.24
    assert out[0] == pytest.approx(100 / (2 + 1e-4 * 30_000) ** 0.75)  # 100 / 5^0.75 = 29.91


def test_local_response_normalization_keeps_half_precision_outside():
    """The sum of squares is taken in float32: activations of 300 would overflow float16."""
    layer = layers.LocalResponseNormalization(dtype="mixed_float16")
    out = layer(np.full((1, 2, 2, 8), 300.0, "float16"))
    assert keras.backend.standardize_dtype(out.dtype) == "float16"
    assert np.isfinite(np.asarray(out)).all()


@pytest.mark.parametrize(("constants", "message"), [({"n": 4}, "odd number n.*4"), ({"k": 0}, "k above 0")])
def test_local_response_normalization_refuses(constants, message):
    """An even window has no middle; without k silence divides by 0."""
    with pytest.raises(ValueError, match=message):
        layers.LocalResponseNormalization(**constants)


def test_local_kernels_are_convolutions_place_by_place():
    """Each output is the product of its window, zeros beyond the map, with its own place's weights."""
    maps = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("float32")
    layer = layers.LocallyConnected2D(6, 3)
    layer.build(maps.shape)
    kernel, bias = (np.random.default_rng(2).normal(size=weight.shape) for weight in layer.weights)
    layer.set_weights([kernel, bias])
    received = np.asarray(layer(maps))
    padded = np.pad(maps.astype("float64"), ((0, 0), (1, 1), (1, 1), (0, 0)))
    expected = np.empty((2, 3, 4, 6))
    for row, column in np.ndindex(3, 4):
        window = padded[:, row : row + 3, column : column + 3].reshape(2, -1)
        expected[:, row, column] = window @ kernel[row, column] + bias[row, column]
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def test_equal_local_kernels_are_a_convolution():
    """With the same weights everywhere the layer is Keras' convolution with zeros around."""
    maps = np.random.default_rng(1).normal(size=(1, 4, 4, 3)).astype("float32")
    convolution = keras.layers.Conv2D(2, 3, padding="same", bias_initializer="ones")
    expected = np.asarray(convolution(maps))
    layer = layers.LocallyConnected2D(2, 3)
    layer.build(maps.shape)
    kernel, bias = (np.asarray(weight) for weight in convolution.weights)
    layer.set_weights([np.tile(kernel.reshape(1, 1, 27, 2), (4, 4, 1, 1)), np.tile(bias, (4, 4, 1))])
    np.testing.assert_allclose(np.asarray(layer(maps)), expected, rtol=1e-5, atol=1e-6)


def test_local_kernels_refuse_what_has_no_middle_or_no_size():
    """An even window has no middle; a map of unknown size has no places to give weights to."""
    with pytest.raises(ValueError, match="odd kernel_size; received: 2 and 4"):
        layers.LocallyConnected2D(2, 4)
    with pytest.raises(ValueError, match="expected a map of known size"):
        layers.LocallyConnected2D(2, 3)(keras.Input((None, 4, 3)))


def test_lecture_patch_is_pooled_and_unpooled():
    """Notebook 10.4: maxima [[6, 8], [8, 4]]; 6 goes back to (1, 0), 8 to (1, 3), 8 to (3, 1), 4 to (2, 3)."""
    maxima, switches = layers.MaxPoolingWithSwitches()(PATCH[None, :, :, None])
    assert np.asarray(maxima)[0, :, :, 0].tolist() == [[6, 8], [8, 4]]
    assert np.asarray(switches)[0, :, :, 0].tolist() == [
        [2, 3],
        [3, 1],
    ]  # row 1 column 0; row 1 column 1; the same; row 0 column 1
    unpooled = np.asarray(layers.MaxUnpooling()([maxima, switches]))[0, :, :, 0]
    assert unpooled.tolist() == [[0, 0, 0, 0], [6, 0, 0, 8], [0, 0, 0, 4], [0, 8, 0, 0]]


def test_ties_go_to_the_first_in_row_major_order():
    """All equal: place 0. A tie of (0, 1) with (1, 0): place 1. Of (1, 0) with (1, 1): place 2."""
    row = np.array([[0, 0, 1, 5, 1, 2], [0, 0, 5, 1, 7, 7]], "float32")
    maxima, switches = layers.MaxPoolingWithSwitches()(row[None, :, :, None])
    assert np.asarray(maxima).ravel().tolist() == [0, 5, 7]
    assert np.asarray(switches).ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("p", [2, 3])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_switches_and_unpooling_are_the_definition(p, jit_compile):
    """With many ties, with and without XLA: the loop over windows, its switches, and the values back in their places."""
    maps = np.random.default_rng(0).integers(0, 3, (2, 2 * p, 3 * p, 4)).astype("float32")
    inputs = keras.Input(maps.shape[1:])
    maxima, switches = layers.MaxPoolingWithSwitches(p)(inputs)
    model = keras.Model(inputs, [maxima, switches, layers.MaxUnpooling(p)([maxima, switches])])
    model.compile(jit_compile=jit_compile)
    maxima, switches, unpooled = model.predict(maps, verbose=0)
    expected_maxima, expected_switches = pooled_with_switches(maps, p)
    np.testing.assert_array_equal(maxima, expected_maxima)
    np.testing.assert_array_equal(switches, expected_switches)
    expected = np.zeros_like(maps)
    for b, y, x, c in np.ndindex(expected_maxima.shape):
        place = expected_switches[b, y, x, c]
        expected[b, y * p + place // p, x * p + place % p, c] = expected_maxima[b, y, x, c]
    np.testing.assert_array_equal(unpooled, expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_scattered_and_gathered_at_the_switches(jit_compile):
    """A step of gradient descent reaches an input through pooling and unpooling only where its maximum was.

    The input is a bias map b of four places (all inputs are 0), the loss the sum of squares of the unpooled maxima, so the
    gradient is 2 b at the maximum of each window and 0 elsewhere: with rate 0.25 the maximum is halved, the others stay.
    """

    @keras.saving.register_keras_serializable(package="tests")
    class Map(keras.layers.Layer):
        def build(self, input_shape):
            self.map = self.add_weight(shape=input_shape[1:], initializer="zeros")

        def call(self, inputs):
            return inputs + self.map

    inputs = keras.Input((4, 4, 1))
    maps = Map()
    outputs = layers.MaxUnpooling()(list(layers.MaxPoolingWithSwitches()(maps(inputs))))
    model = keras.Model(inputs, outputs)
    maps.set_weights([PATCH[:, :, None]])
    model.compile(keras.optimizers.SGD(0.25), lambda _, y: keras.ops.sum(y**2), jit_compile=jit_compile)
    model.fit(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1)), verbose=0)
    expected = PATCH.copy()
    for place in ((1, 0), (1, 3), (3, 1), (2, 3)):
        expected[place] /= 2
    np.testing.assert_allclose(maps.get_weights()[0][:, :, 0], expected)


def test_pooling_and_unpooling_refuse_what_does_not_fit():
    """Sides that the windows do not tile, switches of another map, and windows whose places a byte cannot number."""
    with pytest.raises(ValueError, match=r"pool9 expected a map .* multiples of 2; received: \(5, 4\)"):
        layers.MaxPoolingWithSwitches(name="pool9")(np.zeros((1, 5, 4, 1)))
    with pytest.raises(ValueError, match=r"unpool9 expected one switch a value; received: values \(2, 2, 3\)"):
        layers.MaxUnpooling(name="unpool9")([np.zeros((1, 2, 2, 3)), np.zeros((1, 2, 2, 1), "uint8")])
    with pytest.raises(ValueError, match="pool_size of 1 to 16"):
        layers.MaxPoolingWithSwitches(17)


@pytest.mark.parametrize("stride", [1, 2])
def test_grouped_convolution_is_that_of_keras(stride):
    """The same weights give the same maps as `Conv2D(groups=2)`, and the layers have the same weights."""
    maps = np.random.default_rng(0).normal(size=(2, 7, 6, 4)).astype("float32")
    arguments = {
        "filters": 6,
        "kernel_size": 3,
        "strides": stride,
        "padding": "same",
        "groups": 2,
        "activation": "relu",
    }
    ours, theirs = layers.GroupedConv2D(**arguments), keras.layers.Conv2D(**arguments)
    ours.build(maps.shape)
    theirs.build(maps.shape)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights] == [(3, 3, 2, 6), (6,)]
    ours.set_weights(theirs.get_weights())
    np.testing.assert_allclose(np.asarray(ours(maps)), np.asarray(theirs(maps)), atol=1e-5)


def test_standardize_by_hand():
    """(inputs - mean) / std a channel, on bytes: (110 - 100) / 5 = 2, (90 - 100) / 10 = -1, (100 - 100) / 20 = 0."""
    layer = layers.build_standardize([100, 100, 100], [5, 10, 20])
    out = np.asarray(layer(np.array([[[[110, 90, 100]]]], "uint8")))
    np.testing.assert_allclose(out.ravel(), [2, -1, 0], atol=1e-5)
    with pytest.raises(ValueError, match=r"input_std above 0; received: \[1, 0\]"):
        layers.build_standardize(0, [1, 0])


@pytest.mark.parametrize(
    "layer",
    [
        layers.LocalResponseNormalization(3, 1.0, 0.5, 0.25),
        layers.MaxPoolingWithSwitches(3),
        layers.MaxUnpooling(3),
        layers.GroupedConv2D(4, 3, groups=2),
        layers.build_standardize([1, 2], [3, 4]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_survive_their_configuration(layer):
    """A layer made from another one's configuration has the same configuration, so a model file can hold it."""
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.serialize_keras_object(keras.saving.deserialize_keras_object(config)) == config
