"""The first layer of every network: from the units of the data to zero mean and unit deviation."""

from collections.abc import Sequence

import keras
import numpy as np


def build_standardize(mean: float | Sequence[float], std: float | Sequence[float]) -> keras.layers.Layer:
    """Layer `standardize`: (inputs - mean) / std, in float32 whatever the precision of the rest.

    Args:
        mean: In the units of the inputs (0..255 for images); one number, or one a channel.
        std: In the same units, above 0; 1.0 leaves the scale as it is.

    Raises:
        ValueError: `std` is not above 0.
    """
    deviations = np.asarray(std, "float64")
    if not (deviations > 0).all():
        raise ValueError(f"expected an input_std above 0; received: {std}. Use 1.0 to leave the scale as it is")
    scale, offset = 1.0 / deviations, -np.asarray(mean, "float64") / deviations
    return keras.layers.Rescaling(scale.tolist(), offset.tolist(), dtype="float32", name="standardize")
