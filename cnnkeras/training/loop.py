"""The epochs of a training: each is one call of Keras' `fit`, so that a training can go on from any step of any epoch.

Keras' own `fit` begins every epoch at its first step. Here the batches of an epoch that is continued are those from the next step on;
the metrics go on from their sums, and the schedule from the position.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from typing_extensions import override

from cnnkeras.training import state as states
from cnnkeras.training.averages import Averages
from cnnkeras.training.batches import Batches, PreparedBatches, Span
from cnnkeras.training.divergence import DivergedError, Layer, first_layer
from cnnkeras.training.schedules import Schedule
from cnnkeras.training.state import Checkpoints, State

Feed = Callable[[keras.utils.PyDataset], Any]


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        epoch: The epoch, counted from 0.
        first: The step of the epoch that this process began with: 0, or where the training was continued.
        logs: The logs of the epochs that are over.
    """

    epoch: int = 0
    first: int = 0
    logs: tuple[dict[str, float], ...] = ()


class LearningRate(keras.callbacks.Callback):
    """Sets the optimizer's learning rate before each step, by the schedule; adds `learning_rate` to the epoch's logs.

    The rate can change only between two executions of the compiled function: with `steps_per_execution` above 1 it is the same for that
    many steps, as it is for all parts of a batch, which are one execution. The logged rate is that of the epoch's last step.
    """

    def __init__(self, base: float, schedule: Schedule, progress: Progress, *, steps: int):
        super().__init__()
        self._base, self._schedule, self._progress = base, schedule, progress
        self._steps = steps
        self._current: float | None = None

    def forget(self) -> None:
        """The optimizer's variable has another value than the last one set here."""
        self._current = None

    @override
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        done = self._progress.first + batch
        losses = [logs["val_loss"] for logs in self._progress.logs[: self._progress.epoch]]
        rate = self._schedule.rate_at(self._progress.epoch + done / self._steps, base=self._base, losses=losses)
        if rate == self._current:
            return
        _attach_variables(self.model)  # without them, on JAX the new rate would be lost
        self.model.optimizer.learning_rate = self._current = rate

    @override
    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs["learning_rate"] = self._current


def _attach_variables(model: keras.Model) -> None:
    """During an epoch on JAX the values of the variables are outside the model; this copies them back."""
    if keras.backend.backend() == "jax":
        model.jax_state_sync()


class _Keeper(keras.callbacks.Callback):
    """Keeps the state between two steps when it is due. Before a step, not after one: no step then waits for its loss."""

    def __init__(self, is_due: Callable[[int], bool], keep: Callable[[int], None]):
        super().__init__()
        self._is_due, self._keep = is_due, keep

    @override
    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        if batch and self._is_due(batch):
            _attach_variables(self.model)
            self._keep(batch)


class _Sums(keras.callbacks.Callback):
    """Gives the metrics their sums when an epoch is continued: Keras has just set them to zero."""

    def __init__(self, variables: Sequence[keras.Variable], values: Sequence[np.ndarray]):
        super().__init__()
        self._variables, self._values = variables, values

    @override
    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        states.assign(self._variables, self._values)


class _Divergence(keras.callbacks.Callback):
    """Stops at the first loss that is not finite.

    Attributes:
        batch: The last step of the execution, counted from the first of this call of Keras' `fit`; None: all were finite.
    """

    async_safe = True  # Keras may call it later, from another thread, so no step waits for its loss

    def __init__(self) -> None:
        super().__init__()
        self.batch: int | None = None

    @override
    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        # The loss in the logs is the mean of the epoch so far: once infinite or NaN, it stays so.
        if not math.isfinite(logs["loss"]):
            self.batch = batch if self.batch is None else min(batch, self.batch)
            self.model.stop_training = True


