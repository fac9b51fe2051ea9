"""Weights from the layers of another model."""

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase

import keras
import numpy as np


def copy_weights(source: keras.Model, target: keras.Model, layers: Sequence[str]) -> list[str]:
    """Start a model from the layers of another one, as the papers do.

    A layer is copied whole, moving statistics included, if both models have one of its name and the name matches a pattern;
    layers that only one model has stay as they are (batch normalisation, say, or a detector's last convolutions). A kernel
    may have another rank if its size and its outputs are the same: VGG's dense `fc6` (7 x 7 x 512, 4096) is DeconvNet's
    convolution (7, 7, 512, 4096), both in the order height, width, channel.

    Args:
        source: Where the weights come from.
        target: Where they go; changed in place.
        layers: Layer names with * and ?.

    Returns:
        Names of the copied layers, in the target's order.

    Raises:
        ValueError: A pattern matches no layer with weights that both have, or a layer's weights do not fit. The target is
            then unchanged.
    """
    donors = {layer.name: layer for layer in source.layers if layer.weights}
    shared = [layer for layer in target.layers if layer.weights and layer.name in donors]
    for pattern in layers:
        if not any(fnmatchcase(layer.name, pattern) for layer in shared):
            raise ValueError(
                f"expected layers of both models under the pattern {pattern!r}; received: none. "
                f"Both have: {', '.join(layer.name for layer in shared) or 'no layer in common'}"
            )
    chosen = [layer for layer in shared if any(fnmatchcase(layer.name, pattern) for pattern in layers)]
    weights = {layer.name: _fitted_weights(donors[layer.name], layer) for layer in chosen}
    for layer in chosen:
        layer.set_weights(weights[layer.name])
    return list(weights)


def _fitted_weights(source: keras.Layer, target: keras.Layer) -> list[np.ndarray]:
    values = {weight.name: keras.ops.convert_to_numpy(weight) for weight in source.weights}
    wanted = {weight.name: tuple(weight.shape) for weight in target.weights}
    shapes = {name: value.shape for name, value in values.items()}
    if shapes.keys() != wanted.keys() or not all(_fits(shapes[name], wanted[name]) for name in wanted):
        raise ValueError(
            f"layer {target.name}: expected weights {_describe(wanted)}; received: {_describe(shapes)}. "
            "Give both experiments the same width and options, or leave the layer out"
        )
    return [values[name].reshape(shape) for name, shape in wanted.items()]


def _fits(source: tuple[int, ...], target: tuple[int, ...]) -> bool:
    # Of the same rank, equal sizes are no proof: (1, 3) and (3, 1) kernels differ.
    reshaped = len(source) != len(target) and source[-1] == target[-1] and math.prod(source) == math.prod(target)
    return source == target or reshaped


def _describe(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name} {' x '.join(map(str, shape))}" for name, shape in shapes.items())
