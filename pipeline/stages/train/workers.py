"""Batches prepared by worker processes while the current one is trained on; the README beside this file explains the design."""

import math
import mmap
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import numpy as np

from pipeline.runtime.workers import pool
from pipeline.stages.train.reader import Batch, Reader

CHUNK = 16  # images in a task of a worker; small, so that several workers share a batch


class ReadAhead:
    """Batches prepared by worker processes; made by the function `read_ahead`.

    Attributes:
        examples: Number of examples in the split.
        ahead: Number of batches to start in advance, enough to keep all workers busy.
        failure: Exception of a batch that could not be read, or None. Keras raises another one, which does not name the reason.
    """

    def __init__(self, examples: int, executor: ProcessPoolExecutor, slots: list[Batch]):
        self.examples, self.ahead = examples, len(slots) - 1
        self.failure: Exception | None = None
        self._executor, self._slots, self._free = executor, slots, list(range(len(slots)))

    def start(self, indices: np.ndarray, epoch: int) -> Callable[[], Batch]:
        """Start to read the rows `indices` of an epoch; returns a function that waits for their inputs and targets and returns them."""
        slot = self._free.pop()
        parts = [
            self._executor.submit(_fill, slot, start, indices[start : start + CHUNK], epoch)
            for start in range(0, len(indices), CHUNK)
        ]

        def wait() -> Batch:
            try:
                for part in parts:
                    part.result()
            except Exception as error:
                self.failure = error
                raise
            inputs, targets = (shared[: len(indices)].copy() for shared in self._slots[slot])
            self._free.append(slot)
            return inputs, targets

        return wait


@contextmanager
def read_ahead(read: Reader, *, batch_size: int, workers: int) -> Iterator[ReadAhead]:
    """Start worker processes that read batches while the block runs.

    Args:
        read: Reads the inputs and targets of rows.
        batch_size: Maximum number of rows in a batch.
        workers: Number of processes, at least 1; any number gives the same batches.

    Raises:
        Exception: The exception of `read`, if it made the block fail.
    """
    batch_size = min(batch_size, len(read.inputs))
    ahead = math.ceil(2 * workers * CHUNK / batch_size)
    parts = read(np.zeros(1, np.int64), 0)
    slots = [tuple(_shared((batch_size, *part.shape[1:]), part.dtype) for part in parts) for _ in range(ahead + 1)]
    with pool(workers, initializer=_begin, arguments=(read, slots)) as executor:
        prepared = ReadAhead(len(read.inputs), executor, slots)
        try:
            yield prepared
        except Exception as error:
            if prepared.failure is None:
                raise
            raise prepared.failure from error


def _shared(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in memory that this process shares with the processes forked from it."""
    memory = mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize))
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


_read: Reader
_slots: list[Batch]


def _begin(read: Reader, slots: list[Batch]) -> None:
    global _read, _slots
    _read, _slots = read, slots


def _fill(slot: int, start: int, indices: np.ndarray, epoch: int) -> None:
    for shared, values in zip(_slots[slot], _read(indices, epoch), strict=True):
        shared[start : start + len(indices)] = values
