"""Expected calibration error: how far a classifier's probabilities are from how often it is right (Guo et al. 2017, equation 3).

    ECE = Σ_m |B_m| / n |acc(B_m) - conf(B_m)|

B_m are the examples whose highest probability lies in the m-th of M bins of equal width, ((m - 1) / M, m / M]; acc is the part of them that is
right, conf the mean of those probabilities. M -> `bins`.
"""

from typing import Annotated

import numpy as np
from annotated_types import Ge

TASKS = ("classification",)
METRICS = ("calibration_error",)


def measure(
    predictions: np.ndarray,
    truth: np.ndarray,
    *,
    classes: int,  # noqa: ARG001 - given to every metric
    bins: Annotated[int, Ge(1)] = 15,
) -> dict[str, float]:
    """The error, 0 to 1; NaN without examples.

    Args:
        predictions: float (n, C), probabilities.
        truth: int (n,), the true classes.
        classes: C.
        bins: Number of bins, 15 in the paper.
    """
    if not len(truth):
        return {"calibration_error": float("nan")}
    confidence, is_right = predictions.max(axis=1).astype(float), predictions.argmax(axis=1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(bin_of, weights=is_right - confidence, minlength=bins)
    return {"calibration_error": float(np.abs(gaps).sum() / len(truth))}
