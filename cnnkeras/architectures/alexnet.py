"""AlexNet.

Krizhevsky, Sutskever & Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks, section 3 and figure 2.
60,965,224 parameters in two towers (the filters of conv2, conv4 and conv5 read only the channels on their GPU); 62,378,344 in one tower.
Also the two networks whose weights Caffe published (BVLC/caffe, models/bvlc_alexnet and models/bvlc_reference_caffenet).

Departures from the paper:
- The 224-pixel crop: (224 - 11) / 4 + 1 is not an integer. The authors' code (cuda-convnet) takes the ceiling, so its last windows
  extend 3 pixels beyond the right and bottom edges. Here 3 zeros are padded at these edges, after the mean is subtracted, which gives
  the ceiling at any size (at 227, the size of Caffe's version, no window reaches the zeros).
- Local response normalisation extends across the border between the two towers, as in Caffe; the paper does not say. The constants
  are those of the paper's text; the authors' code and Caffe divide alpha by the window of 5.
- With `initializer: he` the weights are He normal and all biases 0. The paper's N(0, 0.01^2) with biases of 1 is for inputs of 0..255
  less their mean and for layers of full width; with fewer channels or standardised inputs the signal vanishes in the deeper layers. With
  `initializer: paper_conv1` conv1 alone has the paper's: its filters then show what was learned, not what they began with.
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
    """A convolutional layer of section 3.5.

    Attributes:
        name: Name of the layer, by the paper's numbering.
        kernel, stride, filters: As printed; layers of stride 1 keep the size of the map.
        positive_bias: The biases start at the variant's constant, not at 0 (section 5).
        within_tower: In the two-tower network the filters read only the channels on their GPU.
        after_relu: Steps after the ReLU: "norm" (section 3.3) and "pool" (3x3, stride 2, section 3.4), in the variant's order.
    """

    name: str
    kernel: int
    stride: int
    filters: int
    positive_bias: bool = False
    within_tower: bool = False
    after_relu: tuple[str, ...] = ()


CONVOLUTIONS = (
    Convolution("conv1", 11, 4, 96, after_relu=("norm", "pool")),
    Convolution("conv2", 5, 1, 256, positive_bias=True, within_tower=True, after_relu=("norm", "pool")),
    Convolution("conv3", 3, 1, 384),
    Convolution("conv4", 3, 1, 384, positive_bias=True, within_tower=True),
    Convolution("conv5", 3, 1, 256, positive_bias=True, within_tower=True, after_relu=("pool",)),
)
# Zeros after each axis, one fewer than the stride: floor((size + 3 - 11) / 4) is the ceiling of (size - 11) / 4.
OVERHANG = CONVOLUTIONS[0].stride - 1
FULLY_CONNECTED = {"fc6": 4096, "fc7": 4096}  # with positive biases, section 5


@dataclass(frozen=True)
class Variant:
    """One of the published networks.

    Attributes:
        towers: Number of towers; with 2, conv2, conv4 and conv5 read only the channels of their half.
        norm_k, norm_alpha: Constants of the local response normalisation, whose sum is not divided by the window.
        pool_first: Pooling comes before normalisation.
        bias: Initial value of the positive biases, with the paper's initializer.
        hidden_stddev: Standard deviation of the initial weights of fc6 and fc7; 0.01 in all other layers.
    """

    towers: int
    norm_k: float = 2.0
    norm_alpha: float = 1e-4
    pool_first: bool = False
    bias: float = 1.0
    hidden_stddev: float = 0.01


# Caffe divides its alpha of 1e-4 by the window of 5, and leaves k at 1 (lrn_layer.cpp; BVLC/caffe#1453).
VARIANTS = {
    "two_tower": Variant(towers=2),
    "one_tower": Variant(towers=1),
    "caffe": Variant(towers=2, norm_k=1.0, norm_alpha=1e-4 / 5, bias=0.1, hidden_stddev=0.005),
    "caffenet": Variant(towers=2, norm_k=1.0, norm_alpha=1e-4 / 5, pool_first=True, hidden_stddev=0.005),
}
PARAMETERS = {"two_tower": 60_965_224, "one_tower": 62_378_344, "caffe": 60_965_224, "caffenet": 60_965_224}
PAPER_SHAPES = {
    "two_tower": ((224, 224, 3), (1000,)),
    "one_tower": ((224, 224, 3), (1000,)),
    "caffe": ((227, 227, 3), (1000,)),
    "caffenet": ((227, 227, 3), (1000,)),
}
TINY = {"input_shape": (64, 64, 3), "output_shape": (5,), "variant": "two_tower", "width": 1 / 32}
_ILSVRC_2012 = "ILSVRC-2012 validation"
_TABLE_2 = "Krizhevsky, Sutskever & Hinton (2012), table 2"
_TEN = "ten patches (corners and centre, mirrored), softmax averaged"
_CAFFE = "BVLC/caffe, models/bvlc_alexnet"
_CAFFENET = "BVLC/caffe, models/bvlc_reference_caffenet"
PUBLISHED = (
    Published("one CNN", "top1_error", 0.407, _ILSVRC_2012, _TEN, _TABLE_2, ("ten_patches",)),
    Published("one CNN", "top5_error", 0.182, _ILSVRC_2012, _TEN, _TABLE_2, ("ten_patches",)),
    Published(
        "five CNNs",
        "top1_error",
        0.381,
        _ILSVRC_2012,
        f"average of five similar networks; {_TEN}",
        _TABLE_2,
        ("ten_patches",),
    ),
    Published(
        "five CNNs",
        "top5_error",
        0.164,
        _ILSVRC_2012,
        f"average of five similar networks; {_TEN}",
        _TABLE_2,
        ("ten_patches",),
    ),
    Published(
        "Caffe's AlexNet", "top1_error", 0.429, _ILSVRC_2012, "one network, centre crop", _CAFFE, ("centre_crop",)
    ),
    Published(
        "Caffe's AlexNet", "top5_error", 0.198, _ILSVRC_2012, "one network, centre crop", _CAFFE, ("centre_crop",)
    ),
    Published("CaffeNet", "top1_error", 0.426, _ILSVRC_2012, "one network, centre crop", _CAFFENET, ("centre_crop",)),
    Published("CaffeNet", "top5_error", 0.196, _ILSVRC_2012, "one network, centre crop", _CAFFENET, ("centre_crop",)),
)


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int]:
    """Shape (classes,) of the network's output for one image.

    Raises:
        ValueError: The task is not classification, the input is not an image (height, width, channels), or it is too small for the poolings.
    """
    check_task("alexnet", TASKS, task)
    _check_size(input_shape)
    return (classes,)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["two_tower", "one_tower", "caffe", "caffenet"] = "two_tower",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] = 0.5,
    initializer: Literal["paper", "he", "paper_conv1"] = "paper",
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: images (batch, height, width, channels) in the data's units to logits (batch, classes), float32.

    Args:
        input_shape: (height, width, channels), at least 64x64; (224, 224, 3) in the paper.
        output_shape: (classes,).
        variant: "two_tower" (as published), "one_tower" (conv2, conv4 and conv5 read all channels), "caffe" (other constants
            of the normalisation, other initial biases and weights) or "caffenet" (in addition pooling before normalisation).
        width: Factor on the channels of the hidden layers, which are rounded to a multiple of the towers, at least one a tower.
        dropout: Fraction of fc6's and fc7's outputs dropped in training.
        initializer: "paper": N(0, 0.01^2), biases 1 in conv2, conv4, conv5, fc6, fc7 ("caffe": 0.1; both of Caffe's:
            N(0, 0.005^2) in fc6 and fc7). "he": He normal, biases 0. "paper_conv1": the same, but N(0, 0.01^2) in conv1.
        input_mean: Subtracted from the images; one number or one a channel.
        input_std: The images are divided by it; 1.0 in the paper.

    Raises:
        ValueError: As `output_shape`.
    """
    _check_size(input_shape)
    row = VARIANTS[variant]
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    x = keras.layers.ZeroPadding2D(((0, OVERHANG), (0, OVERHANG)), name="pad1")(x)
    for convolution in CONVOLUTIONS:
        x = _convolution(x, convolution, row, width, initializer)
    x = keras.layers.Flatten(name="flatten")(x)
    for name, units in FULLY_CONNECTED.items():
        weights = _initializers(initializer, row.hidden_stddev, row.bias)
        x = keras.layers.Dense(scaled(units, width), activation="relu", name=name, **weights)(x)
        x = keras.layers.Dropout(dropout, name=f"drop{name[-1]}")(x)
    outputs = keras.layers.Dense(*output_shape, dtype="float32", name="fc8", **_initializers(initializer))(x)
    return keras.Model(inputs, outputs, name="alexnet")


