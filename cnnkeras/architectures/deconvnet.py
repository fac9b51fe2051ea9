"""DeconvNet: VGG and its mirror image, for semantic segmentation.

Noh, Hong & Han (2015), Learning Deconvolution Network for Semantic Segmentation, section 3, checked against the
authors' training/002_stage_2/stage_2_train.prototxt. 251,805,653 parameters with batch normalisation (scale and shift;
251,772,245 without). Each up-sampling is an unpooling with the switches of the corresponding pooling; the deconvolutions have
stride 1.

Departures from the paper:
- The variant "vgg11" is not published: the same plan around VGG's configuration A, for machines with little memory.
- Weights are He normal, except those of the score layer: N(0, 0.01^2) as in the paper, by default (`score_stddev`). The
  authors initialise the encoder with VGG-16 (here: `initial_weights`) and draw the other weights from N(0, 0.01^2), whose scale has
  no effect before batch normalisation.
- Batch normalisation: epsilon 1e-5 instead of the authors' 1e-9 (which would amplify a channel that is constant over a batch), initial
  shifts 0 instead of 0.001, and for prediction moving averages over about 50 batches, where the authors average the statistics
  in another pass over the data.
- Images of any multiple of 32 pixels: the kernels of fc6 and its deconvolution are as large as the last map (7x7 at the paper's 224).
"""

from typing import Annotated, Literal

import annotated_types
import lazy_loader

from cnnkeras import layers
from cnnkeras.architectures import Published, check_task, scaled

keras = lazy_loader.load("keras")

TASKS = ("segmentation",)
BOTTLENECK = (4096, 4096)  # fc6, fc7
# Filters of conv1_1 .. conv5_3, and of deconv5_1 .. deconv1_2. A block ends with the number of channels of the next unpooling's switches.
VARIANTS = {
    "vgg16": (
        ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512)),
        ((512, 512, 512), (512, 512, 256), (256, 256, 128), (128, 64), (64, 64)),
    ),
    "vgg11": (
        ((64,), (128,), (256, 256), (512, 512), (512, 512)),
        ((512, 512), (512, 256), (256, 128), (64,), (64,)),
    ),
}
PARAMETERS = {"vgg16": 251_805_653, "vgg11": 240_811_349}
STRIDE = 32
PAPER_SHAPES = dict.fromkeys(VARIANTS, ((224, 224, 3), (224, 224, 21)))
TINY = {"input_shape": (32, 32, 3), "output_shape": (32, 32, 4), "variant": "vgg16", "width": 1 / 16}
_VOC_2012 = "VOC2012 test, trained on trainval with the extra annotations"
_PROPOSALS = "50 object proposals an image, maximum over their scores"
_PAPER = "Noh, Hong & Han (2015), results on VOC2012 test"
PUBLISHED = (
    Published("DeconvNet", "mean_iou", 0.696, _VOC_2012, _PROPOSALS, _PAPER),
    Published("DeconvNet + CRF", "mean_iou", 0.705, _VOC_2012, f"{_PROPOSALS}; dense CRF", _PAPER),
    Published("EDeconvNet", "mean_iou", 0.717, _VOC_2012, f"{_PROPOSALS}; ensemble with FCN-8s", _PAPER),
    Published(
        "EDeconvNet + CRF", "mean_iou", 0.725, _VOC_2012, f"{_PROPOSALS}; ensemble with FCN-8s, dense CRF", _PAPER
    ),
)


def output_shape(*, task: str, classes: int, input_shape: tuple[int, ...], **_options) -> tuple[int, int, int]:
    """Shape (height, width, classes + 1) of the class scores of one image; class 0 is the background.

    Raises:
        ValueError: The task is not segmentation, the input is not an image (height, width, channels), or the poolings do not divide
            its sides.
    """
    check_task("deconvnet", TASKS, task)
    _check_size(input_shape)
    return (*input_shape[:2], classes + 1)


