"""Down- and up-sampling as the lecture defines them, in NumPy, on one map (H, W).

Prince, Understanding Deep Learning, section 10.4 and figures 10.11 to 10.13; notebook 10.4. A map to be pooled has even sides. The
transposed convolution is the transpose of `convolution.convolution_matrix`.
"""

from collections.abc import Callable

import numpy as np


def subsample(image: np.ndarray) -> np.ndarray:
    """Every second value of every second row, from the first on: (H, W) to (ceil(H / 2), ceil(W / 2))."""
    return image[::2, ::2]


def max_pool(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The maximum of each 2x2 window, (H / 2, W / 2), and its switch, int64 of the same shape.

    A switch is the position of the maximum in its window, 0 to 3 row by row; of equal values the first.

    Raises:
        ValueError: A side is odd.
    """
    windows = _windows(image)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def mean_pool(image: np.ndarray) -> np.ndarray:
    """The mean of each 2x2 window, (H / 2, W / 2).

    Raises:
        ValueError: A side is odd.
    """
    return _windows(image).mean(axis=-1)


def duplicate(image: np.ndarray) -> np.ndarray:
    """Each value four times, as a 2x2 window: (H, W) to (2 H, 2 W)."""
    return image.repeat(2, axis=0).repeat(2, axis=1)


def max_unpool(image: np.ndarray, switches: np.ndarray) -> np.ndarray:
    """Each value at the position of its switch in its 2x2 window, 0 elsewhere: (H, W) to (2 H, 2 W)."""
    return np.where(duplicate(switches) == _positions(2 * image.shape[0], 2 * image.shape[1]), duplicate(image), 0)


def bilinear(image: np.ndarray, rounding: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """Bilinear interpolation: the values at even rows and columns, the mean of two between two, the mean of four between four.

    Beyond the right and lower edge the map counts as 0. Most libraries put the values at the centres of their windows instead, and
    repeat the border.

    Args:
        image: (H, W).
        rounding: Applied to the result, np.ceil in the notebook; None: not rounded.

    Returns:
        float64 (2 H, 2 W).
    """
    height, width = image.shape
    padded = np.pad(image.astype(np.float64), ((0, 1), (0, 1)))
    result = np.empty((2 * height, 2 * width))
    here, right, below, diagonal = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    result[::2, ::2] = here
    result[::2, 1::2] = (here + right) / 2
    result[1::2, ::2] = (here + below) / 2
    result[1::2, 1::2] = (here + right + below + diagonal) / 4
    return result if rounding is None else rounding(result)


def _windows(image: np.ndarray) -> np.ndarray:
    """The values of each 2x2 window, row by row: (H, W) to (H / 2, W / 2, 4)."""
    height, width = image.shape
    if height % 2 or width % 2:
        raise ValueError(f"expected a map with even sides; received: {height}x{width}. Pad it")
    return image.reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2).reshape(height // 2, width // 2, 4)


def _positions(height: int, width: int) -> np.ndarray:
    """The position of each value in its 2x2 window, 0 to 3 row by row: int64 (height, width)."""
    return 2 * (np.arange(height)[:, None] % 2) + np.arange(width)[None] % 2
