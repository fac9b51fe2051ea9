"""Darknet's `.weights`: a header, then the float32 numbers of all layers, one layer after another.

Read as in src/parser.c (pjreddie/darknet@f6afaab, load_weights_upto and the functions it calls; little-endian):

- Header of 2015 (commit 6103ecc4): float32 learning rate, momentum, decay; int32 images seen. 16 bytes, and the weights of
  connected layers are (inputs, outputs).
- Later headers: int32 major, minor, revision; images seen as int32 before version 0.2 and as 64 bits from version 0.2 on. The weights of
  connected layers are (outputs, inputs). Read as a version, the floats of a header of 2015 give a major or minor above 1000.
- `[convolutional]`: biases, with batch normalisation scales, means, variances, then the kernel (filters, channels, rows, columns).
- `[local]`: biases (filters, rows, columns), kernels (rows * columns, filters, channels, window's rows, window's columns).
- `[connected]`: biases, kernel. The map before it is flattened channel by channel.
- `[detection]` reads its inputs in the order all classes of all cells, all confidences, all boxes (src/detection_layer.c).

A file does not name its network, so its size must be exactly that of the expected network.
"""

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnnkeras.weights import (
    Statistics,
    Values,
    convolution_to_channels_last,
    find_statistics,
    flattened_maps,
    flattened_to_channels_last,
    kind_of,
    size_of,
    start_of,
)

if TYPE_CHECKING:
    import keras

