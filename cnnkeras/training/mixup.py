"""Mixup: training on mixtures of two examples (Zhang et al. 2018)."""

import numpy as np


def mixup(
    inputs: np.ndarray, targets: np.ndarray, *, alpha: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mix each example of a batch with another one: s x + (1 - s) x', s y + (1 - s) y' (section 2, equation 1).

    s is drawn from Beta(alpha, alpha) once for the batch, and the partners are a permutation of the batch, as in the authors' code
    (facebookresearch/mixup-cifar10, train.py); an example may be its own partner. Inputs are mixed before the first layer normalises
    them, which is the same as after, since that is linear.

    Args:
        inputs: (batch, ...), of any type.
        targets: float32 (batch, ...), probabilities.
        alpha: Above 0. Below 1 most mixtures are nearly one of the two examples, above 1 nearly halves.
        generator: Draws s and the partners.

    Returns:
        Inputs and targets, float32, in the shapes that were given.
    """
    share, partners = np.float32(generator.beta(alpha, alpha)), generator.permutation(len(inputs))
    inputs = inputs.astype(np.float32, copy=False)
    return share * inputs + (1 - share) * inputs[partners], share * targets + (1 - share) * targets[partners]
