"""Posteriors: the class probabilities of a model's outputs, and their averages over views and models.

mean     p = Σ_m p_m / M: Krizhevsky et al. (2012), table 2; Simonyan & Zisserman (2014), section 4.4; Noh et al. (2015)
product  p ∝ (Π_m p_m)^(1/M): the geometric mean, as confident as one model
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

Combination = Literal["mean", "product"]


def softmax(outputs: np.ndarray) -> np.ndarray:
    """exp(z_c) / Σ_k exp(z_k) over the last axis, float (..., C), in the precision of the outputs."""
    exponentials = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def log_softmax(outputs: np.ndarray) -> np.ndarray:
    """Logarithms of the softmax over the last axis, float64 (..., C)."""
    shifted = outputs.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Class probabilities as stored in predictions: the softmax in float64, rounded to float32 (..., C)."""
    return softmax(np.asarray(logits, np.float64)).astype(np.float32)


def average_views(outputs: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The logarithms of the mean posterior: the mean over the views of each protocol, then over the protocols.

    So 150 crops weigh as much as one dense evaluation.

    Args:
        outputs: float (N, views, C), logits; the views of a protocol are neighbours.
        counts: Number of views of each protocol.

    Returns:
        float64 (N, C), logarithms of probabilities.

    Raises:
        ValueError: The number of views is not the sum of `counts`.
    """
    ends = np.cumsum(counts)
    if outputs.ndim != 3 or outputs.shape[1] != ends[-1]:
        raise ValueError(f"expected outputs (N, {ends[-1]}, C); received: {outputs.shape}")
    mean = np.zeros((len(outputs), outputs.shape[2]))
    # One image at a time: the posteriors of ImageNet would not fit into memory.
    for number, views in enumerate(outputs):
        parts = np.split(probabilities(views).astype(np.float64), ends[:-1])
        mean[number] = np.mean([part.mean(axis=0) for part in parts], axis=0)
    return _logarithms(mean)


def combine(outputs: Sequence[np.ndarray], models: Sequence[int], combination: Combination) -> np.ndarray:
    """Logarithms of the combined posteriors, which serve as the outputs (logits) of the ensemble.

    Args:
        outputs: For each member float (..., C), logits or scores, whose softmax is the member's posterior.
        models: Number of models in each member; every model has the same weight.
        combination: `mean` or `product` (see the top of this file).

    Returns:
        float64 (..., C).

    Raises:
        ValueError: The members' outputs have different shapes, for example score maps at the model's and at the image's size.
    """
    require_one_shape([member.shape for member in outputs])
    logs = [log_softmax(member) for member in outputs]
    weights = np.array(models, np.float64) / sum(models)
    if combination == "product":
        return log_softmax(sum(weight * log for weight, log in zip(weights, logs, strict=True)))
    return _logarithms(sum(weight * np.exp(log) for weight, log in zip(weights, logs, strict=True)))


def require_one_shape(shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise an error for outputs of different shapes, which cannot be combined.

    Raises:
        ValueError: The shapes differ.
    """
    distinct = list(dict.fromkeys(shapes))
    if len(distinct) > 1:
        raise ValueError(f"expected outputs of one shape; received: {' and '.join(map(str, distinct))}")


def _logarithms(posteriors: np.ndarray) -> np.ndarray:
    """Logarithms of posteriors; of a posterior of 0, the logarithm of the minimum positive float64."""
    return np.log(np.maximum(posteriors, np.finfo(np.float64).tiny))