# The [crop] layer of the cfg files of 2015 maps 0..1 to -1..1 (src/crop_layer.c); later files have no such layer and train on 0..1.
_MINUS_ONE_TO_ONE = Statistics((127.5, 127.5, 127.5), 127.5)
_ZERO_TO_ONE = Statistics((0.0, 0.0, 0.0), 255.0)
STATISTICS = {
    ("yolo", "full"): _MINUS_ONE_TO_ONE,
    ("yolo", "fast"): _MINUS_ONE_TO_ONE,
    ("yolo", "rerelease"): _ZERO_TO_ONE,
    ("yolo", "rerelease_fast"): _ZERO_TO_ONE,
}
_MAX_VERSION = 1000  # greater numbers are the floats of a header of 2015


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        size: Size in bytes.
        inputs_first: Whether kernels of connected layers are (inputs, outputs) in the file, not (outputs, inputs).
    """

    size: int
    inputs_first: bool


@dataclass(frozen=True)
class Section:
    """The numbers of one layer in the file.

    Attributes:
        layer: Name of the Keras layer.
        norm: Name of the batch normalisation after it, or None.
        kind: Darknet's kind of layer: "convolutional", "local" or "connected".
        parts: Names and shapes of the arrays, in the file's order.
    """

    layer: str
    norm: str | None
    kind: str
    parts: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def floats(self) -> int:
        """Number of float32 numbers in the section."""
        return sum(math.prod(shape) for _, shape in self.parts)


def statistics(architecture: str, variant: str) -> Statistics:
    """The statistics of the inputs of darknet's published networks.

    Raises:
        ValueError: Darknet published no such network.
    """
    return find_statistics(STATISTICS, architecture, variant, "darknet")


def sections(network: "keras.Model") -> list[Section]:
    """The sections of a file with a network's weights, in darknet's order, from the shapes of the layers; no weight is read.

    Raises:
        ValueError: A layer with weights has no counterpart in darknet.
    """
    layout: list[Section] = []
    for layer in (layer for layer in network.layers if layer.weights):
        kind = kind_of(layer)
        if kind == "Conv2D":
            rows, columns, channels, filters = layer.kernel.shape
            parts = (("bias", (filters,)), ("kernel", (filters, channels, rows, columns)))
            layout.append(Section(layer.name, None, "convolutional", parts))
        elif kind == "BatchNormalization":
            previous = layout.pop()
            bias, kernel = previous.parts
            norm = tuple((name, bias[1]) for name in ("gamma", "moving_mean", "moving_variance"))
            layout.append(Section(previous.layer, layer.name, previous.kind, (bias, *norm, kernel)))
        elif kind == "LocallyConnected2D":
            rows, columns, _, filters = layer.kernel.shape
            window = (layer.input.shape[-1], layer.kernel_size, layer.kernel_size)
            parts = (("bias", (filters, rows, columns)), ("kernel", (rows * columns, filters, *window)))
            layout.append(Section(layer.name, None, "local", parts))
        elif kind == "Dense":
            inputs, outputs = layer.kernel.shape
            parts = (("bias", (outputs,)), ("kernel", (outputs, inputs)))
            layout.append(Section(layer.name, None, "connected", parts))
        else:
            raise ValueError(f"expected layers that darknet has; received: {layer.name}, a {kind}")
    return layout


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:
    """Read the weights of a network from a file of darknet.

    Args:
        file: Binary and seekable.
        network: The expected network.
        classes: Number of a detector's classes, needed to reorder its outputs.

    Raises:
        ValueError: The file is not one of darknet, or it holds another network.
    """
    header, layout, maps = read_header(file), sections(network), flattened_maps(network)
    _check_size(file, header, layout, network, classes)
    values: Values = {}
    for section in layout:
        arrays = {name: _take(file, shape) for name, shape in section.parts}
        if section.kind == "convolutional":
            arrays["kernel"] = convolution_to_channels_last(arrays["kernel"])
        elif section.kind == "local":
            arrays = local_to_channels_last(**arrays)
        else:
            arrays["kernel"] = _connected(arrays["kernel"], header, maps.get(section.layer))
        if section.norm is None:
            values[section.layer] = arrays
        else:
            values[section.layer] = {"kernel": arrays.pop("kernel")}
            values[section.norm] = {"beta": arrays.pop("bias"), **arrays}
    if len(network.output_shape) == 4:  # a detector's grid: (batch, S, S, numbers)
        order = detection_order(network.output_shape[1:], classes)
        last = values[layout[-1].layer]
        values[layout[-1].layer] = {name: array[..., order] for name, array in last.items()}
    return values


def read_header(file: BinaryIO) -> Header:
    """Read a file's header; afterwards the file is at its first weight.

    Raises:
        ValueError: The header is not one of darknet.
    """
    file.seek(0)
    head = file.read(16)
    if len(head) == 16:
        major, minor, revision, images_seen = struct.unpack("<4i", head)
        if major > _MAX_VERSION or minor > _MAX_VERSION:
            rates = struct.unpack("<3f", head[:12])
            if all(0 <= rate <= 1 for rate in rates) and images_seen >= 0:
                return Header(16, inputs_first=True)
        elif min(major, minor, revision) >= 0 and revision <= _MAX_VERSION:
            size = 20 if major * 10 + minor >= 2 else 16
            file.seek(size)
            return Header(size, inputs_first=False)
    raise ValueError(
        "expected darknet's header (a version such as 0.1.0, or in 2015 learning rate, momentum and decay); "
        f"received: {start_of(file)}"
    )


def detection_order(shape: tuple[int, ...], classes: int) -> np.ndarray:
    """The index in darknet's outputs of each of our outputs.

    Args:
        shape: (S, S, C + 5 B) of our outputs, in each cell [C classes | B confidences | B times 4 coordinates].
        classes: C.

    Returns:
        int64 (S * S * (C + 5 B),): darknet's outputs, indexed with it, are ours, flattened.
    """
    cells, boxes = shape[0] * shape[1], (shape[2] - classes) // 5
    parts = np.split(np.arange(math.prod(shape)), [cells * classes, cells * (classes + boxes)])
    return np.concatenate([part.reshape(cells, -1) for part in parts], axis=1).reshape(-1)


def _check_size(file: BinaryIO, header: Header, layout: list[Section], network: "keras.Model", classes: int) -> None:
    floats = sum(section.floats for section in layout)
    expected, received = header.size + 4 * floats, size_of(file)
    file.seek(header.size)
    if received == expected:
        return
    difference = received - expected
    fix = "Is it of another network or variant, or was the download cut short?"
    last = layout[-1]
    if len(network.output_shape) == 4:
        # Each further class is a further output in every cell, with its weights and its bias.
        further, remainder = divmod(difference, 4 * math.prod(network.output_shape[1:3]) * (last.parts[1][1][1] + 1))
        if not remainder and classes + further > 0:
            fix = f"It would fit {classes + further} classes instead of {classes}"
    raise ValueError(
        f"expected {expected:,} bytes, a header of {header.size} and {floats:,} numbers; received: {received:,} bytes, "
        f"{abs(difference):,} too {'many' if difference > 0 else 'few'}. {fix}"
    )


def _take(file: BinaryIO, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(file.read(4 * math.prod(shape)), "<f4").reshape(shape)


def local_to_channels_last(bias: np.ndarray, kernel: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of darknet's local layer to the weights of `LocallyConnected2D`.

    The values of a window are in the order channel, row, column in darknet (src/im2col.c), and row, column, channel in our layer.

    Args:
        bias: (filters, rows, columns) of the map.
        kernel: (rows * columns, filters, channels, K, K).

    Returns:
        `kernel` (rows, columns, K * K * channels, filters), `bias` (rows, columns, filters).
    """
    filters, rows, columns = bias.shape
    windows = kernel.transpose(0, 3, 4, 2, 1)
    return {"kernel": windows.reshape(rows, columns, -1, filters), "bias": bias.transpose(1, 2, 0)}


def _connected(kernel: np.ndarray, header: Header, shape: tuple[int, ...] | None) -> np.ndarray:
    """Kernel of darknet's connected layer, read as (outputs, inputs), to Keras' (inputs, outputs)."""
    if header.inputs_first:
        outputs, inputs = kernel.shape
        kernel = kernel.reshape(inputs, outputs).T
    return kernel.T if shape is None else flattened_to_channels_last(kernel, shape)
