"""The lecture's fully connected network for MNIST-1D, with as many hidden units as the convolutional one.

Prince, Understanding Deep Learning, section 10.2.7: 40 inputs, hidden layers of 285 = 19 x 15, 135 = 9 x 15 and 60 = 4 x 15
units, 10 outputs. 59,065 parameters; about 40 % test error in the book.

Departures from the paper: none in the network. The book does not give its initial weights; here they are He normal (as
elsewhere in the book), and biases are 0. Inputs of other shapes are flattened.
"""

from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled

keras = lazy_loader.load("keras")

TASKS = ("classification",)
# Hidden units, as many as in each map of the convolutional network, figure 10.8.
VARIANTS = {"udl": (285, 135, 60)}
PARAMETERS = {"udl": 59_065}
PAPER_SHAPES = {"udl": ((40, 1), (10,))}
TINY = {"input_shape": (40, 1), "output_shape": (10,), "variant": "udl", "width": 0.05}
PUBLISHED = (
    Published(
        system="fully connected network, 59,065 parameters",
        metric="top1_error",
        value=0.40,
        data="MNIST-1D test split (4,000 training examples)",
        protocol="SGD without momentum, lr 0.01, batch 100, 100,000 steps; read off the book's figure",
        source="Prince, Understanding Deep Learning, section 10.2.7, figure 10.8",
    ),
    Published(
        system="another fully connected network, 15,210 parameters (residual)",
        metric="top1_error",
        value=0.32,
        data="MNIST-1D test split",
        protocol="figure of the README; the run stored in the repository ends at 0.349",
        source="Greydanus, MNIST-1D, README",
    ),
)


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int]:
    """Shape (classes,) of the network's output for one example of any shape.

    Raises:
        ValueError: The task is not classification, or the input has no values.
    """
    check_task("mnist1d_fc", TASKS, task)
    if not input_shape or min(input_shape) < 1:
        raise ValueError(f"expected inputs of at least one value for mnist1d_fc; received: {tuple(input_shape)}")
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
    """The network: inputs (batch, ...) in the data's units to logits (batch, classes), float32.

    Args:
        input_shape: Of one example; (40, 1) in the book.
        output_shape: (classes,).
        variant: "udl", the book's network.
        width: Factor on the units of the hidden layers, rounded, at least 1.
        input_mean: Subtracted from the inputs; one number or one a channel.
        input_std: The inputs are divided by it.
    """
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    for number, units in enumerate(VARIANTS[variant], start=1):
        x = keras.layers.Dense(
            scaled(units, width), activation="relu", kernel_initializer="he_normal", name=f"fc{number}"
        )(x)
    outputs = keras.layers.Dense(*output_shape, kernel_initializer="he_normal", dtype="float32", name="fc4")(x)
    return keras.Model(inputs, outputs, name="mnist1d_fc")
