"""YOLO, version 1: detection as regression, and the classifier as which its first layers are pre-trained.

Redmon, Divvala, Girshick & Farhadi (2016), You Only Look Once, section 2.1 and figure 3, checked against darknet's
cfg/yolo.cfg and cfg/yolo-tiny.cfg of November 2015. "full" (24 convolutions): 271,703,550 parameters; "fast" (9 convolutions):
45,089,374. The authors' re-release (cfg/yolov1.cfg and cfg/yolov1-tiny.cfg of 2016: "rerelease", 197,301,875, and "rerelease_fast",
27,095,374) has batch normalisation, and a locally connected layer, or none, instead of the hidden fully connected layers. Today's darknet
calls the re-release YOLO, not the paper's networks. The output for an image is (S, S, C + 5 B), linear, S = side / stride. The last axis
holds C class probabilities, B confidences, B times (x, y, sqrt w, sqrt h); x and y within the cell, w and h relative to the image.

Departures from the paper:
- Darknet orders its 1470 outputs as all classes, all confidences, all boxes of the image; here the outputs of each cell are together.
- The weights of convolutions are He normal. Darknet draws from U(-s, s), s = sqrt(2 / inputs), a third of that variance, which is too
  small to train from scratch. Biases are 0; in darknet the biases of fully connected layers start at s.
- The 3x3 convolutions of stride 1 have padding "same", which equals darknet's padding of 1.
- `batch_norm: true` adds batch normalisation after each convolution, which then has no biases, as in the re-release; the paper's
  networks have none.
- "small_convolutional" has small's convolutions and no fully connected layer: each cell's outputs are a 1x1 convolution of its own
  features, as in the authors' next system (Redmon & Farhadi 2017, YOLO9000, section 2, "we remove the fully connected layers"), here
  without its anchor boxes. Objects of all places teach the same weights, so that a few hundred images with many objects are enough.
- "small" is not published; it is for training on a CPU: the paper's plan (7x7 stem of stride 2, 1x1 reductions, two fully connected
  layers) in nine convolutions of few channels, stride 16.
"""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled
from cnnkeras.convolution import Window, output_sizes

keras = lazy_loader.load("keras")

TASKS = ("detection", "classification")  # classification is the pre-training
LOCAL_KERNEL = 3  # side of the locally connected layer's windows, yolov1.cfg


