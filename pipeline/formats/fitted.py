"""Packed images of a split, read at the size that they are needed at, and as a model's inputs by the fit of an experiment."""

from collections.abc import Sequence

import numpy as np

from cnnkeras.jpeg import reduction
from cnnkeras.protocols.fits import Fit
from pipeline.formats.packed import Images, Split

Size = tuple[int, int]  # height and width


class PackedImages:
    """The images of a split, all of one size or each of its own.

    Args:
        split: The split.

    Attributes:
        column: Its column of images.
    """

    def __init__(self, split: Split):
        self.column = split["inputs"]
        self._sizes = None
        if "input_sizes" in split:
            self._sizes = split["input_sizes"]

    def __len__(self) -> int:
        return len(self.column)

    def size(self, row: int) -> Size:
        """Height and width of an image in pixels."""
        height, width = self.column.shape[1:3] if self._sizes is None else self._sizes[row]
        return int(height), int(width)

    def read(self, row: int, least: Size | None = None) -> np.ndarray:
        """An image, uint8 (H, W, 3), that may be written to; not whole, if it is a JPEG file and no more than `least` is needed.

        Args:
            row: Its row.
            least: Height and width that are enough; None: the whole image.
        """
        if not isinstance(self.column, Images):
            return np.array(self.column[row])
        return self.column.read(row, reduction=reduction(self.size(row), least))


class FittedImages:
    """Packed images that read like the array of a model's inputs, uint8 (N, height, width, 3).

    Args:
        split: The split.
        fit: How an image becomes an input.
        size: Height and width of an input.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, split: Split, fit: Fit, size: Size):
        self._images, self._fit, self._size = PackedImages(split), fit, size
        self.shape = (len(self._images), *size, 3)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """One input (height, width, 3), or several (n, height, width, 3)."""
        if isinstance(rows, int | np.integer):
            return self._fitted(rows)
        chosen = range(len(self))[rows] if isinstance(rows, slice) else rows
        return (
            np.stack([self._fitted(row) for row in chosen]) if len(chosen) else np.empty((0, *self.shape[1:]), np.uint8)
        )

    def _fitted(self, row: int) -> np.ndarray:
        shape = self._images.size(row)
        least = self._fit.scaled(shape, self._size)
        return self._fit.image(self._images.read(row, least), self._size, shape)


def inputs(split: Split, fit: Fit | None, size: Sequence[int]) -> "np.ndarray | Images | FittedImages":
    """A model's inputs of a split: the packed ones, or those that a fit makes of the packed images at `size` (height, width)."""
    return split["inputs"] if fit is None else FittedImages(split, fit, tuple(size))


def frames(split: Split, fit: Fit | None, size: Sequence[int]) -> np.ndarray | None:
    """Where each packed image lies in its input: float64 (N, 4) as `Fit.frame`; None if each fills its input."""
    if fit is None:
        return None
    images = PackedImages(split)
    return np.array([fit.frame(images.size(row), tuple(size)) for row in range(len(images))]).reshape(-1, 4)
