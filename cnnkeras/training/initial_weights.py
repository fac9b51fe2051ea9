"""Initial weights copied from the layers of another model."""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

import keras
import numpy as np


def copy_weights(source: keras.Model, target: keras.Model, layers: Sequence[str]) -> list[str]:
    """Copy weights from the layers of one model to another, as the papers initialise their networks.

    All weights of a layer are copied, moving statistics included, if both models have a layer of this name and the name matches a
    pattern; layers that only one model has are unchanged (for example batch normalisation, or a detector's last convolutions). A
    kernel may have another rank if its size and its number of outputs are the same: VGG's dense `fc6` (7 x 7 x 512, 4096) fits
    DeconvNet's convolution (7, 7, 512, 4096), both in the order height, width, channel.

    Args:
        source: The model to copy from.
        target: The model to copy to, changed in place.
        layers: Patterns of layer names, with * and ?.

    Returns:
        Names of the copied layers, in the target's order.

    Raises:
        ValueError: A pattern matches no layer with weights that both models have, or a layer's weights do not fit. The target is
            then unchanged.
    """
    source_layers = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [layer for layer in target.layers if layer.weights and layer.name in source_layers]
    for pattern in layers:
        if not any(fnmatchcase(layer.name, pattern) for layer in shared):
            raise ValueError(
                f"expected layers of both models under the pattern {pattern!r}; received: none. "
                f"Both have: {', '.join(layer.name for layer in shared) or 'no layer in common'}"
            )
    chosen = [layer for layer in shared if any(fnmatchcase(layer.name, pattern) for pattern in layers)]
    weights = {layer.name: _fitted_weights(source_layers[layer.name], layer) for layer in chosen}
    for layer in chosen:
        layer.set_weights(weights[layer.name])
    return list(weights)


def _fitted_weights(source: keras.Layer, target: keras.Layer) -> list[np.ndarray]:
    values = {weight.name: keras.ops.convert_to_numpy(weight) for weight in source.weights}
    expected = {weight.name: tuple(weight.shape) for weight in target.weights}
    shapes = {name: value.shape for name, value in values.items()}
    if shapes.keys() != expected.keys() or not all(_fits(shapes[name], expected[name]) for name in expected):
        raise ValueError(
            f"layer {target.name}: expected weights {_describe(expected)}; received: {_describe(shapes)}. "
            "Give both experiments the same width and options, or leave the layer out"
        )
    return [values[name].reshape(shape) for name, shape in expected.items()]


def _fits(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    # Between kernels of one rank an equal number of values is not enough: (1, 3) and (3, 1) differ.
    can_be_reshaped = len(source) != len(target) and source[-1] == target[-1] and math.prod(source) == math.prod(target)
    return source == target or can_be_reshaped


def _describe(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
