"""Batches prepared by processes or threads while the current one is trained on; the README beside this file explains the design."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from pipeline.runtime.workers import pool
from pipeline.stages.train.reader import Batch, Reader
from pipeline.stages.train.slots import Slots

CHUNK = 16  # images in a task of a process; small, so that several processes share a batch
THREADS = 2  # that copy; more of them wait for the memory
AHEAD = 2  # batches that threads prepare beyond the current one


class ReadAhead:
    """Batches prepared by processes or threads; made by the functions `read_with_processes` and `read_with_threads`.

    Attributes:
        examples: Number of examples in the split.
        ahead: Number of batches to start in advance, enough to keep all processes or threads busy.
        failure: Exception of a batch that could not be read, or None. Keras raises another one, which does not name the reason.
    """

    def __init__(self, examples: int, slots: Slots, submit: Callable[..., Future], *, ahead: int, chunk: int):
        self.examples, self.ahead = examples, ahead
        self.failure: Exception | None = None
        self._slots, self._submit, self._chunk = slots, submit, chunk
        self._finisher = ThreadPoolExecutor(1)

    def start(self, indices: np.ndarray, epoch: int, change: Callable[[Batch], Batch]) -> Callable[[], Batch]:
        """Start to read the rows `indices` of an epoch; returns a function that waits for their inputs and targets and returns them.

        `change` is applied to them, in a thread.
        """
        slot = self._slots.take()
        parts = [
            self._submit(slot, start, indices[start : start + self._chunk], epoch)
            for start in range(0, len(indices), self._chunk)
        ]

        def finish() -> Batch:
            for part in parts:
                part.result()
            return change(self._slots.lend(slot, len(indices)))

        finished = self._finisher.submit(finish)

        def wait() -> Batch:
            try:
                return finished.result()
            except Exception as error:
                self.failure = error
                raise

        return wait

    def close(self) -> None:
        """End the thread."""
        self._finisher.shutdown(wait=True, cancel_futures=True)


@contextmanager
def read_with_processes(read: Reader, *, batch_size: int, workers: int) -> Iterator[ReadAhead]:
    """Start processes that read batches while the block runs.

    Args:
        read: Reads the inputs and targets of rows.
        batch_size: Maximum number of rows in a batch.
        workers: Number of processes, at least 1; any number gives the same batches.

    Raises:
        Exception: The exception of `read`, if it made the block fail.
    """
    ahead = math.ceil(2 * workers * CHUNK / min(batch_size, len(read.inputs)))
    slots = Slots(read.layout(batch_size), under_way=ahead + 1)
    with pool(workers, initializer=_begin, arguments=(read, slots)) as executor:
        yield from _prepared(read, slots, executor, _fill_here, ahead=ahead, chunk=CHUNK)


@contextmanager
def read_with_threads(read: Reader, *, batch_size: int, threads: int = THREADS) -> Iterator[ReadAhead]:
    """Start threads that read batches while the block runs; for a reader that copies or decodes, for which Python's lock is not needed.

    Args, raises: as of `read_with_processes`; any number of threads gives the same batches.
    """
    size = min(batch_size, len(read.inputs))
    slots = Slots(read.layout(batch_size), under_way=AHEAD + 1)

    def fill(slot: int, start: int, indices: np.ndarray, epoch: int) -> None:
        _fill(read, slots, slot, start, indices, epoch)

    with ThreadPoolExecutor(threads) as executor:
        yield from _prepared(read, slots, executor, fill, ahead=AHEAD, chunk=math.ceil(size / threads))


def _prepared(
    read: Reader, slots: Slots, executor: Executor, fill: Callable[..., None], *, ahead: int, chunk: int
) -> Iterator[ReadAhead]:
    """Yield what prepares batches by an executor; afterwards end its thread, and raise what made a batch fail."""
    prepared = ReadAhead(len(read.inputs), slots, lambda *task: executor.submit(fill, *task), ahead=ahead, chunk=chunk)
    try:
        yield prepared
    except Exception as error:
        if prepared.failure is None:
            raise
        raise prepared.failure from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)  # first, as the thread waits for what it does
        prepared.close()


_read: Reader
_slots: Slots


def _begin(read: Reader, slots: Slots) -> None:
    global _read, _slots
    _read, _slots = read, slots


def _fill_here(slot: int, start: int, indices: np.ndarray, epoch: int) -> None:
    """In a process that `_begin` has begun."""
    _fill(_read, _slots, slot, start, indices, epoch)


def _fill(read: Reader, slots: Slots, slot: int, start: int, indices: np.ndarray, epoch: int) -> None:
    read.into([part[start : start + len(indices)] for part in slots.parts(slot)], indices, epoch)
