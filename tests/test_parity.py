"""Networks against independent implementations with the same random weights: plain NumPy in float64, and Keras applications.

The NumPy forwards are written from the papers' tables, layer by layer, and share no code with the networks: convolutions are
the plain definitions of `cnnkeras.plain_convolution`, normalisation and switches those that the layers are tested against. Batch
normalisation is at prediction, with statistics that are not those it starts from.
"""

import keras
import numpy as np
import pytest

from cnnkeras import architectures
from cnnkeras.plain_convolution import convolve_1d, convolve_2d
from tests.oracles import normalized, pooled_with_switches

Weights = dict[str, list[np.ndarray]]


def randomize(model: keras.Model, seed: int = 0) -> Weights:
    """Give every weight a value that matters; returns them by layer, in float64."""
    rng = np.random.default_rng(seed)
    for variable in model.weights:
        shape = tuple(variable.shape)
        if variable.name == "kernel":
            # Of a transposed convolution the last axis but one are the outputs; their number is close enough here.
            variable.assign(rng.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape))
        elif variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif variable.dtype == "float32":
            variable.assign(rng.normal(0, 0.1, shape))
    return {
        layer.name: [keras.ops.convert_to_numpy(value).astype("float64") for value in layer.weights]
        for layer in model.layers
    }


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.1 * x)


def convolve(x: np.ndarray, weights: list[np.ndarray], stride: int = 1, padding=None) -> np.ndarray:
    """By the definition, with a bias where there is one; zeros of half the kernel around, as Caffe's and Darknet's `pad`."""
    kernel, *bias = weights
    padding = kernel.shape[0] // 2 if padding is None else padding
    return np.stack([convolve_2d(image, kernel, sum(bias), stride, padding) for image in x])


def spread(x: np.ndarray, weights: list[np.ndarray], crop: int) -> np.ndarray:
    """Transposed convolution of stride 1: each input adds kernel (K, K, O, C) times its value; `crop` is cut off all around."""
    kernel, bias = weights
    size, (batch, height, width, _) = kernel.shape[0], x.shape
    y = np.zeros((batch, height + size - 1, width + size - 1, kernel.shape[2]))
    for row in range(size):
        for column in range(size):
            y[:, row : row + height, column : column + width] += x @ kernel[row, column].T
    return y[:, crop : y.shape[1] - crop, crop : y.shape[2] - crop] + bias


