"""Caffe's `.caffemodel`: a protocol buffer, read without Caffe.

What is read of src/caffe/proto/caffe.proto (BVLC/caffe; HyeonwooNoh/caffe@d9e8494 for `bn_param`), by number of the field:

    NetParameter        layers 2 (V1LayerParameter, until 2014), layer 100 (LayerParameter)
    V1LayerParameter    top 3, name 4, blobs 6, bn_param 45; in files of 2013 layer 1
    LayerParameter      name 1, top 4, blobs 7
    BlobProto           num 1, channels 2, height 3, width 4 (before BlobShape), data 5, shape 7, double_data 8
    BlobShape           dim 1
    BNParameter         bn_mode 3 (1: INFERENCE)

Kernels are (outputs, inputs / groups, height, width), of deconvolutions (inputs, outputs, height, width), of inner products
(outputs, inputs), after a map that is flattened channel by channel; the first layer sees BGR.

DeconvNet's batch normalisation has two blobs, scale and shift, 1 x C x 1 x 1 each. In the weights for inference they hold the statistics too, which the
authors' BN_make_INFERENCE_script.py folds in: ours then has mean 0 and deviation 1. Those of a training snapshot do not, and
have no statistics anywhere.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from cnnkeras.weights import (
    Statistics,
    Values,
    convolution_to_channels_last,
    describe,
    find_statistics,
    first_kernel,
    flattened_maps,
    flattened_to_channels_last,
    kind_of,
    size_of,
    start_of,
)

if TYPE_CHECKING:
    import keras

# Mean of the pixels of imagenet_mean.binaryproto and in DeconvNet's preprocess_image.m; Caffe itself subtracts that whole mean image.
_IMAGENET = Statistics((122.67891434, 116.66876762, 104.00698793), 1.0)
_VGG = Statistics((123.68, 116.779, 103.939), 1.0)  # in the authors' readme of both networks
STATISTICS = {
    ("alexnet", "caffe"): _IMAGENET,
    ("alexnet", "caffenet"): _IMAGENET,
    ("vgg", "D"): _VGG,
    ("vgg", "E"): _VGG,
    ("deconvnet", "vgg16"): _IMAGENET,
}
THEIR_NAMES = {"seg-score": "seg-score-voc"}  # model/DeconvNet/DeconvNet_inference_deploy.prototxt

_VARINT, _FIXED64, _DELIMITED, _FIXED32 = 0, 1, 2, 5  # wire types
# Fields of NetParameter, each with its wire types: whatever else stands at the top is not of a network.
_NET = {1: (2,), 2: (2,), 3: (2,), 4: (0, 2), 5: (0,), 6: (2,), 7: (0,), 8: (2,), 100: (2,)}
_LAYERS, _LAYER = 2, 100
_TOPS_WITH_STATISTICS = 3  # tops of a BN layer that gives its mean and variance: what the script above runs


@dataclass
class Layer:
    """A layer of a file.

    Attributes:
        name: As the prototxt has it.
        blobs: Its weights, in their shapes; old files fill them up with ones to four axes.
        tops: Number of its outputs.
        is_inference: Its batch normalisation is said to be for inference.
    """

    name: str = ""
    blobs: list[np.ndarray] = field(default_factory=list)
    tops: int = 0
    is_inference: bool = False


def statistics(architecture: str, variant: str) -> Statistics:
    """Of the inputs of the networks that were published for Caffe.

    Raises:
        ValueError: Not one of them.
    """
    return find_statistics(STATISTICS, architecture, variant, "caffe")


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:  # noqa: ARG001 - every format's signature
    """The weights of a network of ours from Caffe's file of it.

    Args:
        file: Opened for reading bytes, seekable.
        network: Says which layers to expect; its layers have the names of the prototxt, apart from `THEIR_NAMES`.
        classes: Not needed: the shapes say it.

    Raises:
        ValueError: No such file, of another network, or at this size Caffe would see other windows than ours.
    """
    check_windows(network)
    layers = read_layers(file)
    _check_names(network, layers)
    maps, values = flattened_maps(network), {}
    for layer in network.layers:
        if layer.weights:
            theirs = layers[THEIR_NAMES.get(layer.name, layer.name)]
            values[layer.name] = _converted(layer, theirs, maps.get(layer.name))
    first = values[first_kernel(network)]
    first["kernel"] = first["kernel"][:, :, ::-1]  # BGR to RGB
    return values


def check_windows(network: "keras.Model") -> None:
    """Refuse sizes at which Caffe's network is another one: its pooling rounds up, where Keras' rounds down.

    Raises:
        ValueError: At this size of input a window would hang over the edge.
    """
    padding = 0
    for layer in network.layers:
        kind = kind_of(layer)
        if kind == "ZeroPadding2D":
            padding = layer.padding[0][1]  # AlexNet's overhang, which Caffe does not have
        if kind == "MaxPooling2D" or (kind == "Conv2D" and layer.strides[0] > 1):
            window = layer.pool_size if kind == "MaxPooling2D" else layer.kernel_size
            overhang = 0 if kind == "MaxPooling2D" else padding
            sides = zip(layer.input.shape[1:3], window, layer.strides, strict=True)
            if any((side - overhang - taps) % stride for side, taps, stride in sides):
                raise ValueError(
                    f"expected an input size at which the windows of {layer.name} tile the map, so that Caffe's rounding and ours "
                    f"agree; received: {describe(network.input_shape[1:3])}. Caffe's own is 227 x 227 for alexnet, 224 x 224 otherwise"
                )


def read_layers(file: BinaryIO) -> dict[str, Layer]:
    """Every layer of a file, by name and in its order.

    Raises:
        ValueError: The file is no network of Caffe's, is cut short, or something comes after it.
    """
    size = size_of(file)
    layers: dict[str, Layer] = {}
    while file.tell() < size:
        start = file.tell()
        number, wire = _tag(file)
        if wire not in _NET.get(number, ()):
            what = start_of(file) if not start else f"something else from byte {start:,} of {size:,} on"
            raise ValueError(f"expected a .caffemodel, a NetParameter of protocol buffers; received: {what}")
        if wire == _VARINT:
            _varint(file)
            continue
        length = _varint(file)
        if length > size - file.tell():
            raise ValueError(
                f"expected {length:,} bytes from byte {file.tell():,} on; received: {size - file.tell():,}. "
                "The file is cut short: fetch it again"
            )
        content = memoryview(file.read(length))
        if number in (_LAYERS, _LAYER):
            layer = _layer(content, is_new=number == _LAYER)
            layers[layer.name] = layer
    if not any(layer.blobs for layer in layers.values()):
        raise ValueError(f"expected layers with weights; received: {len(layers)} without, in {size:,} bytes")
    return layers


def _layer(content: memoryview, *, is_new: bool) -> Layer:
    layer = Layer()
    name, top, blobs = (1, 4, 7) if is_new else (4, 3, 6)
    for number, wire, value in _fields(content):
        if number == 1 and not is_new:
            raise ValueError(
                "expected layers in the form of 2014 or later; received: those of 2013. "
                "Caffe's upgrade_net_proto_binary converts the file"
            )
        if wire != _DELIMITED:
            continue
        if number == name:
            layer.name = bytes(value).decode()
        elif number == top:
            layer.tops += 1
        elif number == blobs:
            layer.blobs.append(_blob(value, f"layer {layer.name}"))
        elif number == 45 and not is_new:
            layer.is_inference = any(part == 3 and mode == 1 for part, _, mode in _fields(value))
    return layer


def _blob(content: memoryview, where: str) -> np.ndarray:
    legacy, shape, floats = [0, 0, 0, 0], None, []
    for number, wire, value in _fields(content):
        if number in (1, 2, 3, 4) and wire == _VARINT:
            legacy[number - 1] = value
        elif number in (5, 8) and wire in (_DELIMITED, _FIXED32, _FIXED64):
            floats.append(np.frombuffer(value, "<f4" if number == 5 else "<f8"))
        elif number == 7 and wire == _DELIMITED:
            shape = [dim for part, kind, dims in _fields(value) if part == 1 for dim in _dims(dims, kind)]
    values = np.concatenate(floats).astype("float32") if floats else np.zeros(0, "float32")
    shape = legacy if shape is None else shape
    if math.prod(shape) != values.size:
        raise ValueError(f"{where}: expected a blob of {describe(shape)}; received: {values.size:,} numbers")
    return values.reshape(shape)


def _dims(value, wire: int) -> Iterator[int]:
    if wire == _VARINT:
        yield value
        return
    place = 0
    while place < len(value):
        dim, place = _varint_in(value, place)
        yield dim


def _fields(content: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Number, wire type and value of each field of a message: an integer, or the bytes of anything else."""
    place = 0
    while place < len(content):
        tag, place = _varint_in(content, place)
        wire = tag & 7
        if wire == _VARINT:
            value, place = _varint_in(content, place)
            yield tag >> 3, wire, value
            continue
        if wire == _DELIMITED:
            length, place = _varint_in(content, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"expected protocol buffers; received: wire type {wire}. The file is damaged")
        if length > len(content) - place:
            raise ValueError(
                f"expected {length:,} bytes in a field; received: {len(content) - place:,}. The file is damaged"
            )
        yield tag >> 3, wire, content[place : place + length]
        place += length


