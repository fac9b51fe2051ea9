"""VGG16 and VGG19 of `keras.applications`: HDF5 with a group for each layer, whose attribute names the layer's weights.

The published files are vgg16_weights_tf_dim_ordering_tf_kernels.h5 and vgg19_...: the authors' weights, for BGR less a mean
(keras.applications.vgg16.preprocess_input), already in Keras' layouts. Also read are other files of Keras 2's `save_weights`, and
whole models saved with `save("name.h5")` by Keras 2 or 3, whose weights are in the group `model_weights`. Keras 3's `.weights.h5`
cannot be read: it has no names of layers.
"""

import re
from collections.abc import Callable
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
    """The statistics of the inputs of Keras' VGG16 (configuration D) and VGG19 (E).

    Raises:
        ValueError: The network is neither of them.
    """
    return find_statistics(STATISTICS, architecture, variant, "keras_applications")


def their_name(layer: str) -> str:
    """Name in keras.applications of a layer of `vgg`: block1_conv1 for conv1_1, fc1 for fc6."""
    return FULLY_CONNECTED.get(layer) or re.sub(r"conv(\d)_(\d)", r"block\1_conv\2", layer)


def read(file: BinaryIO, network: "keras.Model", *, classes: int) -> Values:  # noqa: ARG001 - every format's signature
    """Read the weights of a network from an HDF5 file of Keras.

    Args:
        file: Binary and seekable.
        network: The expected network.
        classes: Not used.

    Raises:
        ValueError: The file is not such a file, or it holds another network.
    """
    values = read_named(file, network, their_name)
    first = values[first_kernel(network)]
    first["kernel"] = first["kernel"][:, :, ::-1]  # BGR to RGB
    return values


def read_named(file: BinaryIO, network: "keras.Model", their_name: Callable[[str], str]) -> Values:
    """Read the weights of a network whose layers have other names in the file; nothing is turned round.

    Args:
        file: Binary and seekable.
        network: The expected network.
        their_name: Gives the name in the file for a layer's.

    Raises:
        ValueError: As `read`.
    """
    _check_container(file)
    hdf5.require_harmless(file, __name__)
    try:
        with h5py.File(file, "r") as content:
            return _converted(network, _layers(content), their_name)
    except ValueError:
        raise
    except Exception as error:  # h5py raises anything on damaged files
        raise ValueError(f"expected an HDF5 file of a network; received: {' '.join(str(error).split())}") from None


def read_all(file: BinaryIO) -> None:
    """Read all that `read` may read, and keep nothing of it."""
    with h5py.File(file, "r") as content:
        for weights in _layers(content).values():
            for weight in weights:
                np.asarray(weight, "float32")


def _converted(
    network: "keras.Model", layers: dict[str, list[h5py.Dataset]], their_name: Callable[[str], str]
) -> Values:
    """The values of a network's weights; no weight is read before all names and shapes are checked."""
    weighted = [layer for layer in network.layers if layer.weights]
    expected = {their_name(layer.name) for layer in weighted}
    if layers.keys() != expected:
        missing, extra = sorted(expected - layers.keys()), sorted(layers.keys() - expected)
        difference = f"none for {', '.join(missing)}" if missing else f"more, for {', '.join(extra)}"
        raise ValueError(
            f"expected the weights of {', '.join(sorted(expected))}; received: {difference}. Is the file of another variant, or one "
            "without the fully connected layers (notop)?"
        )
    datasets = {layer.name: layers[their_name(layer.name)] for layer in weighted}
    for layer in weighted:
        _check_shapes(layer, datasets[layer.name])
    return {
        layer.name: {
            weight.name: np.asarray(dataset, "float32")
            for weight, dataset in zip(layer.weights, datasets[layer.name], strict=True)
        }
        for layer in weighted
    }


def _check_container(file: BinaryIO) -> None:
    """Raise an error unless the file is HDF5 of the size in its superblock: HDF5 ignores bytes after the end."""
    size = size_of(file)
    head = file.read(48)
    if not head.startswith(_SIGNATURE) or len(head) < 48:
        raise ValueError(f"expected an HDF5 file; received: {start_of(file)}")
    # The end-of-file address in the superblock, with offsets of 8 bytes (HDF5 file format specification, II.A).
    start = 40 if head[8] < 2 else 28
    end = int.from_bytes(head[start : start + 8], "little")
    if end != size:
        raise ValueError(f"expected an HDF5 file of {end:,} bytes, as it says; received: {size:,}. Fetch it again")
    file.seek(0)


def _layers(content: h5py.File) -> dict[str, list[h5py.Dataset]]:
    """The weights of every layer with weights, in the order of the attribute `weight_names`; the weights are not read yet."""
    group = hdf5.find(content, "model_weights") if "model_weights" in content.keys() else content  # noqa: SIM118
    if "layer_names" not in group.attrs:
        raise ValueError(
            "expected weights under the names of their layers; received: an HDF5 file without them, such as Keras 3's .weights.h5. "
            'Write the network with `save("name.h5")`'
        )
    layers = {}
    for layer in _names(group, "layer_names"):
        subgroup = hdf5.find(group, layer)
        weights = [hdf5.find(subgroup, name) for name in _names(subgroup, "weight_names")]
        if not all(isinstance(weight, h5py.Dataset) for weight in weights):
            raise ValueError(f"layer {layer}: expected weights in the HDF5 file; received: a group in place of one")
        if weights:
            layers[layer] = weights
    return layers


def _names(group: h5py.Group | h5py.Dataset, key: str) -> list[str]:
    names = group.attrs[key]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _check_shapes(layer: "keras.Layer", datasets: list[h5py.Dataset]) -> None:
    expected = [tuple(weight.shape) for weight in layer.weights]
    received = [dataset.shape for dataset in datasets]
    if expected != received:
        raise ValueError(
            f"layer {layer.name}: expected weights of {' and '.join(map(describe, expected))}; "
            f"received: {' and '.join(map(describe, received))}. Is the file of other classes or another input size?"
        )