def build(
    *,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    variant: Literal["vgg16", "vgg11"] = "vgg16",
    width: Annotated[float, annotated_types.Gt(0), annotated_types.Le(1)] = 1.0,
    min_channels: Annotated[int, annotated_types.Ge(1)] = 1,
    batch_norm: bool = True,
    score_stddev: Annotated[float, annotated_types.Gt(0)] = 0.01,
    input_mean=0.0,
    input_std=1.0,
) -> "keras.Model":
    """The network: images (batch, height, width, channels) in the data's units to scores (batch, height, width, classes).

    The scores are float32, before softmax; class 0 is the background.

    Args:
        input_shape: (height, width, channels), with sides that are multiples of 32; (224, 224, 3) in the paper.
        output_shape: (height, width, classes + 1).
        variant: The mirrored network: "vgg16" as in the paper, or "vgg11", configuration A.
        width: Factor on the channels of the hidden layers, rounded.
        min_channels: Minimum number of channels of a hidden layer after `width`.
        batch_norm: Batch normalisation after each convolution and deconvolution, as in the paper.
        score_stddev: Standard deviation of the score layer's initial weights. With 0.01 and few channels the network first
            learns to separate objects from background, loses the bottleneck's information on the class, and does not regain it.
        input_mean: Subtracted from the images; one number or one a channel.
        input_std: The images are divided by it; 1.0 in the paper.

    Raises:
        ValueError: As `output_shape`.
    """
    _check_size(input_shape)
    encoder, decoder = VARIANTS[variant]

    def step(x, kind, label: str, filters: int, kernel):
        return _step(x, kind, label, scaled(filters, width, min_channels), kernel, batch_norm)

    inputs = keras.Input(input_shape, name="inputs")
    x = layers.build_standardize(input_mean, input_std)(inputs)
    switches = {}
    for number, block in enumerate(encoder, start=1):
        for index, filters in enumerate(block, start=1):
            x = step(x, keras.layers.Conv2D, f"{number}_{index}", filters, 3)
        x, switches[number] = layers.MaxPoolingWithSwitches(2, name=f"pool{number}")(x)
    last_map = tuple(x.shape[1:3])
    for name, units, kernel in zip(("fc6", "fc7"), BOTTLENECK, (last_map, 1), strict=True):
        x = step(x, keras.layers.Conv2D, name, units, kernel)
    x = step(x, keras.layers.Conv2DTranspose, "fc6-deconv", encoder[-1][-1], last_map)
    for number, block in zip(range(len(decoder), 0, -1), decoder, strict=True):
        x = layers.MaxUnpooling(2, name=f"unpool{number}")([x, switches[number]])
        for index, filters in enumerate(block, start=1):
            x = step(x, keras.layers.Conv2DTranspose, f"de{number}_{index}", filters, 3)
    outputs = keras.layers.Conv2D(
        output_shape[-1],
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=score_stddev),
        dtype="float32",
        name="seg-score",
    )(x)
    return keras.Model(inputs, outputs, name="deconvnet")


def _step(x, kind, label: str, filters: int, kernel, batch_norm: bool):
    """Convolution or deconvolution, batch normalisation, ReLU. Kernels of 3x3 keep the map's size; the bottleneck's cover the map."""
    names = _names(label)
    x = kind(
        filters,
        kernel,
        padding="same" if kernel == 3 else "valid",
        activation=None if batch_norm else "relu",
        kernel_initializer="he_normal",
        name=names["convolution"],
    )(x)
    if not batch_norm:
        return x
    x = keras.layers.BatchNormalization(momentum=0.98, epsilon=1e-5, name=names["normalization"])(x)
    return keras.layers.ReLU(name=names["relu"])(x)


def _names(label: str) -> dict[str, str]:
    """The names in the prototxt: conv1_1 bn1_1 relu1_1, fc6 bnfc6 relu6, fc6-deconv ..., deconv1_1 debn1_1 derelu1_1."""
    if label == "fc6-deconv":
        return {"convolution": label, "normalization": f"{label}-bn", "relu": f"{label}-relu"}
    if label.startswith("fc"):
        return {"convolution": label, "normalization": f"bn{label}", "relu": f"relu{label[2:]}"}
    prefix, label = ("de", label[2:]) if label.startswith("de") else ("", label)
    return {
        "convolution": f"{prefix}conv{label}",
        "normalization": f"{prefix}bn{label}",
        "relu": f"{prefix}relu{label}",
    }


def _check_size(input_shape: tuple[int, ...]) -> None:
    if len(input_shape) != 3:
        raise ValueError(f"expected images (height, width, channels) for deconvnet; received: {tuple(input_shape)}")
    height, width = input_shape[:2]
    if height % STRIDE or width % STRIDE or not height or not width:
        near = "x".join(str(max(round(side / STRIDE), 1) * STRIDE) for side in (height, width))
        raise ValueError(
            f"expected images whose sides are multiples of {STRIDE}, so that all poolings divide them, at least "
            f"{STRIDE}x{STRIDE}; received: {height}x{width}. The nearest size that works: {near}"
        )
