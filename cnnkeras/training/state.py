"""The state of a training between two steps: everything that cannot be derived from its settings, its data and its seed.

The order of the examples is a function of (seed, epoch), the learning rate one of the position and the validation losses so far, and so
are the best epoch and the patience of early stopping. What is left are the variables: weights, moving statistics, the states of the
dropout layers' generators, those of the optimizer (momentum, its count of steps, the scale of the loss in half precision, gradients
that are being accumulated), and the sums of the epoch's metrics.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import lazy_loader
import numpy as np

keras = lazy_loader.load("keras")


@dataclass(frozen=True)
class State:
    """The state of a training.

    Attributes:
        epoch: Number of epochs that are over, with their validation.
        step: Number of steps of the next epoch that are over.
        logs: The logs of each epoch that is over, exactly.
        variables: The values of the variables that `variables` lists, in that order; of each, one array for each device.
        sums: Likewise of the variables that `sums` lists; empty before the first step of an epoch, where they are zero.
        best: The weights of the best epoch so far, in the order of `keras.Model.get_weights`; empty if they are not kept.
    """

    epoch: int
    step: int
    logs: tuple[dict[str, float], ...]
    variables: tuple[np.ndarray, ...]
    sums: tuple[np.ndarray, ...] = ()
    best: tuple[np.ndarray, ...] = ()

    @property
    def is_finite(self) -> bool:
        """Whether every number of the variables and the sums is finite."""
        return all(np.isfinite(value).all() for value in (*self.variables, *self.sums))


class Checkpoints(Protocol):
    """Where the states of a training are kept, and when."""

    def load(self) -> State | None:
        """The last state that was kept; None if there is none."""
        ...

    def is_due(self, steps: int, *, ends_epoch: bool) -> bool:
        """Whether to keep the state after so many steps since the start of the training; `ends_epoch`: an epoch ends there, not the last."""
        ...

    def save(self, state: State) -> None:
        """Keep a state."""
        ...


def variables(model: "keras.Model") -> "list[keras.Variable]":
    """The variables of a compiled model and of its optimizer."""
    return [*model.trainable_variables, *model.non_trainable_variables, *model.optimizer.variables]


def sums(model: "keras.Model", metrics: "Iterable[keras.Metric]") -> "list[keras.Variable]":
    """The variables of the mean of the loss and of the metrics of a compiled model, each once.

    The model lists its metrics only after the first step; `metrics` are those that it was compiled with.
    """
    listed = [variable for metric in (*model.metrics, *metrics) for variable in metric.variables]
    return list({id(variable): variable for variable in listed}.values())


def values(variables: "Iterable[keras.Variable]") -> tuple[np.ndarray, ...]:
    """The values of variables, one array for each device; copies."""
    return tuple(np.array(keras.ops.convert_to_numpy(part)) for variable in variables for part in _parts(variable))


def assign(variables: "Sequence[keras.Variable]", values: Sequence[np.ndarray]) -> None:
    """Give variables the values that the function `values` returned.

    Raises:
        ValueError: Their number or their shapes are others.
    """
    parts = [part for variable in variables for part in _parts(variable)]
    if [tuple(part.shape) for part in parts] != [value.shape for value in values]:
        raise ValueError(f"expected values for {len(parts)} variables of this training; received: {len(values)} others")
    for part, value in zip(parts, values, strict=True):
        part.assign(value)


def _parts(variable: "keras.Variable") -> Sequence:
    """The variable itself; with TensorFlow's strategies for several devices the variable of each device, as a sum is divided over them."""
    parts = getattr(variable.value, "values", None)
    return parts if isinstance(parts, tuple) else (variable,)
