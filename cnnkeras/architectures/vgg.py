"""VGG: the configurations A to E.

Simonyan & Zisserman (2014), Very Deep Convolutional Networks for Large-Scale Image Recognition, section 2.1 and table 1.
Parameters (table 2, there in millions): A and A-LRN 132,863,336, B 133,047,848, C 133,638,952, D (VGG-16) 138,357,544, E (VGG-19)
143,667,240.

Departures from the paper:
- Weights are He normal and biases 0. The paper draws from N(0, 10^-2) and initialises the deeper networks with a trained A; with a
  variance of 10^-2, as printed, the signal grows about 4e5-fold through A. With Glorot's weights, which the authors found sufficient
  after the submission, it shrinks: each ReLU layer halves the variance.
- `batch_norm: true` adds batch normalisation before each hidden layer's ReLU. The paper predates it; the default is false.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled
from cnnkeras.convolution import Window, output_sizes

keras = lazy_loader.load("keras")

TASKS = ("classification",)
# Table 1, one variant a column, in the paper's notation: convKERNEL-FILTERS; each block ends with 2x2 max pooling of stride 2.
VARIANTS = {
    "A": ("conv3-64", "conv3-128", "conv3-256 conv3-256", "conv3-512 conv3-512", "conv3-512 conv3-512"),
    "A-LRN": ("conv3-64 LRN", "conv3-128", "conv3-256 conv3-256", "conv3-512 conv3-512", "conv3-512 conv3-512"),
    "B": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256",
        "conv3-512 conv3-512",
        "conv3-512 conv3-512",
    ),
    "C": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv1-256",
        "conv3-512 conv3-512 conv1-512",
        "conv3-512 conv3-512 conv1-512",
    ),
    "D": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv3-256",
        "conv3-512 conv3-512 conv3-512",
        "conv3-512 conv3-512 conv3-512",
    ),
    "E": (
        "conv3-64 conv3-64",
        "conv3-128 conv3-128",
        "conv3-256 conv3-256 conv3-256 conv3-256",
        "conv3-512 conv3-512 conv3-512 conv3-512",
        "conv3-512 conv3-512 conv3-512 conv3-512",
    ),
}
FULLY_CONNECTED = {"fc6": 4096, "fc7": 4096}
PARAMETERS = {
    "A": 132_863_336,
    "A-LRN": 132_863_336,
    "B": 133_047_848,
    "C": 133_638_952,
    "D": 138_357_544,
    "E": 143_667_240,
}
PAPER_SHAPES = dict.fromkeys(VARIANTS, ((224, 224, 3), (1000,)))
TINY = {"input_shape": (32, 32, 3), "output_shape": (5,), "variant": "D", "width": 1 / 32}
_ILSVRC_2012 = "ILSVRC-2012 validation"
_SINGLE = "one network, dense, one scale (table 3)"
_BEST = "one network, multi-crop and dense, three scales"
_TWO = "two networks (D and E), multi-crop and dense, three scales"
_KERAS = "the authors' weights in Keras, one network, centre crop"
_PAPER = "Simonyan & Zisserman (2014), table"
_BOTH = ("crop_grid", "dense")
PUBLISHED = (
    Published("A", "top1_error", 0.296, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("A-LRN", "top1_error", 0.297, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("B", "top1_error", 0.287, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published(
        "C", "top1_error", 0.273, _ILSVRC_2012, f"{_SINGLE}, trained with scale jitter", f"{_PAPER} 3", ("dense",)
    ),
    Published(
        "D", "top1_error", 0.256, _ILSVRC_2012, f"{_SINGLE}, trained with scale jitter", f"{_PAPER} 3", ("dense",)
    ),
    Published(
        "E", "top1_error", 0.255, _ILSVRC_2012, f"{_SINGLE}, trained with scale jitter", f"{_PAPER} 3", ("dense",)
    ),
    Published("D, S = 256", "top1_error", 0.270, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("D, S = 384", "top1_error", 0.268, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("E, S = 256", "top1_error", 0.273, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("E, S = 384", "top1_error", 0.269, _ILSVRC_2012, _SINGLE, f"{_PAPER} 3", ("dense",)),
    Published("D", "top1_error", 0.244, _ILSVRC_2012, _BEST, f"{_PAPER} 5", _BOTH),
    Published("D", "top5_error", 0.072, _ILSVRC_2012, _BEST, f"{_PAPER} 5", _BOTH),
    Published("E", "top1_error", 0.244, _ILSVRC_2012, _BEST, f"{_PAPER} 5", _BOTH),
    Published("E", "top5_error", 0.071, _ILSVRC_2012, _BEST, f"{_PAPER} 5", _BOTH),
    Published("D and E", "top1_error", 0.237, _ILSVRC_2012, _TWO, f"{_PAPER} 6", _BOTH),
    Published("D and E", "top5_error", 0.068, _ILSVRC_2012, _TWO, f"{_PAPER} 6", _BOTH),
    Published(
        "D", "top1_error", 0.28732, _ILSVRC_2012, _KERAS, "keras-team/keras-applications, README", ("centre_crop",)
    ),
    Published(
        "E", "top1_error", 0.28744, _ILSVRC_2012, _KERAS, "keras-team/keras-applications, README", ("centre_crop",)
    ),
)


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int]:
    """Shape (classes,) of the network's output for one image.

    Raises:
        ValueError: The task is not classification, the input is not an image (height, width, channels), or it is too small for the poolings.
    """
    check_task("vgg", TASKS, task)
    _check_size(input_shape)
    return (classes,)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["A", "A-LRN", "B", "C", "D", "E"] = "D",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    min_channels: Annotated[int, annotated_types.Ge(1)] = 1,
    dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.5,
    batch_norm: bool = False,
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: images (batch, height, width, channels) in the data's units to logits (batch, classes), float32.

    Args:
        input_shape: (height, width, channels), at least 32x32; (224, 224, 3) in the paper.
        output_shape: (classes,).
        variant: A column of table 1; "D" is VGG-16, "E" VGG-19.
        width: Factor on the channels of the hidden layers, rounded.
        min_channels: Minimum number of channels of a hidden layer after `width`.
        dropout: Fraction of fc6's and fc7's outputs dropped in training.
        batch_norm: Batch normalisation before each ReLU (not in the paper).
        input_mean: Subtracted from the images; one number or one a channel.
        input_std: The images are divided by it; 1.0 in the paper.

    Raises:
        ValueError: As `output_shape`.
    """
    _check_size(input_shape)

    scale = functools.partial(scaled, width=width, minimum=min_channels)
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    for number, block in enumerate(VARIANTS[variant], start=1):
        x = _block(x, block, number, scale, batch_norm)
    x = keras.layers.Flatten(name="flatten")(x)
    for name, units in FULLY_CONNECTED.items():
        x = _hidden(x, keras.layers.Dense, name, batch_norm, units=scale(units))
        x = keras.layers.Dropout(dropout, name=f"drop{name[-1]}")(x)
    outputs = keras.layers.Dense(*output_shape, kernel_initializer="he_normal", dtype="float32", name="fc8")(x)
    return keras.Model(inputs, outputs, name="vgg")


