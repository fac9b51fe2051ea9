"""Weights published in the formats of other projects: one file, one format, and the file's name is the format's name in params.yaml.

A format's file defines

- `statistics(architecture, variant)`: the `Statistics` of the inputs in the training of the format's published models;
- `read(file, network, *, classes)`: reads an opened binary file to `Values`, the network's weights in Keras' layouts.

Images are RGB here: in weights trained on BGR (Caffe's) the input channels of the first layer are put into the order RGB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnnkeras.by_name import Files

if TYPE_CHECKING:
    import keras

Values = dict[str, dict[str, np.ndarray]]  # by layer and weight: values["conv1"]["kernel"]


@dataclass(frozen=True)
class Statistics:
    """The mean subtracted from the inputs, one number a channel in the order RGB, and the number that divides them; in units of 0..255."""

    mean: tuple[float, float, float]
    std: float


DEFINES = ("statistics", "read")

_files = Files(__name__, "a format")
names, load = _files.names, _files.load


def find_statistics(
    table: Mapping[tuple[str, str], Statistics], architecture: str, variant: str, format: str
) -> Statistics:
    """The row of a format's table for an architecture and variant.

    Raises:
        ValueError: The table has no such row; the message names the rows that it has.
    """
    if (architecture, variant) not in table:
        known = ", ".join(f"{name} {row!r}" for name, row in table)
        raise ValueError(f"expected a network that {format} files hold ({known}); received: {architecture} {variant!r}")
    return table[architecture, variant]


def kind_of(layer: "keras.Layer") -> str:
    """Name of the layer's class; of a subclass of `Conv2D`, such as the grouped convolution, `Conv2D`."""
    import keras

    return "Conv2D" if isinstance(layer, keras.layers.Conv2D) else type(layer).__name__


def convolution_to_channels_last(kernel: np.ndarray) -> np.ndarray:
    """Kernel of Caffe or darknet, (outputs, inputs, height, width), to Keras' (height, width, inputs, outputs).

    Caffe's kernel of a deconvolution is (inputs, outputs, height, width), and becomes Keras' (height, width, outputs, inputs)
    by the same exchange of axes: in both, each input adds the kernel times its value to the outputs around it.
    """
    return kernel.transpose(2, 3, 1, 0)


def flattened_to_channels_last(kernel: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Kernel (outputs, inputs) for a map flattened channel by channel, to (inputs, outputs) for a map flattened by Keras.

    Args:
        kernel: (outputs, channels * height * width).
        shape: (height, width, channels) of the map.

    Returns:
        (height * width * channels, outputs).
    """
    height, width, channels = shape
    return kernel.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(height * width * channels, -1)


def flattened_maps(network: "keras.Model") -> dict[str, tuple[int, ...]]:
    """Shape (height, width, channels) of each flattened map, by the name of the fully connected layer that reads it."""
    shape, shapes = None, {}
    for layer in network.layers:
        if kind_of(layer) == "Flatten":
            shape = tuple(layer.input.shape[1:])
        elif kind_of(layer) == "Dense" and shape is not None:
            shapes[layer.name], shape = shape, None
    return shapes


def first_kernel(network: "keras.Model") -> str:
    """Name of the first layer with weights, whose kernel reads the channels of the image."""
    return next(layer.name for layer in network.layers if layer.weights)


def start_of(file: BinaryIO) -> str:
    """The first bytes of a file in words, for a message; text and web pages, downloaded instead of the file, are named as such."""
    file.seek(0)
    head = file.read(48)
    if not head:
        return "an empty file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:16]):
        page = ", a web page in place of the file" if head.lstrip().startswith(b"<") else ""
        return f"text{page}: {head.decode('ascii', 'replace').splitlines()[0]!r}"
    return f"a file that begins with {head[:8].hex(' ')}"


def size_of(file: BinaryIO) -> int:
    """Size of a file in bytes; afterwards the file is at its start."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def describe(shape: Sequence[int]) -> str:
    """A shape for a message: `3 x 3 x 64`; `one number` for an empty shape."""
    return " x ".join(map(str, shape)) or "one number"


def assign(network: "keras.Model", values: Values) -> None:
    """Set all weights of a network.

    Args:
        network: Changed in place.
        values: The values of all weights of the network.

    Raises:
        ValueError: A layer or weight is missing or unknown, a shape differs, a value is not finite, or a variance is negative. The
            network is then unchanged.
    """
    layers = {layer.name: layer for layer in network.layers if layer.weights}
    for name in {**layers, **values}:
        expected = {weight.name: tuple(weight.shape) for weight in layers[name].weights} if name in layers else {}
        arrays = values.get(name, {})
        received = {key: array.shape for key, array in arrays.items()}
        if expected != received:
            raise ValueError(f"layer {name}: expected weights {expected}; received: {received or 'none'}")
        for key, array in arrays.items():
            if not np.isfinite(array).all() or (key == "moving_variance" and (array < 0).any()):
                raise ValueError(
                    f"layer {name}: expected finite numbers, and variances of at least 0; received: others in its {key}. "
                    "The file is damaged, or of another network of the same size"
                )
    for name, layer in layers.items():
        layer.set_weights([values[name][weight.name] for weight in layer.weights])
