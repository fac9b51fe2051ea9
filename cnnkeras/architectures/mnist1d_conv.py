"""The lecture's convolutional network for MNIST-1D.

Prince, Understanding Deep Learning, section 10.2.7, figures 10.7 and 10.8: three convolutions of kernel 3 and stride 2 without
padding, 15 channels each, then one fully connected layer. 2,050 parameters; about 17 % test error in the book.

Departures from the paper: none in the network. The book does not give its initial weights; here they are He normal (as
elsewhere in the book), and biases are 0.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled
from cnnkeras.convolution import Window, output_sizes

keras = lazy_loader.load("keras")

TASKS = ("classification",)


@dataclass(frozen=True)
class Convolution:
    """A convolutional layer, one row of figure 10.8."""

    name: str
    kernel: int
    stride: int
    channels: int


VARIANTS = {"udl": (Convolution("conv1", 3, 2, 15), Convolution("conv2", 3, 2, 15), Convolution("conv3", 3, 2, 15))}
PARAMETERS = {"udl": 2_050}
PAPER_SHAPES = {"udl": ((40, 1), (10,))}
TINY = {"input_shape": (40, 1), "output_shape": (10,), "variant": "udl", "width": 0.2}
PUBLISHED = (
    Published(
        system="convolutional network, 2,050 parameters",
        metric="top1_error",
        value=0.17,
        data="MNIST-1D test split (4,000 training examples)",
        protocol="SGD without momentum, lr 0.01, batch 100, 100,000 steps; read off the book's figure",
        source="Prince, Understanding Deep Learning, section 10.2.7, figure 10.8",
    ),
    Published(
        system="another convolutional network, 5,210 parameters (25 channels)",
        metric="top1_error",
        value=0.06,
        data="MNIST-1D test split",
        protocol="figure of the README; the run stored in the repository ends at 0.077",
        source="Greydanus, MNIST-1D, README",
    ),
)


def output_shape(
    *, task: str, classes: int, input_shape: tuple[int, ...], variant: str = "udl", **_options
) -> tuple[int]:
    """Shape (classes,) of the network's output for one example.

    Raises:
        ValueError: The task is not classification, the input is not a signal (length, channels), or it is too short for the
            convolutions.
    """
    check_task("mnist1d_conv", TASKS, task)
    _lengths(input_shape, variant)
    return (classes,)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["udl"] = "udl",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: signals (batch, length, channels) in the data's units to logits (batch, classes), float32.

    Args:
        input_shape: (length, channels); (40, 1) in the book.
        output_shape: (classes,).
        variant: "udl", the book's network.
        width: Factor on the channels of the hidden layers, rounded, at least 1.
        input_mean: Subtracted from the inputs; one number or one a channel.
        input_std: The inputs are divided by it.

    Raises:
        ValueError: As `output_shape`.
    """
    _lengths(input_shape, variant)
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    for row in VARIANTS[variant]:
        channels = scaled(row.channels, width)
        x = keras.layers.Conv1D(
            channels, row.kernel, row.stride, activation="relu", kernel_initializer="he_normal", name=row.name
        )(x)
    x = keras.layers.Flatten(name="flatten")(x)
    outputs = keras.layers.Dense(*output_shape, kernel_initializer="he_normal", dtype="float32", name="fc4")(x)
    return keras.Model(inputs, outputs, name="mnist1d_conv")


def _lengths(input_shape: tuple[int, ...], variant: str) -> tuple[int, ...]:
    if len(input_shape) != 2:
        raise ValueError(f"expected signals (length, channels) for mnist1d_conv; received: {tuple(input_shape)}")
    return output_sizes(input_shape[:1], [Window(row.name, row.kernel, row.stride) for row in VARIANTS[variant]])
