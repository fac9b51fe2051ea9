"""Batches of examples, in an order that is a function of (seed, epoch) alone."""

import functools
import math
from collections.abc import Callable

import keras
import numpy as np

Batch = tuple[np.ndarray, np.ndarray]
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], Batch]


class _Order(keras.utils.PyDataset):
    """The order of the examples, divided into batches.

    With a seed, the order is a function of (seed, epoch) alone: `fit` sets `epoch`, and no state is carried from one epoch
    to the next, so a training that resumes at epoch 7 gets the same batches. Examples that do not fill a last batch are left
    out of that epoch (different ones in each epoch): all batches have one shape, so the step is compiled once, and batch
    normalisation never gets a batch of one. Without a seed, the examples stay in the order of the data, and the last batch
    may be smaller.

    A batch may be divided into parts, for networks that cannot be trained on all of it at once: the parts are then what is
    counted and returned.

    A change of each batch, as mixup is, gets a generator that is a function of (seed, epoch, batch), and comes last.

    Raises:
        ValueError: The split is empty, or its only batch cannot be divided into equal parts.
    """

    def __init__(
        self, examples: int, *, batch_size: int, seed: int | None, parts: int = 1, change: Change | None = None
    ):
        super().__init__()
        if not examples:
            raise ValueError("expected at least one example; received: an empty split. Give the dataset some")
        self._examples, self._seed, self.parts, self._change = examples, seed, parts, change
        whole = min(batch_size, examples)
        if whole % parts:
            raise ValueError(f"expected a batch that divides into {parts} equal parts; received: {whole} examples")
        self.batch_size = whole // parts
        self._orders: dict[int, np.ndarray] = {}
        self.epoch = 0  # the batches are in the order of this epoch

    def __len__(self) -> int:
        """Number of batches, or of their parts."""
        if self._seed is None:
            return math.ceil(self._examples / self.batch_size)
        return self._examples // (self.batch_size * self.parts) * self.parts

    def changed(self, batch: Batch, epoch: int, index: int) -> Batch:
        """A batch of an epoch after the change."""
        if self._change is None:
            return batch
        # `spawn_key` keeps this stream apart from those of the order, of the augmentation (1,) and of the shuffled objects.
        seed = np.random.SeedSequence([self._seed or 0, epoch, index], spawn_key=(2,))
        return self._change(*batch, np.random.default_rng(seed))

    def indices(self, epoch: int, batch: int) -> np.ndarray:
        """Indices of the examples in a batch of an epoch: int64 (batch,)."""
        if epoch not in self._orders:
            order = np.arange(self._examples)
            if self._seed is not None:
                np.random.default_rng([self._seed, epoch]).shuffle(order)
            # Keeps the current epoch's order, and that of the next epoch when its batches are prepared ahead.
            current = {key: value for key, value in self._orders.items() if key == self.epoch}
            self._orders = current | {epoch: order}
        return self._orders[epoch][batch * self.batch_size : (batch + 1) * self.batch_size]


class Batches(_Order):
    """Batches of a split, read from arrays in memory or memory-mapped files.

    Args:
        inputs: (N, ...), passed on unchanged: the model itself normalises uint8 images.
        targets: A function from indices int64 (batch,) and the epoch to the targets of these examples, (batch, ...).
        batch_size: Examples in a batch; reduced to N if greater.
        seed: Seed of the shuffling, which leaves out the last partial batch; None: the order of the data, all examples.
        parts: Number of equal parts that a batch is divided into; each is an item.
        change: Changes each item, given its inputs, its targets and a generator; None: nothing does.

    Raises:
        ValueError: The split is empty, or its only batch cannot be divided into equal parts.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: Callable[[np.ndarray, int], np.ndarray],
        *,
        batch_size: int,
        seed: int | None = None,
        parts: int = 1,
        change: Change | None = None,
    ):
        super().__init__(len(inputs), batch_size=batch_size, seed=seed, parts=parts, change=change)
        self._inputs, self._targets = inputs, targets

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of a batch of the current epoch."""
        indices = self.indices(self.epoch, index)
        return self.changed((self._inputs[indices], self._targets(indices, self.epoch)), self.epoch, index)


class PreparedBatches(_Order):
    """Batches prepared by processes or threads while the current one is trained on; in the same order as `Batches`.

    Args:
        examples: Number of examples.
        start: Starts the preparation of a batch, given its indices int64 (batch,), its epoch and a function that it applies to what it has
            read; returns a function that waits for the batch and returns it. At most `ahead` + 1 batches are started and not yet waited for.
        ahead: Number of batches started beyond the current one, batches of the next epoch included.
        batch_size: Examples in a batch; reduced to `examples` if greater.
        seed: As of `Batches`.
        parts: Number of equal parts that a batch is divided into; each is an item.
        change: As of `Batches`.

    Raises:
        ValueError: The split is empty, or its only batch cannot be divided into equal parts.
    """

    def __init__(
        self,
        examples: int,
        start: Callable[[np.ndarray, int, Callable[[Batch], Batch]], Callable[[], Batch]],
        *,
        ahead: int,
        batch_size: int,
        seed: int | None = None,
        parts: int = 1,
        change: Change | None = None,
    ):
        super().__init__(examples, batch_size=batch_size, seed=seed, parts=parts, change=change)
        self._start, self._ahead = start, ahead
        self._started: dict[tuple[int, int], Callable[[], Batch]] = {}

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of a batch of the current epoch; starts the batches after it."""
        steps = [divmod(index + step, len(self)) for step in range(self._ahead + 1)]
        # Without a seed all epochs are alike: the next one's batches are those of this epoch.
        wanted = [(self.epoch + epochs * (self._seed is not None), batch) for epochs, batch in steps]
        for key in self._started.keys() - wanted:
            # Keras reads the first batches an extra time, for their shapes: the batches then prepared ahead are not needed.
            self._started.pop(key)()
        for key in wanted:
            if key not in self._started:
                self._started[key] = self._start(self.indices(*key), key[0], functools.partial(self._changed_at, key))
        return self._started.pop(wanted[0])()

    def _changed_at(self, place: tuple[int, int], batch: Batch) -> Batch:
        return self.changed(batch, *place)


class Span(keras.utils.PyDataset):
    """Some of the batches of an epoch, in their order: those of a training that goes on within it.

    Args:
        batches: All batches of the epoch.
        first: The first one.
        stop: The one after the last one; None: through the end of the epoch.
    """

    def __init__(self, batches: Batches | PreparedBatches, first: int, stop: int | None = None):
        super().__init__()
        self._batches, self._chosen = batches, range(len(batches))[first:stop]

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._chosen)

    def __getitem__(self, index: int) -> Batch:
        """As of all batches, counted from the first of these."""
        return self._batches[self._chosen[index]]
