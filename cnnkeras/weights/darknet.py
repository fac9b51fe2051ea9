"""Darknet's `.weights`: a header, then nothing but the float32 numbers of one layer after the other.

Read as src/parser.c does (pjreddie/darknet@f6afaab, load_weights_upto and what it calls; little-endian):

- Header of 2015 (commit 6103ecc4): float32 learning rate, momentum, decay; int32 images seen. 16 bytes, and the weights of
  connected layers are (inputs, outputs).
- Header since: int32 major, minor, revision; images seen as int32 before version 0.2 and as 64 bits from it on. Connected
  layers are (outputs, inputs). The first kind is known by a major or minor above 1000, which floats look like.
- `[convolutional]`: biases, with batch normalisation scales, means, variances, then the kernel (filters, channels, rows, columns).
- `[local]`: biases (filters, rows, columns), kernels (rows * columns, filters, channels, window's rows, window's columns).
- `[connected]`: biases, kernel. Before it a map is flattened channel by channel.
- `[detection]` takes its numbers as all classes of all cells, all confidences, all boxes (src/detection_layer.c).

Nothing in a file says of which network it is, so that its size must be right to the byte.
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

# The [crop] layer of the cfg files of 2015 maps 0..1 to -1..1 (src/crop_layer.c); later ones have none, and train on 0..1.
_MINUS_ONE_TO_ONE = Statistics((127.5, 127.5, 127.5), 127.5)
_ZERO_TO_ONE = Statistics((0.0, 0.0, 0.0), 255.0)
STATISTICS = {
    ("yolo", "full"): _MINUS_ONE_TO_ONE,
    ("yolo", "fast"): _MINUS_ONE_TO_ONE,
    ("yolo", "rerelease"): _ZERO_TO_ONE,
    ("yolo", "rerelease_fast"): _ZERO_TO_ONE,
}
_LARGEST_VERSION = 1000  # larger numbers are the floats of a header of 2015


@dataclass(frozen=True)
class Header:
    """What comes before the weights.

    Attributes:
        size: Bytes.
        inputs_first: Kernels of connected layers are (inputs, outputs).
    """

    size: int
    inputs_first: bool


@dataclass(frozen=True)
class Section:
    """The numbers of one layer in the file.

    Attributes:
        layer: Our layer.
        norm: Our batch normalisation after it, or None.
        kind: Darknet's: "convolutional", "local" or "connected".
        parts: Names and shapes of the arrays, in the file's order.
    """

    layer: str
    norm: str | None
    kind: str
    parts: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def floats(self) -> int:
        """How many numbers it is."""
        return sum(math.prod(shape) for _, shape in self.parts)


def statistics(architecture: str, variant: str) -> Statistics:
    """Of the inputs of darknet's own networks.

    Raises:
        ValueError: Not one of them.
    """
    return find_statistics(STATISTICS, architecture, variant, "darknet")


def sections(network: "keras.Model") -> list[Section]:
    """How darknet would lay out a network's weights, from its layers alone; no weight is read.

    Raises:
        ValueError: A layer has weights but no counterpart in darknet.
    """
    found: list[Section] = []
    for layer in (layer for layer in network.layers if layer.weights):
        kind = kind_of(layer)
        if kind == "Conv2D":
            rows, columns, channels, filters = layer.kernel.shape
            parts = (("bias", (filters,)), ("kernel", (filters, channels, rows, columns)))
            found.append(Section(layer.name, None, "convolutional", parts))
        elif kind == "BatchNormalization":
            before = found.pop()
            bias, kernel = before.parts
            norm = tuple((name, bias[1]) for name in ("gamma", "moving_mean", "moving_variance"))
            found.append(Section(before.layer, layer.name, before.kind, (bias, *norm, kernel)))
        elif kind == "LocallyConnected2D":
            rows, columns, _, filters = layer.kernel.shape
            window = (layer.input.shape[-1], layer.kernel_size, layer.kernel_size)
            parts = (("bias", (filters, rows, columns)), ("kernel", (rows * columns, filters, *window)))
            found.append(Section(layer.name, None, "local", parts))
        elif kind == "Dense":
            inputs, outputs = layer.kernel.shape
            parts = (("bias", (outputs,)), ("kernel", (outputs, inputs)))
            found.append(Section(layer.name, None, "connected", parts))
        else:
            raise ValueError(f"expected layers that darknet has; received: {layer.name}, a {kind}")
    return found


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:
    """The weights of a network of ours from darknet's file of it.

    Args:
        file: Opened for reading bytes, seekable.
        network: Says which layers to expect.
        classes: Of a detector, whose outputs are put into our order.

    Raises:
        ValueError: No such file, or of another network.
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
    """Read a file's header; leaves the file after it.

    Raises:
        ValueError: It is none of darknet's.
    """
    file.seek(0)
    head = file.read(16)
    if len(head) == 16:
        major, minor, revision, seen = struct.unpack("<4i", head)
        if major > _LARGEST_VERSION or minor > _LARGEST_VERSION:
            rates = struct.unpack("<3f", head[:12])
            if all(0 <= rate <= 1 for rate in rates) and seen >= 0:
                return Header(16, inputs_first=True)
        elif min(major, minor, revision) >= 0 and revision <= _LARGEST_VERSION:
            wide = major * 10 + minor >= 2
            file.seek(20 if wide else 16)
            return Header(20 if wide else 16, inputs_first=False)
    raise ValueError(
        "expected darknet's header (a version such as 0.1.0, or in 2015 learning rate, momentum and decay); "
        f"received: {start_of(file)}"
    )


def detection_order(shape: tuple[int, ...], classes: int) -> np.ndarray:
    """Where each of our outputs is in darknet's.

    Args:
        shape: (S, S, C + 5 B) of our output, in each cell [C classes | B confidences | B times 4 coordinates].
        classes: C.

    Returns:
        Indices (S * S * (C + 5 B),): `theirs[order]` is ours, flattened.
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
        # A class more is an output more in every cell, with its bias.
        more, rest = divmod(difference, 4 * math.prod(network.output_shape[1:3]) * (last.parts[1][1][1] + 1))
        if not rest and classes + more > 0:
            fix = f"It would fit {classes + more} classes instead of {classes}"
    raise ValueError(
        f"expected {expected:,} bytes, a header of {header.size} and {floats:,} numbers; received: {received:,} bytes, "
        f"{abs(difference):,} too {'many' if difference > 0 else 'few'}. {fix}"
    )


def _take(file: BinaryIO, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(file.read(4 * math.prod(shape)), "<f4").reshape(shape)


def local_to_channels_last(bias: np.ndarray, kernel: np.ndarray) -> dict[str, np.ndarray]:
    """Weights of darknet's local layer to those of `LocallyConnected2D`.

    A window's values are in the order channel, row, column in darknet (src/im2col.c), and row, column, channel here.

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
    """Darknet's connected kernel, read as (outputs, inputs), to ours, (inputs, outputs)."""
    if header.inputs_first:
        outputs, inputs = kernel.shape
        kernel = kernel.reshape(inputs, outputs).T
    return kernel.T if shape is None else flattened_to_channels_last(kernel, shape)