def _convolution(x, row: Convolution, variant: Variant, width: float, initializer: str):
    filters = variant.towers * scaled(row.filters / variant.towers, width)
    arguments = {
        "kernel_size": row.kernel,
        "strides": row.stride,
        "padding": "same" if row.stride == 1 else "valid",
        "activation": "relu",
        "name": row.name,
        **_initializers(
            "paper" if row.name == "conv1" and initializer == "paper_conv1" else initializer,
            bias=variant.bias if row.positive_bias else 0.0,
        ),
    }
    if row.within_tower and variant.towers > 1:
        x = layers.GroupedConv2D(filters, groups=variant.towers, **arguments)(x)
    else:
        x = keras.layers.Conv2D(filters, **arguments)(x)
    number = row.name[-1]
    for step in reversed(row.after_relu) if variant.pool_first else row.after_relu:
        if step == "norm":
            constants = {"k": variant.norm_k, "alpha": variant.norm_alpha}
            x = layers.LocalResponseNormalization(**constants, name=f"norm{number}")(x)
        else:
            x = keras.layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    return x


def _initializers(initializer: str, stddev: float = 0.01, bias: float = 0.0) -> dict:
    if initializer != "paper":
        return {"kernel_initializer": "he_normal", "bias_initializer": "zeros"}
    return {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=stddev),
        "bias_initializer": keras.initializers.Constant(bias),
    }


def _check_size(input_shape: tuple[int, ...]) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"expected images (height, width, channels) for alexnet; received: {tuple(input_shape)}")
    stack = []
    for row in CONVOLUTIONS:
        stack.append(Window(row.name, row.kernel, row.stride, (0, OVERHANG) if row.stride > 1 else "same"))
        stack += [Window(f"pool{row.name[-1]}", 3, 2)] * ("pool" in row.after_relu)
    output_sizes(input_shape[:2], stack)
