"""Weights that others trained: one file, one format of theirs, and the file's name is its name in params.yaml.

A format's module has

- `statistics(architecture, variant)`: the `Statistics` of the inputs that its published networks were trained with;
- `read(file, network, *, classes)`: an opened binary file to `Values`, the network's weights in our layouts.

Images are RGB here: weights trained on BGR (Caffe's) come out with the first layer's input channels in the order RGB.
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
    """What a network's first layer subtracts and divides by, in units of 0..255 and in the order RGB."""

    mean: tuple[float, float, float]
    std: float


_files = Files(__name__, "a format")
names, load = _files.names, _files.load


def find_statistics(
    table: Mapping[tuple[str, str], Statistics], architecture: str, variant: str, format: str
) -> Statistics:
    """A format's row for a network.

    Raises:
        ValueError: The format has no weights of such a network; names those that it has.
    """
    if (architecture, variant) not in table:
        known = ", ".join(f"{name} {row!r}" for name, row in table)
        raise ValueError(f"expected a network that {format} files hold ({known}); received: {architecture} {variant!r}")
    return table[architecture, variant]


def kind_of(layer: "keras.Layer") -> str:
    """Name of the layer's class; the grouped convolution counts as what it is, a `Conv2D`."""
    import keras

    return "Conv2D" if isinstance(layer, keras.layers.Conv2D) else type(layer).__name__


def convolution_to_channels_last(kernel: np.ndarray) -> np.ndarray:
    """Kernel (outputs, inputs, height, width), as Caffe and darknet have it, to Keras' (height, width, inputs, outputs).

    Caffe's kernel of a deconvolution is (inputs, outputs, height, width), and becomes Keras' (height, width, outputs, inputs)
    by the same exchange of axes: in both, each input adds the kernel times its value to the outputs around it.
    """
    return kernel.transpose(2, 3, 1, 0)


def flattened_to_channels_last(kernel: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Kernel (outputs, inputs) after a map that was flattened channel by channel, to (inputs, outputs) after ours.

    Args:
        kernel: (outputs, channels * height * width).
        shape: (height, width, channels) of the map.

    Returns:
        (height * width * channels, outputs).
    """
    height, width, channels = shape
    return kernel.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(height * width * channels, -1)


def flattened_maps(network: "keras.Model") -> dict[str, tuple[int, ...]]:
    """Shape of the map before flattening, by the name of the fully connected layer that reads it."""
    shape, found = None, {}
    for layer in network.layers:
        if kind_of(layer) == "Flatten":
            shape = tuple(layer.input.shape[1:])
        elif kind_of(layer) == "Dense" and shape is not None:
            found[layer.name], shape = shape, None
    return found


def first_kernel(network: "keras.Model") -> str:
    """Name of the layer that sees the image's channels."""
    return next(layer.name for layer in network.layers if layer.weights)


def start_of(file: BinaryIO) -> str:
    """The first bytes of a file, as a message may show them; says so where they are text, as a web page in its stead is."""
    file.seek(0)
    head = file.read(48)
    if not head:
        return "an empty file"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:16]):
        page = ", a web page in place of the file" if head.lstrip().startswith(b"<") else ""
        return f"text{page}: {head.decode('ascii', 'replace').splitlines()[0]!r}"
    return f"a file that begins with {head[:8].hex(' ')}"


def size_of(file: BinaryIO) -> int:
    """Bytes of a file; leaves it at its start."""
    size = file.seek(0, 2)
    file.seek(0)
    return size


def describe(shape: Sequence[int]) -> str:
    """A shape in words."""
    return " x ".join(map(str, shape)) or "one number"


def assign(network: "keras.Model", values: Values) -> None:
    """Give a network all its weights.

    Args:
        network: Changed in place.
        values: Of every layer that has weights.

    Raises:
        ValueError: A layer or a weight is missing or too many, has another shape, is not finite, or is a negative variance. The
            network is then unchanged.
    """
    layers = {layer.name: layer for layer in network.layers if layer.weights}
    for name in {**layers, **values}:
        wanted = {weight.name: tuple(weight.shape) for weight in layers[name].weights} if name in layers else {}
        given = values.get(name, {})
        received = {key: value.shape for key, value in given.items()}
        if wanted != received:
            raise ValueError(f"layer {name}: expected weights {wanted}; received: {received or 'none'}")
        for key, value in given.items():
            if not np.isfinite(value).all() or (key == "moving_variance" and (value < 0).any()):
                raise ValueError(
                    f"layer {name}: expected finite numbers, and variances of at least 0; received: others in its {key}. "
                    "The file is damaged, or of another network of the same size"
                )
    for name, layer in layers.items():
        layer.set_weights([values[name][weight.name] for weight in layer.weights])
