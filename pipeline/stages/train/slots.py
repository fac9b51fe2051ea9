"""Memory for batches, used again and again: the first touch of fresh memory takes longer than the copy of images into it."""

import math
import mmap
import weakref
from collections.abc import Sequence

import numpy as np

from pipeline.stages.train.reader import Batch

ALIGNMENT = 64  # bytes; TensorFlow and JAX read arrays that begin so without a copy
HELD = 4  # batches that a backend refers to at a time: those of steps under way, and those that it fetches ahead

Layout = Sequence[tuple[tuple[int, ...], np.dtype]]  # shape and type of each part of a batch


class Slots:
    """Slots for batches, in memory that processes share which are forked after this object is made.

    A slot is taken, filled, and lent as arrays; it is free again as soon as nothing refers to these arrays, or to views of them, any
    more. So no batch is copied for whoever reads it, and no slot is written to while a backend still reads it.

    Args:
        layout: Of the parts of the largest batch.
        under_way: Maximum number of slots that are taken and not yet lent, plus those whose batches wait to be read.
    """

    def __init__(self, layout: Layout, *, under_way: int):
        self._layout, self._lendable = layout, under_way + HELD
        self._starts, size = [], 0
        for shape, dtype in layout:
            self._starts.append(size)
            size += math.ceil(math.prod(shape) * dtype.itemsize / ALIGNMENT) * ALIGNMENT
        # As many as are taken at a time, beside those that are lent. Memory that is never touched costs nothing.
        self._memory = [mmap.mmap(-1, max(size, ALIGNMENT)) for _ in range(under_way + self._lendable)]
        self._free = list(range(len(self._memory)))
        self._lent: set[int] = set()

    def take(self) -> int:
        """The number of a free slot: the one that was used last, which may still be in the processor's cache."""
        return self._free.pop()

    def parts(self, slot: int) -> Batch:
        """The parts of a slot: arrays of the layout's shapes."""
        return self._parts(np.frombuffer(self._memory[slot], np.uint8))

    def lend(self, slot: int, examples: int) -> Batch:
        """The first examples of a slot that was filled, until nothing refers to them any more.

        A copy, and the slot is free at once, if too many are lent: whoever reads the batches keeps them.
        """
        if len(self._lent) >= self._lendable:
            copies = tuple(part[:examples].copy() for part in self.parts(slot))
            self._free.append(slot)
            return copies
        # NumPy makes this array the base of all views of it, so it lives as long as they do.
        owner = np.frombuffer(self._memory[slot], np.uint8)
        self._lent.add(slot)
        weakref.finalize(owner, self._take_back, slot).atexit = False
        return tuple(part[:examples] for part in self._parts(owner))

    def _take_back(self, slot: int) -> None:
        self._lent.discard(slot)
        self._free.append(slot)

    def _parts(self, owner: np.ndarray) -> Batch:
        found = []
        for start, (shape, dtype) in zip(self._starts, self._layout, strict=True):
            found.append(owner[start : start + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape))
        return tuple(found)