def _block(x, block: str, number: int, scale: Callable[[int], int], batch_norm: bool):
    """One block of table 1 with its pooling: (batch, H, W, C) to (batch, H / 2, W / 2, C')."""
    convolutions = [cell for cell in block.split() if cell != "LRN"]
    for index, cell in enumerate(convolutions, start=1):
        kernel, filters = map(int, cell.removeprefix("conv").split("-"))
        options = {"filters": scale(filters), "kernel_size": kernel, "padding": "same"}
        x = _hidden(x, keras.layers.Conv2D, f"conv{number}_{index}", batch_norm, **options)
    if "LRN" in block:
        x = layers.LocalResponseNormalization(name=f"norm{number}")(x)
    return keras.layers.MaxPooling2D(2, name=f"pool{number}")(x)


def _hidden(x, kind, name: str, batch_norm: bool, **options):
    """A layer with weights, optional batch normalisation, ReLU; names conv1_1 bn1_1 relu1_1, fc6 bnfc6 relu6, as in DeconvNet."""
    activation = None if batch_norm else "relu"
    x = kind(**options, activation=activation, kernel_initializer="he_normal", name=name)(x)
    if not batch_norm:
        return x
    x = keras.layers.BatchNormalization(name=f"bn{name.removeprefix('conv')}")(x)
    return keras.layers.ReLU(name=f"relu{name.removeprefix('conv').removeprefix('fc')}")(x)


def _check_size(input_shape: tuple[int, ...]) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"expected images (height, width, channels) for vgg; received: {tuple(input_shape)}")
    output_sizes(input_shape[:2], [Window(f"pool{number}", 2, 2) for number in range(1, 6)])
