"""The colours of a data set's images: their principal components, along which AlexNet varies the light (PCALighting)."""

from collections.abc import Iterable

import numpy as np

WHITE = 255.0
IMAGES = 10_000  # on which components are found, evenly spaced among the training images; fewer are taken whole


def evenly_spaced(count: int, max_positions: int) -> np.ndarray:
    """At most `max_positions` positions from 0 to `count` - 1, int64, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, max_positions)).astype(int))


def principal_components(images: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues and eigenvectors of the covariance of all pixels' RGB values, in 0..1 (Krizhevsky et al. 2012, section 4.1).

    Args:
        images: uint8 (H, W, 3), at least one.

    Returns:
        values: float64 (3,), variances along the components, ascending.
        vectors: float64 (3, 3); column i is the unit vector of component i, of either sign.
    """
    count, total, products = 0, np.zeros(3), np.zeros((3, 3))
    for image in images:
        pixels = image.reshape(-1, 3).astype(np.float64) / WHITE
        count += len(pixels)
        total += pixels.sum(axis=0)
        products += pixels.T @ pixels
    mean = total / count
    values, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    return np.maximum(values, 0), vectors  # a rounding error below 0 where channels are equal
