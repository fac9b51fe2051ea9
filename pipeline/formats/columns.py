"""Columns: one `.npy` file that grows by appending, or two where items differ in length.

A column of equal shapes is one array (N, ...). A ragged column is its values end to end and the N + 1 places where they start.
"""

import hashlib
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK_BYTES = 2**20


class ColumnWriter:
    """Appends items to one `.npy` file; its length is written into the header when it is closed.

    Args:
        path: The file.
        dtype: Of the items.
        item_shape: Of one item.
        kept: How many items that an earlier writer left there are kept; what follows them is cut off.

    Raises:
        EOFError: There are fewer.
    """

    def __init__(self, path: Path, dtype: np.dtype, item_shape: tuple[int, ...], *, kept: int = 0):
        self.dtype, self.item_shape, self.count = np.dtype(dtype), tuple(item_shape), kept
        self._file = path.open("r+b" if kept else "w+b")
        self._digest = hashlib.sha256()
        self._write_header()  # as long for every count
        remaining = kept * self.dtype.itemsize * math.prod(self.item_shape)
        while remaining:
            block = self._file.read(min(remaining, _BLOCK_BYTES))
            if not block:
                self._file.close()
                raise EOFError(f"{path}: expected {kept:,} items; received: fewer")
            self._digest.update(block)
            remaining -= len(block)
        self._file.seek(self._file.tell())  # ends reading, so that writing may follow
        self._file.truncate()

    def append(self, items: np.ndarray) -> None:
        """Append (n, *item_shape) values."""
        if items.shape[1:] != self.item_shape:
            raise ValueError(f"expected items of shape {self.item_shape}; received: {items.shape[1:]}")
        data = np.ascontiguousarray(items, dtype=self.dtype)
        payload = data.view(np.uint8).reshape(-1) if data.size else np.empty(0, np.uint8)
        self._file.write(payload)
        self._digest.update(payload)
        self.count += len(data)

    def sync(self) -> None:
        """Write everything appended so far to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def abandon(self) -> None:
        """Leave the file as it is."""
        self._file.close()

    def close(self) -> dict[str, Any]:
        """Finish the file; returns its entry in the index."""
        self._file.seek(0)
        self._write_header()
        self._file.close()
        return {"dtype": self.dtype.str, "shape": [self.count, *self.item_shape], "sha256": self._digest.hexdigest()}

    def _write_header(self) -> None:
        # NumPy pads the header so that its first axis can grow in place.
        header = {
            "descr": np.lib.format.dtype_to_descr(self.dtype),
            "fortran_order": False,
            "shape": (self.count, *self.item_shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


class Ragged:
    """A ragged column: `column[i]` is the array (n_i, ...) of example i."""

    def __init__(self, values: np.ndarray, offsets: np.ndarray):
        self.values, self.offsets = values, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        return self.values[self.offsets[index] : self.offsets[index + 1]]