def normalize(x: np.ndarray, weights: list[np.ndarray], epsilon: float) -> np.ndarray:
    gamma, beta, mean, variance = weights
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def dense(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    return x.reshape(len(x), -1) @ weights[0] + weights[1]


def pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return windows.max(axis=(-2, -1))


def two_towers(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    halves = zip(np.split(x, 2, axis=-1), np.split(weights[0], 2, axis=-1), np.split(weights[1], 2), strict=True)
    return np.concatenate([convolve(part, [kernel, bias]) for part, kernel, bias in halves], axis=-1)


def alexnet(x: np.ndarray, w: Weights) -> np.ndarray:
    """Krizhevsky et al. (2012), figure 2; the windows that hang over the right and bottom edge see zeros."""
    constants = {"n": 5, "k": 2, "alpha": 1e-4, "beta": 0.75}
    x = pool(normalized(relu(convolve(x, w["conv1"], 4, ((0, 3), (0, 3)))), **constants), 3, 2)
    x = pool(normalized(relu(two_towers(x, w["conv2"])), **constants), 3, 2)
    return alexnet_from_conv3(x, w)


def caffenet(x: np.ndarray, w: Weights) -> np.ndarray:
    """BVLC/caffe, models/bvlc_reference_caffenet: pooled before it is normalised, by Caffe's convention alpha / 5 and k = 1."""
    constants = {"n": 5, "k": 1, "alpha": 1e-4 / 5, "beta": 0.75}
    x = normalized(pool(relu(convolve(x, w["conv1"], 4, 0)), 3, 2), **constants)
    x = normalized(pool(relu(two_towers(x, w["conv2"])), 3, 2), **constants)
    return alexnet_from_conv3(x, w)


def alexnet_from_conv3(x: np.ndarray, w: Weights) -> np.ndarray:
    x = relu(convolve(x, w["conv3"]))
    x = relu(two_towers(x, w["conv4"]))
    x = pool(relu(two_towers(x, w["conv5"])), 3, 2)
    return dense(relu(dense(relu(dense(x, w["fc6"])), w["fc7"])), w["fc8"])


def vgg(x: np.ndarray, w: Weights) -> np.ndarray:
    """Simonyan and Zisserman (2014), table 1, configuration D."""
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, convolutions + 1):
            x = relu(convolve(x, w[f"conv{block}_{number}"]))
        x = pool(x, 2, 2)
    return dense(relu(dense(relu(dense(x, w["fc6"])), w["fc7"])), w["fc8"])


def yolo(x: np.ndarray, w: Weights) -> np.ndarray:
    """The nine convolutions of "small", by Darknet's rules: pad of half the kernel, batch normalisation, leaky ReLU."""
    strides = {1: 2}
    for number in range(1, 10):
        x = convolve(x, w[f"conv{number}"], strides.get(number, 1))
        x = leaky(normalize(x, w[f"bn{number}"], 1e-5))
        if number in (1, 2, 6):
            x = pool(x, 2, 2)
    return dense(leaky(dense(x, w["fc10"])), w["fc11"]).reshape(len(x), 2, 2, 13)


def yolo_rerelease(x: np.ndarray, w: Weights) -> np.ndarray:
    """cfg/yolov1.cfg of 2016: every convolution normalised, then windows with weights of their own at each of 2x2 places."""
    for number in range(1, 25):
        x = convolve(x, w[f"conv{number}"], 2 if number in (1, 22) else 1)
        x = leaky(normalize(x, w[f"bn{number}"], 1e-5))
        if number in (1, 2, 6, 16):
            x = pool(x, 2, 2)
    kernel, bias = w["local25"]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    local = np.empty((len(x), 2, 2, bias.shape[-1]))
    for row, column in np.ndindex(2, 2):
        window = padded[:, row : row + 3, column : column + 3].reshape(len(x), -1)
        local[:, row, column] = window @ kernel[row, column] + bias[row, column]
    return dense(leaky(local), w["fc26"]).reshape(len(x), 2, 2, 19)


def deconvnet(x: np.ndarray, w: Weights) -> np.ndarray:
    """Noh et al. (2015), stage_2_train.prototxt: the places of the maxima are looked up one by one."""
    places = {}

    def step(x: np.ndarray, name: str, norm: str, operation, *arguments) -> np.ndarray:
        return relu(normalize(operation(x, w[name], *arguments), w[norm], 1e-5))

    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for number in range(1, convolutions + 1):
            x = step(x, f"conv{block}_{number}", f"bn{block}_{number}", convolve)
        x, places[block] = pooled_with_switches(x, 2)
    x = step(x, "fc6", "bnfc6", convolve, 1, 0)
    x = step(x, "fc7", "bnfc7", convolve, 1, 0)
    x = step(x, "fc6-deconv", "fc6-deconv-bn", spread, 0)
    for block, deconvolutions in zip((5, 4, 3, 2, 1), (3, 3, 3, 2, 2), strict=True):
        unpooled = np.zeros((len(x), 2 * x.shape[1], 2 * x.shape[2], x.shape[3]))
        for (example, row, column, channel), value in np.ndenumerate(x):
            place = places[block][example, row, column, channel]
            unpooled[example, 2 * row + place // 2, 2 * column + place % 2, channel] = value
        x = unpooled
        for number in range(1, deconvolutions + 1):
            x = step(x, f"deconv{block}_{number}", f"debn{block}_{number}", spread, 1)
    return convolve(x, w["seg-score"])


def mnist1d_conv(x: np.ndarray, w: Weights) -> np.ndarray:
    """Prince, Understanding Deep Learning, section 10.2.7: kernels of 3, stride 2, no padding."""
    for name in ("conv1", "conv2", "conv3"):
        x = relu(np.stack([convolve_1d(signal, *w[name], stride=2) for signal in x]))
    return dense(x, w["fc4"])


def mnist1d_fc(x: np.ndarray, w: Weights) -> np.ndarray:
    for name in ("fc1", "fc2", "fc3"):
        x = relu(dense(x, w[name]))
    return dense(x, w["fc4"])


def mnist_conv(x: np.ndarray, w: Weights) -> np.ndarray:
    """Prince, Understanding Deep Learning, notebook 10.5: two convolutions of 5x5 without padding, maxima before each ReLU."""
    for name in ("conv1", "conv2"):
        x = relu(pool(convolve(x, w[name], padding=0), 2, 2))
    return dense(relu(dense(x, w["fc3"])), w["fc4"])


PLAIN = {
    # Inputs of 0..255 less their mean, for which the constants of the local response normalisation were chosen.
    "alexnet": ("alexnet", alexnet, {}, 100.0),
    "caffenet": ("alexnet", caffenet, {"variant": "caffenet", "input_shape": (67, 67, 3)}, 100.0),
    "vgg": ("vgg", vgg, {}, 1.0),
    "yolo": ("yolo", yolo, {"batch_norm": True}, 1.0),
    "yolo_rerelease": (
        "yolo",
        yolo_rerelease,
        {"variant": "rerelease", "input_shape": (128, 128, 3), "output_shape": (2, 2, 19), "width": 1 / 64},
        1.0,
    ),
    # Twice the side of the smallest, so that fc6 and its deconvolution are larger than 1x1.
    "deconvnet": (
        "deconvnet",
        deconvnet,
        {"input_shape": (64, 64, 3), "output_shape": (64, 64, 4), "width": 1 / 32},
        1.0,
    ),
    "mnist1d_conv": ("mnist1d_conv", mnist1d_conv, {}, 1.0),
    "mnist1d_fc": ("mnist1d_fc", mnist1d_fc, {}, 1.0),
    "mnist_conv": ("mnist_conv", mnist_conv, {}, 1.0),
}


def test_every_architecture_has_a_plain_forward():
    assert {name for name, *_ in PLAIN.values()} == set(architectures.names())


@pytest.mark.backend
@pytest.mark.parametrize(("name", "forward", "options", "deviation"), PLAIN.values(), ids=PLAIN.keys())
def test_networks_compute_what_plain_numpy_does(name, forward, options, deviation):
    module = architectures.load(name)
    model = module.build(**(module.TINY | options))
    weights = randomize(model)
    inputs = np.random.default_rng(1).normal(0, deviation, (2, *model.input_shape[1:])).astype("float32")
    expected = forward(inputs.astype("float64"), weights)
    received = model.predict_on_batch(inputs)
    assert received.shape == expected.shape
    assert expected.std() > 1e-3
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-5 * abs(expected).max())


@pytest.mark.parametrize(("variant", "application"), [("D", "VGG16"), ("E", "VGG19")])
def test_vgg_is_keras_applications_given_the_same_weights(variant, application):
    published = getattr(keras.applications, application)(
        weights=None, input_shape=(32, 32, 3), classes=7, classifier_activation=None
    )
    module = architectures.load("vgg")
    ours = module.build(input_shape=(32, 32, 3), output_shape=(7,), variant=variant)
    values = published.get_weights()
    assert [value.shape for value in values] == [value.shape for value in ours.get_weights()]
    ours.set_weights(values)
    inputs = np.random.default_rng(1).normal(0, 60, (2, 32, 32, 3)).astype("float32")
    expected = published.predict_on_batch(inputs)
    np.testing.assert_allclose(ours.predict_on_batch(inputs), expected, rtol=0, atol=1e-5 * abs(expected).max())