def _varint_in(content: memoryview, place: int) -> tuple[int, int]:
    """The integer at a place, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):  # 64 bits in at most ten bytes of seven
        if place >= len(content):
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("expected an integer of protocol buffers; received: none. The file is damaged or cut short")


def _varint(file: BinaryIO) -> int:
    place = file.tell()
    value, used = _varint_in(memoryview(file.read(10)), 0)
    file.seek(place + used)
    return value


def _tag(file: BinaryIO) -> tuple[int, int]:
    tag = _varint(file)
    return tag >> 3, tag & 7


def _check_names(network: "keras.Model", layers: dict[str, Layer]) -> None:
    """Both must have the same layers with weights, and those that both have, with weights or not, in the same order."""
    ours = [THEIR_NAMES.get(layer.name, layer.name) for layer in network.layers]
    weighted = [THEIR_NAMES.get(layer.name, layer.name) for layer in network.layers if layer.weights]
    theirs = [name for name, layer in layers.items() if layer.blobs]
    missing = [name for name in weighted if name not in theirs]
    extra = [name for name in theirs if name not in weighted]
    if missing or extra:
        raise ValueError(
            f"expected the weights of {network.name}'s layers {', '.join(weighted)}; received: "
            f"{'none for ' + ', '.join(missing) if missing else 'more, for ' + ', '.join(extra)}. Is the file of another network?"
        )
    shared = [name for name in layers if name in ours]
    expected = [name for name in ours if name in layers]
    if shared != expected:
        one, other = next(pair for pair in zip(expected, shared, strict=True) if pair[0] != pair[1])
        raise ValueError(
            f"expected {one} before {other}; received: a network with {other} before {one}. "
            "Is it of another variant? alexnet's `caffenet` pools before it normalises, `caffe` after"
        )
    for layer in network.layers:
        theirs = layers.get(layer.name)
        if kind_of(layer) == "BatchNormalization" and not (theirs.is_inference or theirs.tops >= _TOPS_WITH_STATISTICS):
            raise ValueError(
                f"layer {layer.name}: expected a scale and a shift that hold the statistics of a trained network; received: those "
                "of a training. The authors' BN_make_INFERENCE_script.py turns them into a file for inference"
            )


def _converted(layer: "keras.Layer", theirs: Layer, map_shape: tuple[int, ...] | None) -> dict[str, np.ndarray]:
    kind = kind_of(layer)
    if kind == "BatchNormalization":
        scale, shift = _fitted(layer, theirs, [tuple(layer.gamma.shape)] * 2)
        zeros = np.zeros_like(scale)
        # 1 under the root, with our epsilon.
        variance = np.full_like(scale, 1 - layer.epsilon)
        return {"gamma": scale, "beta": shift, "moving_mean": zeros, "moving_variance": variance}
    shape = tuple(layer.kernel.shape)
    # The inverse of what becomes of it: (height, width, inputs, outputs) to (outputs, inputs, height, width).
    expected = shape[::-1] if kind == "Dense" else (shape[3], shape[2], shape[0], shape[1])
    kernel, bias = _fitted(layer, theirs, [expected, tuple(layer.bias.shape)])
    if kind != "Dense":
        kernel = convolution_to_channels_last(kernel)
    else:
        kernel = kernel.T if map_shape is None else flattened_to_channels_last(kernel, map_shape)
    return {"kernel": kernel, "bias": bias}


def _fitted(layer: "keras.Layer", theirs: Layer, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    received = [blob.shape for blob in theirs.blobs]
    if len(received) != len(shapes) or not all(map(_same_values, shapes, received)):
        raise ValueError(
            f"layer {layer.name}: expected blobs of {' and '.join(map(describe, shapes))}; "
            f"received: {' and '.join(map(describe, received))}. Is the file of another network, or of other classes?"
        )
    return [blob.reshape(shape) for blob, shape in zip(theirs.blobs, shapes, strict=True)]


def _same_values(expected: tuple[int, ...], received: tuple[int, ...]) -> bool:
    """Whether one blob holds the values of the other in the same order.

    Axes of one are written or not, in front, behind or between: biases are C or 1 x 1 x 1 x C, DeconvNet's scales 1 x C x 1 x 1. A kernel
    may be flattened behind its outputs: an inner product on a map of 7 x 7 is a convolution of 7 x 7.
    """
    one, other = ([side for side in shape if side != 1] for shape in (expected, received))
    flat = 2  # outputs, and all else
    is_flattened = one[:1] == other[:1] and flat in (len(one), len(other)) and math.prod(one) == math.prod(other)
    return one == other or is_flattened
