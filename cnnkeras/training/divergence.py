"""What is said of a training whose loss became infinite or NaN: when, and which layer was the first."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np


class DivergedError(ArithmeticError):
    """The loss became infinite or NaN."""


@dataclass(frozen=True)
class Layer:
    """The first layer of a model whose output was no number.

    Attributes:
        name: Its name.
        has_weights: Whether its weights were numbers; if not, the step before made them what they are.
    """

    name: str
    has_weights: bool

    def __str__(self) -> str:
        """As part of an error's sentence."""
        return self.name if self.has_weights else f"{self.name}, whose weights were none either after the step before"


def first_layer(model: keras.Model, inputs: np.ndarray, *, training: bool) -> Layer | None:
    """The first layer, in the model's order, that gives an infinite number or NaN for inputs (batch, ...); None if there is none.

    Args:
        model: A functional model.
        inputs: As the model takes them.
        training: Whether layers compute as they do in training: with the batch's statistics, and with dropout.
    """
    outputs = [layer.output for layer in model.layers]
    found = keras.Model(model.input, outputs)(inputs, training=training)
    for layer, values in zip(model.layers, found, strict=True):
        if not _are_finite(keras.tree.flatten(values)):
            return Layer(layer.name, _are_finite(layer.weights))
    return None


def _are_finite(tensors: Sequence) -> bool:
    return all(bool(keras.ops.all(keras.ops.isfinite(tensor))) for tensor in tensors)
