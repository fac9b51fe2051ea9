"""Columns: one `.npy` file that grows by appending, or two where items differ in length.

A column of equal shapes is one array (N, ...). A ragged column is its values end to end and the N + 1 places where they start.
A large one is several files, shards, of about a gigabyte: a tool that copies or hashes files has something to do side by side, and a packing that goes on
after a kill reads only the last shard again.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_BLOCK_BYTES = 2**20
SHARD_BYTES = 2**30  # of a file of a column

Saved = tuple[list[tuple[int, str]], int]  # items and SHA-256 of each finished shard; items in the last one


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


def shard_file(path: Path, number: int) -> Path:
    """File of a shard of a column, counted from 0: `inputs.npy`, `inputs.1.npy`, `inputs.2.npy`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path


class ShardedColumnWriter:
    """Appends items to a column, which goes on in another file where one would have more than `SHARD_BYTES`.

    What is appended at once, an item of a ragged column, stays in one file.

    Args:
        path: The first file.
        dtype: Of the items.
        item_shape: Of one item.
        saved: What `saved` of an earlier writer gave: what it appended afterwards is cut off.

    Raises:
        OSError, EOFError: What was saved is not there.
    """

    def __init__(self, path: Path, dtype: np.dtype, item_shape: tuple[int, ...], *, saved: Saved | None = None):
        self._path, self._finished, kept = path, *(saved or ([], 0))
        self._finished = list(self._finished)
        self.dtype, self.item_shape = np.dtype(dtype), tuple(item_shape)
        item_bytes = self.dtype.itemsize * math.prod(self.item_shape)
        for number, (count, _) in enumerate(self._finished):
            if shard_file(path, number).stat().st_size < count * item_bytes:
                raise EOFError(f"{shard_file(path, number)}: expected {count:,} items; received: fewer")
        self._shard = ColumnWriter(shard_file(path, len(self._finished)), dtype, item_shape, kept=kept)
        self._bytes = kept * item_bytes

    @property
    def count(self) -> int:
        """Items so far."""
        return sum(count for count, _ in self._finished) + self._shard.count

    def append(self, items: np.ndarray) -> None:
        """Append (n, *item_shape) values."""
        size = items.size * self.dtype.itemsize
        if self._shard.count and self._bytes + size > SHARD_BYTES:
            self._shard.sync()
            self._finished.append((self._shard.count, self._shard.close()["sha256"]))
            self._shard = ColumnWriter(shard_file(self._path, len(self._finished)), self.dtype, self.item_shape)
            self._bytes = 0
        self._shard.append(items)
        self._bytes += size

    def saved(self) -> Saved:
        """Write everything appended so far to the disk; returns the shards that are finished, and the number of items in the last one."""
        self._shard.sync()
        return list(self._finished), self._shard.count

    def abandon(self) -> None:
        """Leave the files as they are."""
        self._shard.abandon()

    def close(self) -> dict[str, Any]:
        """Finish the files; returns the column's entry in the index."""
        entry = self._shard.close()
        if not self._finished:
            return entry
        shards = [*self._finished, (entry["shape"][0], entry["sha256"])]
        return {
            "dtype": entry["dtype"],
            "shape": [sum(count for count, _ in shards), *self.item_shape],
            "shards": [{"items": count, "sha256": sha256} for count, sha256 in shards],
        }


class Shards:
    """The files of a column that read like one array (N, ...).

    Args:
        arrays: Of each file, in their order.
    """

    def __init__(self, arrays: Sequence[np.ndarray]):
        self._arrays = arrays
        self._starts = np.cumsum([0, *map(len, arrays)])
        self.dtype, self.ndim = arrays[0].dtype, arrays[0].ndim
        self.shape = (int(self._starts[-1]), *arrays[0].shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        """One item, or several (n, ...); of a slice within one file without a copy."""
        if isinstance(rows, slice):
            return self._slice(range(len(self))[rows])
        if isinstance(rows, int | np.integer):
            row = range(len(self))[rows]
            shard = self._shard(row)
            return self._arrays[shard][row - self._starts[shard]]
        return np.stack([self[row] for row in rows]) if len(rows) else np.empty((0, *self.shape[1:]), self.dtype)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        """The whole column."""
        whole = np.concatenate(self._arrays)
        return whole if dtype is None else whole.astype(dtype, copy=bool(copy))

    def _shard(self, row: int) -> int:
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def _slice(self, rows: range) -> np.ndarray:
        if not rows:
            return np.empty((0, *self.shape[1:]), self.dtype)
        shard = self._shard(rows.start)
        start = self._starts[shard]
        if rows.step == 1 and rows.stop <= self._starts[shard + 1]:
            return self._arrays[shard][rows.start - start : rows.stop - start]
        return self[np.arange(rows.start, rows.stop, rows.step)]


class Ragged:
    """A ragged column: `column[i]` is the array (n_i, ...) of example i."""

    def __init__(self, values: np.ndarray, offsets: np.ndarray):
        self.values, self.offsets = values, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        index = range(len(self))[index]
        return self.values[self.offsets[index] : self.offsets[index + 1]]
