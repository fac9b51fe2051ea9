"""MobileNet of `keras.applications`, with a head for any number of classes.

Howard et al. (2017), MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, table 1, and table 6 for the
width multiplier. 4,231,976 trained parameters at full width, as the network of `keras.applications` has; its published weights are read by
`plugins/weights/mobilenet_h5.py`.

Departures from the paper: those of `keras.applications`, whose head is a convolution of 1 x 1 with dropout.
"""

from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task

keras = lazy_loader.load("keras")

TASKS = ("classification",)
VARIANTS = {"1.0": 1.0, "0.5": 0.5, "0.25": 0.25}  # the width multiplier, by which each layer has fewer channels
PARAMETERS = {"1.0": 4_231_976, "0.5": 1_331_592, "0.25": 470_072}
PAPER_SHAPES = dict.fromkeys(VARIANTS, ((224, 224, 3), (1000,)))
TINY = {"input_shape": (32, 32, 3), "output_shape": (10,), "variant": "0.25"}
PUBLISHED = (
    Published(
        "MobileNet 1.0, 224 x 224",
        "top1_error",
        0.294,
        "ImageNet, validation",
        "one crop",
        "Howard et al. 2017, table 8",
    ),
)
MIN_SIDE = 32  # it is halved five times


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int]:
    """Shape (classes,) of the network's output for one image.

    Raises:
        ValueError: Another task than classification, or no RGB image of at least 32 x 32.
    """
    check_task("mobilenet", TASKS, task)
    if len(input_shape) != 3 or input_shape[-1] != 3 or min(input_shape[:2]) < MIN_SIDE:
        raise ValueError(f"expected RGB images of at least {MIN_SIDE} x {MIN_SIDE}; received: {input_shape}")
    return (classes,)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["1.0", "0.5", "0.25"] = "1.0",
    dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.001,
    input_mean=127.5,
    input_std=127.5,
) -> "keras.Model":
    """The network: images (batch, height, width, 3) in the data's units to logits (batch, classes).

    Args:
        input_shape: (height, width, 3).
        output_shape: (classes,).
        variant: A key of `VARIANTS`.
        dropout: Fraction of the features that is dropped in front of the last layer.
        input_mean: Subtracted from the input, in its units.
        input_std: Divides the input, in its units.
    """
    image = keras.Input(input_shape, name="image")
    (classes,) = output_shape
    return keras.applications.MobileNet(
        input_tensor=layers.build_standardize(input_mean, input_std)(image),
        alpha=VARIANTS[variant],
        dropout=dropout,
        weights=None,
        classes=classes,
        classifier_activation=None,
    )
