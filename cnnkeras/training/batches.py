"""Batches of examples, in an order that is a function of (seed, epoch) alone."""

from collections.abc import Callable

import keras
import numpy as np

Batch = tuple[np.ndarray, np.ndarray]


class _Order(keras.utils.PyDataset):
    """Which examples are in which batch.

    With a seed, the order is a function of (seed, epoch) alone: `fit` sets `epoch`, and nothing is carried from one epoch
    to the next, so a training that starts again at epoch 7 sees the same batches. The examples that do not fill a last
    batch are left out of that epoch (other ones in each epoch): every step has the same shape, compiled once, and batch
    normalisation never sees a batch of one. Without a seed, all examples come in their own order, and the last batch may
    be smaller.

    Raises:
        ValueError: There is no example.
    """

    def __init__(self, examples: int, *, batch_size: int, seed: int | None):
        super().__init__()
        if not examples:
            raise ValueError("expected at least one example; received: an empty split. Give the dataset some")
        self._examples, self._seed = examples, seed
        self.batch_size = min(batch_size, examples)
        self._orders: dict[int, np.ndarray] = {}
        self.epoch = 0  # the batches are in the order of this one

    def __len__(self) -> int:
        """Number of batches."""
        partial = self._seed is None and self._examples % self.batch_size > 0
        return self._examples // self.batch_size + partial

    def indices(self, epoch: int, batch: int) -> np.ndarray:
        """Which examples a batch of an epoch holds: int64 (batch,)."""
        if epoch not in self._orders:
            order = np.arange(self._examples)
            if self._seed is not None:
                np.random.default_rng([self._seed, epoch]).shuffle(order)
            # The current epoch's order, and the next one's where its batches are prepared ahead.
            self._orders = {at: known for at, known in self._orders.items() if at == self.epoch} | {epoch: order}
        return self._orders[epoch][batch * self.batch_size : (batch + 1) * self.batch_size]


class Batches(_Order):
    """Batches of a split, read from arrays that may be mapped from disk.

    Args:
        inputs: (N, ...), passed on unchanged: the model itself normalises uint8 images.
        targets: From indices (batch,), int64, and the epoch to the targets of these examples, an array (batch, ...).
        batch_size: Examples in a batch; at most N of them.
        seed: Shuffles, and leaves out the last partial batch.

    Raises:
        ValueError: There is no example.
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: Callable[[np.ndarray, int], np.ndarray],
        *,
        batch_size: int,
        seed: int | None = None,
    ):
        super().__init__(len(inputs), batch_size=batch_size, seed=seed)
        self._inputs, self._targets = inputs, targets

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of one batch."""
        indices = self.indices(self.epoch, index)
        return self._inputs[indices], self._targets(indices, self.epoch)


class PreparedBatches(_Order):
    """Batches prepared elsewhere (worker processes) while the current one is trained on; the order is that of `Batches`.

    Args:
        examples: How many there are.
        start: Starts to prepare a batch, given its indices (batch,) and epoch; returns a function that waits for the batch
            and returns it. At most `ahead` + 1 batches are started and not yet waited for.
        ahead: How many batches are started beyond the current one, those of the next epoch included.
        batch_size: Examples in a batch; at most as many as there are.
        seed: Shuffles, and leaves out the last partial batch.

    Raises:
        ValueError: There is no example.
    """

    def __init__(
        self,
        examples: int,
        start: Callable[[np.ndarray, int], Callable[[], Batch]],
        *,
        ahead: int,
        batch_size: int,
        seed: int,
    ):
        super().__init__(examples, batch_size=batch_size, seed=seed)
        self._start, self._ahead = start, ahead
        self._started: dict[tuple[int, int], Callable[[], Batch]] = {}

    def __getitem__(self, index: int) -> Batch:
        """Inputs and targets of one batch."""
        steps = [divmod(index + step, len(self)) for step in range(self._ahead + 1)]
        wanted = [(self.epoch + epochs, batch) for epochs, batch in steps]
        for key in self._started.keys() - wanted:
            # Keras reads the first batches once more than it trains on them, to see their shapes.
            self._started.pop(key)()
        for key in wanted:
            if key not in self._started:
                self._started[key] = self._start(self.indices(*key), key[0])
        return self._started.pop(wanted[0])()
