"""Mean and standard deviation of the training inputs, gathered while they are packed."""

from typing import Any

import numpy as np


class Moments:
    """Count, sum and sum of squares of each channel's values; exact for images, whose values are whole numbers."""

    def __init__(self, inputs: np.ndarray | None = None):
        values = np.empty((0, 1), np.uint8) if inputs is None else inputs.reshape(-1, inputs.shape[-1])
        self._count = len(values)
        if values.dtype == np.uint8:  # by the histograms: five times as fast as sums down the columns
            counts = np.stack([np.bincount(channel, minlength=256) for channel in values.T])
            self._total, self._squares = counts @ np.arange(256), counts @ np.arange(256) ** 2
        else:
            values = values.astype(np.float64)
            self._total, self._squares = values.sum(axis=0), np.square(values).sum(axis=0)

    def __iadd__(self, other: "Moments") -> "Moments":
        self._count += other._count
        self._total = self._total + other._total
        self._squares = self._squares + other._squares
        return self

    def saved(self) -> dict[str, Any]:
        """These moments as JSON can hold them, exactly."""
        return {"count": self._count, "total": self._total.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> "Moments":
        """Moments from what `saved` returned."""
        moments = cls()
        moments._count, moments._total = saved["count"], np.array(saved["total"])
        moments._squares = np.array(saved["squares"])
        return moments

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, to 6 decimals; 1 for a constant channel, to be divided by."""
        mean = self._total / self._count
        std = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0))
        return _rounded(mean), _rounded(np.where(std > 0, std, 1.0))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)
