"""Slow definitions, written out, of what layers do; more than one test file compares with them."""

import numpy as np


def normalized(a: np.ndarray, n: int, k: float, alpha: float, beta: float) -> np.ndarray:
    """Krizhevsky, Sutskever & Hinton (2012), section 3.3, written out."""
    b = np.empty_like(a)
    channels = a.shape[-1]
    for position in np.ndindex(a.shape[:-1]):
        for i in range(channels):
            near = range(max(0, i - n // 2), min(channels - 1, i + n // 2) + 1)
            b[(*position, i)] = a[(*position, i)] / (k + alpha * sum(a[(*position, j)] ** 2 for j in near)) ** beta
    return b


def pooled_with_switches(maps: np.ndarray, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Window by window, in row-major order, a later value only if it is larger."""
    batch, height, width, channels = maps.shape
    maxima = np.empty((batch, height // p, width // p, channels), maps.dtype)
    switches = np.empty(maxima.shape, "uint8")
    for b, y, x, c in np.ndindex(maxima.shape):
        best, place = -np.inf, 0
        for number in range(p * p):
            value = maps[b, y * p + number // p, x * p + number % p, c]
            if value > best:
                best, place = value, number
        maxima[b, y, x, c], switches[b, y, x, c] = best, place
    return maxima, switches