@dataclass(frozen=True)
class Step:
    """One layer of a trunk: the convolution of this number, or, with 0 filters, the 2x2 max pooling after it."""

    number: int
    kernel: int
    stride: int
    filters: int

    @property
    def window(self) -> Window:
        """The layer's window along an axis; darknet pads convolutions by half the kernel."""
        if not self.filters:
            return Window(f"pool{self.number}", self.kernel, self.stride)
        return Window(f"conv{self.number}", self.kernel, self.stride, self.kernel // 2)


@dataclass(frozen=True)
class Network:
    """The layers and default options of a variant.

    Attributes:
        trunk: The layers of figure 3: KERNELxKERNEL-FILTERS, with "/2" for stride 2; "pool" is 2x2 max pooling of stride 2.
        pretrained_convolutions: Number of convolutions that are pre-trained as a classifier.
        fully_connected: Units and activation of the hidden layers after the trunk.
        local: Filters of the 3x3 locally connected layer after the trunk; 0: no such layer.
        convolutional: The outputs are a 1x1 convolution of the trunk's last map, in place of a fully connected layer.
        batch_norm, boxes_per_cell, dropout: Defaults of the arguments of `build`.
    """

    trunk: str
    pretrained_convolutions: int
    fully_connected: tuple[tuple[int, str], ...] = ()
    local: int = 0
    convolutional: bool = False
    batch_norm: bool = False
    boxes_per_cell: int = 2
    dropout: float = 0.5

    def steps(self, convolutions: int | None = None) -> list[Step]:
        """The layers of the trunk, up to the given number of convolutions; None: all."""
        steps, number = [], 0
        for cell in self.trunk.split():
            if cell == "pool":
                steps.append(Step(number, 2, 2, 0))
                continue
            if number == convolutions:
                break
            number += 1
            size, filters = cell.removesuffix("/2").split("-")
            steps.append(Step(number, int(size.split("x")[0]), 2 if cell.endswith("/2") else 1, int(filters)))
        # A pooling after the last convolution of a part of the trunk belongs to the next part.
        return steps[:-1] if not steps[-1].filters else steps

    def with_hidden_units(self, units: int) -> "Network":
        """The same network with another number of units in its last hidden fully connected layer.

        Raises:
            ValueError: It has no such layer.
        """
        if not self.fully_connected:
            names = ", ".join(name for name, network in VARIANTS.items() if network.fully_connected)
            raise ValueError(
                f"expected hidden_units for a variant with a hidden fully connected layer ({names}); received: {units} "
                "for one without"
            )
        *first, (_, activation) = self.fully_connected
        return replace(self, fully_connected=(*first, (units, activation)))

    @property
    def stride(self) -> int:
        """Side of a cell of the grid, in pixels of the input."""
        return math.prod(step.stride for step in self.steps())


_FULL = (
    "7x7-64/2 pool 3x3-192 pool 1x1-128 3x3-256 1x1-256 3x3-512 pool"
    + " 1x1-256 3x3-512" * 4
    + " 1x1-512 3x3-1024 pool"
    + " 1x1-512 3x3-1024" * 2
    + " 3x3-1024 3x3-1024/2 3x3-1024 3x3-1024"
)
_FAST = "3x3-16 pool 3x3-32 pool 3x3-64 pool 3x3-128 pool 3x3-256 pool 3x3-512 pool 3x3-1024"  # as in cfg/darknet.cfg
_SMALL = "7x7-24/2 pool 3x3-48 pool 1x1-24 3x3-64 1x1-32 3x3-96 pool 1x1-48 3x3-128 3x3-128"
VARIANTS = {
    "full": Network(_FULL, pretrained_convolutions=20, fully_connected=((4096, "leaky"),)),
    "fast": Network(
        f"{_FAST} 3x3-1024 3x3-1024", pretrained_convolutions=7, fully_connected=((256, "linear"), (4096, "leaky"))
    ),
    "rerelease": Network(_FULL, pretrained_convolutions=20, local=256, batch_norm=True, boxes_per_cell=3),
    "rerelease_fast": Network(f"{_FAST} 3x3-256", pretrained_convolutions=7, batch_norm=True, dropout=0.0),
    "small": Network(_SMALL, pretrained_convolutions=9, fully_connected=((512, "leaky"),)),
    "small_convolutional": Network(_SMALL, pretrained_convolutions=9, convolutional=True, dropout=0.0),
}
PARAMETERS = {
    "full": 271_703_550,
    "fast": 45_089_374,
    "rerelease": 197_301_875,
    "rerelease_fast": 27_095_374,
    "small": 3_981_036,
    "small_convolutional": 269_100,
}
PAPER_SHAPES = {
    "full": ((448, 448, 3), (7, 7, 30)),
    "fast": ((448, 448, 3), (7, 7, 30)),
    "rerelease": ((448, 448, 3), (7, 7, 35)),
    "rerelease_fast": ((448, 448, 3), (7, 7, 30)),
    "small": ((112, 112, 3), (7, 7, 20)),
    "small_convolutional": ((224, 224, 3), (14, 14, 20)),
}
TINY = {"input_shape": (32, 32, 3), "output_shape": (2, 2, 13), "variant": "small", "width": 1 / 4}
_VOC_2007 = "VOC2007 test, trained on 07+12 trainval"
_RULE = "confidence threshold near 0, per-class NMS; the paper does not say whether the mean is 11-point or area"
_TABLE_1 = "Redmon et al. (2016), table 1"
PUBLISHED = (
    Published("YOLO", "map_voc07", 0.634, _VOC_2007, _RULE, _TABLE_1),
    Published("Fast YOLO", "map_voc07", 0.527, _VOC_2007, _RULE, _TABLE_1),
    Published(
        "YOLO",
        "map_voc10",
        0.579,
        "VOC2012 test, 07 test added to training",
        "test server",
        "Redmon et al. (2016), table 3",
    ),
)


def output_shape(
    *,
    task: str,
    classes: int,
    input_shape: tuple[int, ...],
    variant: str = "full",
    boxes_per_cell: int | None = None,
    hidden_units: int | None = None,
    **_options,
) -> tuple[int, ...]:
    """Shape of the output for one image: (S, S, classes + 5 boxes_per_cell) for detection, (classes,) for the pre-training.

    Raises:
        ValueError: The task is another, the input is not an image (height, width, channels), its size does not fit the grid or the
            layers, or there are `hidden_units` for a variant without a hidden layer.
    """
    check_task("yolo", TASKS, task)
    if hidden_units is not None:
        VARIANTS[variant].with_hidden_units(hidden_units)
    is_detector = task == TASKS[0]
    _check_size(input_shape, variant, is_detector=is_detector)
    if not is_detector:
        return (classes,)
    network = VARIANTS[variant]
    cells = input_shape[0] // network.stride
    return (cells, cells, classes + 5 * (boxes_per_cell or network.boxes_per_cell))


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["full", "fast", "rerelease", "rerelease_fast", "small", "small_convolutional"] = "full",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    boxes_per_cell: Annotated[int, annotated_types.Ge(1)] | None = None,
    hidden_units: Annotated[int, annotated_types.Ge(1)] | None = None,
    dropout: Annotated[float, annotated_types.Ge(0), annotated_types.Lt(1)] | None = None,
    batch_norm: bool | None = None,
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: images (batch, side, side, channels) in the data's units to float32 outputs.

    With an output_shape (S, S, C + 5 B) it is the detector. With (classes,) it is the classifier of the pre-training (section 2.2): the
    detector's first convolutions, with the same names, average pooling, and one fully connected layer to logits.

    Args:
        input_shape: (side, side, channels), side a multiple of the variant's stride (64; the small ones 16); (448, 448, 3) in the paper,
            (224, 224, 3) for the classifier, which takes any height and width from the stride of its layers on.
        output_shape: The result of `output_shape`.
        variant: "full" and "fast" (the paper's), "rerelease" and "rerelease_fast" (the authors' later ones), "small", or
            "small_convolutional" (ours).
        width: Factor on the channels of the hidden layers, rounded, at least 1.
        boxes_per_cell: B, the number of boxes that each cell predicts; by default the variant's: 2, "rerelease" 3.
        hidden_units: Units of the last hidden fully connected layer, before `width`; by default the variant's: 4096, "small" 512. With
            fewer, Adam's steps of equal size in each of the many weights before the layer disturb it less.
        dropout: Fraction of the last hidden layer's outputs dropped in training; by default the variant's: 0.5, "rerelease_fast" and
            "small_convolutional" 0.
        batch_norm: Batch normalisation after each convolution; by default the variant's: true for the re-release.
        input_mean: Subtracted from the images; one number or one a channel. Darknet in 2015: 127.5.
        input_std: The images are divided by it. Darknet in 2015: 127.5.

    Raises:
        ValueError: As `output_shape`, or `output_shape` does not fit the size of the images and the number of boxes.
    """
    network = VARIANTS[variant]
    overrides = {"boxes_per_cell": boxes_per_cell, "dropout": dropout, "batch_norm": batch_norm}
    network = replace(network, **{name: value for name, value in overrides.items() if value is not None})
    if hidden_units is not None:
        network = network.with_hidden_units(hidden_units)
    is_detector = len(output_shape) == 3
    _check_size(input_shape, variant, is_detector=is_detector)
    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    for step in network.steps(None if is_detector else network.pretrained_convolutions):
        x = _convolution(x, step, width, network.batch_norm) if step.filters else _pool(x, step)
    if is_detector:
        _check_grid(output_shape, input_shape, network)
        outputs = _head(x, network, output_shape, width)
    else:
        x = keras.layers.GlobalAveragePooling2D(name="avgpool")(x)
        outputs = keras.layers.Dense(*output_shape, dtype="float32", name="classes")(x)
    return keras.Model(inputs, outputs, name="yolo")


def _convolution(x, step: Step, width: float, batch_norm: bool):
    """Convolution, optional batch normalisation, leaky ReLU: (batch, H, W, C) to (batch, H / stride, W / stride, C')."""
    number, is_strided = step.number, step.stride > 1
    if is_strided:
        # Keras' "same" would pad one row fewer before the map than darknet.
        x = keras.layers.ZeroPadding2D(step.kernel // 2, name=f"pad{number}")(x)
    x = keras.layers.Conv2D(
        scaled(step.filters, width),
        step.kernel,
        strides=step.stride,
        padding="valid" if is_strided else "same",
        use_bias=not batch_norm,
        kernel_initializer="he_normal",
        name=f"conv{number}",
    )(x)
    if batch_norm:
        # Both constants are darknet's: momentum in batchnorm_layer.c, epsilon in blas_kernels.cu.
        x = keras.layers.BatchNormalization(momentum=0.99, epsilon=1e-5, name=f"bn{number}")(x)
    return keras.layers.LeakyReLU(negative_slope=0.1, name=f"leaky{number}")(x)


def _pool(x, step: Step):
    return keras.layers.MaxPooling2D(step.kernel, step.stride, name=f"pool{step.number}")(x)


def _head(x, network: Network, output_shape: tuple[int, ...], width: float):
    """The layers after the trunk: (batch, S, S, channels) to (batch, S, S, C + 5 B)."""
    number = network.steps()[-1].number
    if network.convolutional:
        x = keras.layers.Dropout(network.dropout, name=f"drop{number}")(x)
        return keras.layers.Conv2D(output_shape[-1], 1, dtype="float32", name="grid")(x)
    if network.local:
        number += 1
        inputs = LOCAL_KERNEL**2 * x.shape[-1]
        x = layers.LocallyConnected2D(
            scaled(network.local, width),
            LOCAL_KERNEL,
            kernel_initializer=keras.initializers.RandomNormal(stddev=math.sqrt(2 / inputs)),
            name=f"local{number}",
        )(x)
        x = keras.layers.LeakyReLU(negative_slope=0.1, name=f"leaky{number}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for units, activation in network.fully_connected:
        number += 1
        x = keras.layers.Dense(scaled(units, width), kernel_initializer="he_normal", name=f"fc{number}")(x)
        if activation == "leaky":
            x = keras.layers.LeakyReLU(negative_slope=0.1, name=f"leaky{number}")(x)
    x = keras.layers.Dropout(network.dropout, name=f"drop{number}")(x)
    rows, columns, numbers = output_shape
    x = keras.layers.Dense(rows * columns * numbers, dtype="float32", name=f"fc{number + 1}")(x)
    return keras.layers.Reshape(output_shape, dtype="float32", name="grid")(x)


def _check_size(input_shape: tuple[int, ...], variant: str, *, is_detector: bool) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"expected images (height, width, channels) for yolo; received: {tuple(input_shape)}")
    (height, width), stride = input_shape[:2], VARIANTS[variant].stride
    if not is_detector:
        network = VARIANTS[variant]
        output_sizes((height, width), [step.window for step in network.steps(network.pretrained_convolutions)])
    elif height != width or height % stride or height < stride:
        lower, upper = max(height // stride, 1) * stride, (height // stride + 1) * stride
        near = " or ".join(f"{side}x{side}" for side in sorted({lower, upper}))
        raise ValueError(
            f"expected square images whose side is a multiple of {stride}, the stride of yolo {variant!r}; "
            f"received: {height}x{width}. The nearest sizes that work: {near}"
        )


def _check_grid(shape: tuple[int, ...], input_shape: tuple[int, ...], network: Network) -> None:
    cells, numbers = input_shape[0] // network.stride, 5 * network.boxes_per_cell
    if tuple(shape[:2]) != (cells, cells) or shape[2] <= numbers:
        raise ValueError(
            f"expected an output_shape ({cells}, {cells}, classes + {numbers}) for {input_shape[0]}-pixel images "
            f"and {network.boxes_per_cell} boxes a cell; received: {tuple(shape)}. `output_shape` computes it"
        )
