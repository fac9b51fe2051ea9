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

from cnnkeras import hdf5
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
            whole = hdf5.find(content, "model_weights") if "model_weights" in content.keys() else content  # noqa: SIM118
            values = _converted(network, _layers(whole))
    except ValueError:
        raise
    except Exception as error:  # h5py raises anything on damaged files
        raise ValueError(f"expected an HDF5 file of a network; received: {' '.join(str(error).split())}") from None
    first = values[first_kernel(network)]
    first["kernel"] = first["kernel"][:, :, ::-1]  # BGR to RGB
    return values


def _converted(network: "keras.Model", layers: dict[str, list[h5py.Dataset]]) -> Values:
    """Our values of their layers; nothing is read before all fits."""
    weighted = [layer for layer in network.layers if layer.weights]
    expected = {their_name(layer.name) for layer in weighted}
    if layers.keys() != expected:
        missing, extra = sorted(expected - layers.keys()), sorted(layers.keys() - expected)
        difference = f"none for {', '.join(missing)}" if missing else f"more, for {', '.join(extra)}"
        raise ValueError(
            f"expected the weights of {', '.join(sorted(expected))}; received: {difference}. Is the file of another variant, or one "
            "without the fully connected layers (notop)?"
        )
    theirs = {layer.name: layers[their_name(layer.name)] for layer in weighted}
    for layer in weighted:
        _check_shapes(layer, theirs[layer.name])
    return {
        layer.name: {
            weight.name: np.asarray(array, "float32")
            for weight, array in zip(layer.weights, theirs[layer.name], strict=True)
        }
        for layer in weighted
    }


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


def _layers(group: h5py.Group) -> dict[str, list[h5py.Dataset]]:
    """The weights of every layer that has some, in the order of the layer's own list; they are not read yet."""
    if "layer_names" not in group.attrs:
        raise ValueError(
            "expected weights under the names of their layers; received: an HDF5 file without them, such as Keras 3's .weights.h5. "
            'Write the network with `save("name.h5")`'
        )
    layers = {}
    for layer in _names(group, "layer_names"):
        part = hdf5.find(group, layer)
        weights = [hdf5.find(part, name) for name in _names(part, "weight_names")]
        if not all(isinstance(weight, h5py.Dataset) for weight in weights):
            raise ValueError(f"layer {layer}: expected weights in the HDF5 file; received: a group in place of one")
        if weights:
            layers[layer] = weights
    return layers


def _names(group: h5py.Group | h5py.Dataset, key: str) -> list[str]:
    names = group.attrs[key]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _check_shapes(layer: "keras.Layer", theirs: list[h5py.Dataset]) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    received = [dataset.shape for dataset in theirs]
    if expected != received:
        raise ValueError(
            f"layer {layer.name}: expected weights of {' and '.join(map(describe, expected))}; "
            f"received: {' and '.join(map(describe, received))}. Is the file of other classes or another input size?"
        )