@dataclass
class Loop:
    """The epochs of a compiled model.

    Attributes:
        model: The model, compiled, with its optimizer built.
        train: Training batches.
        validation: Validation batches, as Keras reads them.
        epochs: Number of epochs.
        rate: Sets the learning rate.
        progress: How far the training is; `rate` reads it.
        feed: Makes of batches what Keras reads.
        variables: The variables of the model and of its optimizer.
        sums: The variables of the metrics.
        patience_epochs: Epochs without a lower validation loss after which the training is over; None: any number.
        best_by: Name in the logs by which the best epoch is chosen, whose weights the model then gets; None: the last one's stay.
        averages: Averages of the weights, which the model has when it is validated, when it is kept as the best, and at the end; None: none.
        checkpoints: Keeps the states; None keeps none.
        callbacks: Further callbacks of Keras; a continued epoch's steps count from 0 for them.
    """

    model: keras.Model
    train: Batches | PreparedBatches
    validation: Any
    epochs: int
    rate: LearningRate
    progress: Progress
    feed: Feed
    variables: Sequence[keras.Variable]
    sums: Sequence[keras.Variable]
    patience_epochs: int | None
    best_by: str | None
    averages: Averages | None
    checkpoints: Checkpoints | None
    callbacks: Sequence[keras.callbacks.Callback]
    _best: tuple[np.ndarray, ...] = ()
    _continued: tuple[np.ndarray, ...] = ()
    _whole: Any = field(default=None)

    def run(self, start: State | None) -> None:
        """Train from a state, or from the model's weights, to the end.

        Raises:
            DivergedError: The loss became infinite or NaN.
        """
        if start is not None:
            self._best = start.best
            self.progress.logs = start.logs
            self._go_to(start)
        elif self.checkpoints is not None:
            self._keep(0)
        while not self._is_over():
            self._train_epoch()
        if self._best or self.averages is not None:
            self.model.set_weights(list(self._best or self._kept_weights()))

    def _is_over(self) -> bool:
        losses = [logs["val_loss"] for logs in self.progress.logs]
        is_stale = bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= (self.patience_epochs or math.inf)
        return is_stale or self.progress.epoch >= self.epochs

    def _train_epoch(self) -> None:
        divergence = _Divergence()
        callbacks = [divergence, self.rate]
        if self.checkpoints is not None:
            callbacks.append(_Keeper(self._is_due, self._keep))
        if self.averages is not None:
            callbacks.append(self.averages)
        logs = self._fit(None, [*callbacks, *self.callbacks], validation_data=self.validation)
        self._require_finite(logs, divergence.batch)
        progress = self.progress
        progress.logs, progress.epoch, progress.first = (*progress.logs, logs), progress.epoch + 1, 0
        values = [logs[self.best_by] for logs in progress.logs] if self.best_by is not None else []
        if values and best_epoch(values, self.best_by) == len(values) - 1:
            self._best = self._kept_weights()
        if self.checkpoints is not None and (self._is_over() or self._is_due(0)):
            self._keep(0)

    def _averaged(self) -> AbstractContextManager[None]:
        """Within the block the model has the averages, if there are some."""
        return nullcontext() if self.averages is None else self.averages.in_model()

    def _kept_weights(self) -> tuple[np.ndarray, ...]:
        """The weights by which the model is validated."""
        with self._averaged():
            return tuple(np.array(weights) for weights in self.model.get_weights())

    def _fit(self, stop: int | None, callbacks: Sequence[keras.callbacks.Callback], **options: Any) -> dict[str, float]:
        """Train from the current step to before the step `stop`, or to the end of the epoch; returns the logs."""
        progress = self.progress
        self.train.epoch = progress.epoch
        if progress.first or stop is not None:
            batches = self.feed(Span(self.train, progress.first, stop))
        else:
            batches = self._whole = self.feed(self.train) if self._whole is None else self._whole
        if self._continued:
            callbacks = [_Sums(self.sums, self._continued), *callbacks]
        # `shuffle=True` would permute the batches with Python's global generator.
        history = self.model.fit(
            batches,
            epochs=progress.epoch + 1,
            initial_epoch=progress.epoch,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
            **options,
        )
        self._continued = ()
        return {name: values[0] for name, values in history.history.items()}

    def _is_due(self, batch: int) -> bool:
        """Whether to keep the state before a step; `batch` counts from the first step of this call of Keras' `fit`."""
        step = self.progress.first + batch
        return self.checkpoints.is_due(self.progress.epoch * len(self.train) + step, ends_epoch=step == 0)

    def _keep(self, batch: int) -> None:
        progress = self.progress
        step = progress.first + batch
        sums = states.values(self.sums) if step else ()
        state = State(progress.epoch, step, progress.logs, states.values(self.variables), sums, self._best)
        if state.is_finite:
            self.checkpoints.save(state)

    def _go_to(self, state: State) -> None:
        """Give the training the position and the variables of a state."""
        self.progress.epoch, self.progress.first = state.epoch, state.step
        states.assign(self.variables, state.variables)
        self._continued = state.sums
        self.rate.forget()

    def _require_finite(self, logs: dict[str, float], batch: int | None) -> None:
        """Raise an error if the loss, of a step or of the validation, is not finite.

        `batch` is the last step of the execution with such a loss, counted from the first step of this call of Keras' `fit`.
        """
        names = [name for name in ("loss", "val_loss") if not math.isfinite(logs[name])]
        if batch is None and not names:
            return
        place, found = f"epoch {self.progress.epoch + 1}", ""
        if batch is None and names == ["val_loss"]:
            place = f"the validation after {place}"
            with self._averaged():
                found = _sentence(self._first_layer(self.validation, training=False))
        else:
            names = ["loss"]
            last = min(self.progress.first + (batch if batch is not None else len(self.train)), len(self.train) - 1)
            group = self.progress.first + (last - self.progress.first) // self._group * self._group
            good = self.checkpoints.load() if self.checkpoints is not None else None
            if good is None:
                place += f", step {last + 1}"
            else:
                step, layer = self._repeat(good, self.progress.epoch, group, last)
                place, found = f"{place}, step {step + 1}", _sentence(layer)
                found += f". The last good state, after {good.epoch} epochs and {good.step} steps, is kept"
        raise DivergedError(
            f"expected a finite {names[0]}; received: {logs[names[0]]} in {place}{found}. "
            "Lower the learning rate, or let it rise in a warm-up"
        )

    @property
    def _group(self) -> int:
        return self.model.steps_per_execution

    def _repeat(self, good: State, epoch: int, first: int, last: int) -> tuple[int, Layer | None]:
        """Repeat the training from a good state to the steps `first` to `last` of an epoch; the step that fails, and its layer."""
        self._go_to(good)
        while (self.progress.epoch, self.progress.first) != (epoch, first):
            is_last = self.progress.epoch == epoch
            self._fit(first if is_last else None, [self.rate])
            self.progress.epoch, self.progress.first = (epoch, first) if is_last else (self.progress.epoch + 1, 0)
        for step in range(first, last + 1):
            self.progress.first = step
            self.train.epoch = epoch
            layer = self._first_layer([self.train[step]], training=True)
            if layer is not None or step == last:
                return step, layer
            self._fit(step + 1, [self.rate])
        return last, None

    def _first_layer(self, batches: Any, *, training: bool) -> Layer | None:
        """The first layer whose output for one of the batches is no number; the variables stay as they are."""
        before = states.values(self.variables)
        try:
            found = (first_layer(self.model, inputs, training=training) for inputs, _ in batches)
            return next((layer for layer in found if layer is not None), None)
        finally:
            states.assign(self.variables, before)


def best_epoch(values: Sequence[float], name: str) -> int:
    """Position of the first of the best values: the lowest loss, or the highest of another metric."""
    return values.index(min(values) if name.endswith("loss") else max(values))


def _sentence(layer: Layer | None) -> str:
    if layer is None:
        return "; the outputs of all layers were numbers, so it is the loss itself"
    return f"; the first layer whose output was no number: {layer}"
