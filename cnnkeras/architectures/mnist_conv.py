"""The lecture's convolutional network for MNIST, with dropout of whole maps.

Prince, Understanding Deep Learning, notebook 10.5: two convolutions of 5x5 without padding, each followed by 2x2 maxima and a ReLU, the
second one's maps dropped by Dropout2d before the maxima; then two fully connected layers. 21,840 parameters on grey images of 28x28.

Departures from the paper:
- Packed images are RGB, grey ones too: the first kernels then have three channels and 500 more weights, which act as their sum.
- Weights are He normal and biases 0, as elsewhere in the book; the notebook sets He weights for all layers by PyTorch's uniform law.
"""

from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled
from cnnkeras.convolution import Window, output_sizes

keras = lazy_loader.load("keras")

TASKS = ("classification",)
VARIANTS = {"udl": ((10, 20), 50)}  # maps of both convolutions, units of the hidden fully connected layer
PARAMETERS = {"udl": 21_840}
PAPER_SHAPES = {"udl": ((28, 28, 1), (10,))}
TINY = {"input_shape": (28, 28, 1), "output_shape": (10,), "variant": "udl", "width": 0.3}
PUBLISHED: tuple[Published, ...] = ()  # the notebook stores no result
KERNEL, POOL = 5, 2


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int]:
    """Shape (classes,) of the network's output for one image.

    Raises:
        ValueError: Another task than classification, no image (height, width, channels), or one too small for the layers.
    """
    check_task("mnist_conv", TASKS, task)
    _check_size(input_shape)
    return (classes,)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["udl"] = "udl",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.5,
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: images (batch, height, width, channels) in the data's units to logits (batch, classes), float32.

    Args:
        input_shape: (height, width, channels); (28, 28, 1) in the book.
        output_shape: (classes,).
        variant: "udl".
        width: Factor on the channels of the hidden layers, rounded, at least 1.
        dropout: How many of the second convolution's maps are dropped in training, as a fraction; 0.5 in the book.
        input_mean: Subtracted from the images; 255 x 0.1307 in the book.
        input_std: Divides them; 255 x 0.3081 in the book.

    Raises:
        ValueError: As `output_shape`.
    """
    _check_size(input_shape)
    maps, units = VARIANTS[variant]
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    for number, filters in enumerate(maps, start=1):
        x = keras.layers.Conv2D(scaled(filters, width), KERNEL, kernel_initializer="he_normal", name=f"conv{number}")(x)
        if number == len(maps):
            x = keras.layers.SpatialDropout2D(dropout, name="drop2")(x)
        x = keras.layers.MaxPooling2D(POOL, name=f"pool{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(scaled(units, width), activation="relu", kernel_initializer="he_normal", name="fc3")(x)
    outputs = keras.layers.Dense(*output_shape, kernel_initializer="he_normal", dtype="float32", name="fc4")(x)
    return keras.Model(inputs, outputs, name="mnist_conv")


def _check_size(input_shape: tuple[int, ...]) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"expected images (height, width, channels) for mnist_conv; received: {tuple(input_shape)}")
    windows = [
        Window("conv1", KERNEL),
        Window("pool1", POOL, POOL),
        Window("conv2", KERNEL),
        Window("pool2", POOL, POOL),
    ]
    output_sizes(input_shape[:2], windows)
