"""The first layer of every network: inputs in the units of the data to zero mean and unit standard deviation."""

from collections.abc import Sequence

import keras
import numpy as np


def build_standardize(mean: float | Sequence[float], std: float | Sequence[float]) -> keras.layers.Layer:
    """Layer `standardize`: (inputs - mean) / std, always in float32, also in a network of another precision.

    Args:
        mean: One number, or one a channel, in the units of the inputs (0..255 for images).
        std: One number, or one a channel, in the same units, above 0; 1.0 keeps the scale.

    Raises:
        ValueError: `std` is not above 0.
    """
    deviations = np.asarray(std, "float64")
    if not (deviations > 0).all():
        raise ValueError(f"expected an input_std above 0; received: {std}. Use 1.0 to keep the scale")
    scale, offset = 1.0 / deviations, -np.asarray(mean, "float64") / deviations
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name="standardize")
