"""Down- and up-sampling as the lecture defines them, in NumPy, on one map (H, W).

Prince, Understanding Deep Learning, section 10.4 and figures 10.11 to 10.13; notebook 10.4. Maps have even sides; the transposed
convolution is `convolution.convolution_matrix`, transposed.
"""

from collections.abc import Callable

import numpy as np


def subsample(image: np.ndarray) -> np.ndarray:
    """Every second value of every second row."""
    return image[::2, ::2]


def max_pool(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest value of each 2x2 window, and its switch: its place in the window, 0 to 3 row by row, the first of equals."""
    windows = _windows(image)
    return windows.max(axis=-1), windows.argmax(axis=-1)


def mean_pool(image: np.ndarray) -> np.ndarray:
    """The mean of each 2x2 window."""
    return _windows(image).mean(axis=-1)


def duplicate(image: np.ndarray) -> np.ndarray:
    """Each value four times, as a 2x2 window."""
    return image.repeat(2, axis=0).repeat(2, axis=1)


def max_unpool(image: np.ndarray, switches: np.ndarray) -> np.ndarray:
    """Each value back where `max_pool` found it, 0 elsewhere."""
    return np.where(duplicate(switches) == _place(2 * image.shape[0], 2 * image.shape[1]), duplicate(image), 0)


def bilinear(image: np.ndarray, rounded: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The values at even places, between two of them their mean, between four the mean of the four; outside the map is 0.

    Libraries mostly place the values in the middle of their windows instead, and repeat the border.

    Args:
        image: (H, W).
        rounded: Applied to the result; the notebook takes np.ceil.
    """
    height, width = image.shape
    padded = np.pad(image.astype(np.float64), ((0, 1), (0, 1)))
    result = np.empty((2 * height, 2 * width))
    here, right, below, both = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    result[::2, ::2] = here
    result[::2, 1::2] = (here + right) / 2
    result[1::2, ::2] = (here + below) / 2
    result[1::2, 1::2] = (here + right + below + both) / 4
    return result if rounded is None else rounded(result)


def _windows(image: np.ndarray) -> np.ndarray:
    """(H, W) to (H / 2, W / 2, 4), the values of each window row by row."""
    height, width = image.shape
    if height % 2 or width % 2:
        raise ValueError(f"expected a map with even sides; received: {height}x{width}. Pad it")
    return image.reshape(height // 2, 2, width // 2, 2).swapaxes(1, 2).reshape(height // 2, width // 2, 4)


def _place(height: int, width: int) -> np.ndarray:
    """The place of each value in its window."""
    return 2 * (np.arange(height)[:, None] % 2) + np.arange(width)[None] % 2
