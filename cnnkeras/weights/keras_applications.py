"""`keras.applications`' VGG16 and VGG19: HDF5 with a group a layer, in which an attribute names its weights.

The published files are vgg16_weights_tf_dim_ordering_tf_kernels.h5 and vgg19_...: the authors' weights, for BGR less a mean
(keras.applications.vgg16.preprocess_input), already in Keras' layouts. Read are files of that form, which Keras 2 wrote by
`save_weights`, and whole networks that Keras 2 and 3 write by `save("name.h5")`, whose weights are under `model_weights`.
Keras 3's `.weights.h5` knows no names of layers.
"""

import re
from typing import TYPE_CHECKING, BinaryIO

import h5py
import numpy as np

from cnnkeras.weights import Statistics, Values, describe, find_statistics, first_kernel, size_of, start_of

if TYPE_CHECKING:
    import keras

_MEAN = Statistics((123.68, 116.779, 103.939), 1.0)  # keras.applications.imagenet_utils, mode "caffe"
STATISTICS = {("vgg", "D"): _MEAN, ("vgg", "E"): _MEAN}
FULLY_CONNECTED = {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def statistics(architecture: str, variant: str) -> Statistics:
    """Of the inputs of Keras' VGG16 (configuration D) and VGG19 (E).

    Raises:
        ValueError: Not one of them.
    """
    return find_statistics(STATISTICS, architecture, variant, "keras_applications")


def their_name(layer: str) -> str:
    """Keras' name of a layer of `vgg`: block1_conv1 of conv1_1, fc1 of fc6."""
    return FULLY_CONNECTED.get(layer) or re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", layer)


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:  # noqa: ARG001 - every format's signature
    """The weights of a network of ours from Keras' file of it.

    Args:
        file: Opened for reading bytes, seekable.
        network: Says which layers to expect.
        classes: Not needed: the shapes say it.

    Raises:
        ValueError: No such file, or of another network.
    """
    _check_container(file)
    try:
        with h5py.File(file, "r") as content:
            layers = _layers(content.get("model_weights", content))
    except (OSError, KeyError) as error:
        raise ValueError(f"expected an HDF5 file of a network; received: {' '.join(str(error).split())}") from None
    weighted = [layer for layer in network.layers if layer.weights]
    expected = {their_name(layer.name) for layer in weighted}
    if layers.keys() != expected:
        missing, extra = sorted(expected - layers.keys()), sorted(layers.keys() - expected)
        difference = f"none for {', '.join(missing)}" if missing else f"more, for {', '.join(extra)}"
        raise ValueError(
            f"expected the weights of {', '.join(sorted(expected))}; received: {difference}. Is the file of another variant, or one "
            "without the fully connected layers (notop)?"
        )
    values = {layer.name: _converted(layer, layers[their_name(layer.name)]) for layer in weighted}
    first = values[first_kernel(network)]
    first["kernel"] = first["kernel"][:, :, ::-1]  # BGR to RGB
    return values


def _check_container(file: BinaryIO) -> None:
    """HDF5 itself takes no notice of what comes after its end."""
    size = size_of(file)
    head = file.read(48)
    if not head.startswith(_SIGNATURE) or len(head) < 48:
        raise ValueError(f"expected an HDF5 file; received: {start_of(file)}")
    # Where the file ends, from its superblock, with offsets of 8 bytes (HDF5 file format specification, II.A).
    place = 40 if head[8] < 2 else 28
    end = int.from_bytes(head[place : place + 8], "little")
    if end != size:
        raise ValueError(f"expected an HDF5 file of {end:,} bytes, as it says; received: {size:,}. Fetch it again")
    file.seek(0)


def _layers(group: h5py.Group) -> dict[str, list[np.ndarray]]:
    """The weights of every layer that has some, in the order of the layer's own list."""
    if "layer_names" not in group.attrs:
        raise ValueError(
            "expected weights under the names of their layers; received: an HDF5 file without them, such as Keras 3's .weights.h5. "
            'Write the network with `save("name.h5")`'
        )
    layers = {}
    for layer in group.attrs["layer_names"]:
        part = group[_text(layer)]
        weights = [np.asarray(part[_text(name)], "float32") for name in part.attrs["weight_names"]]
        if weights:
            layers[_text(layer)] = weights
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _converted(layer: "keras.Layer", theirs: list[np.ndarray]) -> dict[str, np.ndarray]:
    expected = [tuple(weight.shape) for weight in layer.weights]
    received = [array.shape for array in theirs]
    if expected != received:
        raise ValueError(
            f"layer {layer.name}: expected weights of {' and '.join(map(describe, expected))}; "
            f"received: {' and '.join(map(describe, received))}. Is the file of other classes or another input size?"
        )
    return dict(zip((weight.name for weight in layer.weights), theirs, strict=True))
