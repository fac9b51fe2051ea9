"""Exponential moving averages (EMA) of a model's weights over the steps of its training."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import override

from cnnkeras.training import state as states
from cnnkeras.training.steps import change_step


class Averages(keras.callbacks.Callback):
    """The average of each trainable variable w: after step t = 1, 2, ...

        a <- mₜ a + (1 - mₜ) w,  mₜ = min(m, (1 + t) / (10 + t)),  from a = w before the first step

    It is thus over about the last 1 / (1 - m) steps, and at first over the last ninth of the steps so far, so that a short training's
    average has forgotten the initial weights (`num_updates` of TensorFlow's `tf.train.ExponentialMovingAverage`). The parts of a batch
    whose gradients are accumulated are one step.

    The training goes on from the weights themselves, not from their averages. The moving statistics of batch normalisation are left as
    they are: they are averages over the last steps already, as with `ema_momentum` of Keras' optimizers.

    Departures from Keras' `use_ema`: Keras puts the averages into the model at the end of each call of its `fit`, which is an epoch
    here; its average begins with the weights after the first step, and it takes each part of a batch for a step.

    As a callback of Keras it puts the averages into the model while Keras validates.

    Args:
        model: Compiled, with its optimizer built; the averages become variables of the optimizer, so a state of the training has them.
        momentum: m, above 0 and below 1.
    """

    def __init__(self, model: keras.Model, momentum: float):
        super().__init__()
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # in half precision it is wrapped
        self._variables = model.trainable_variables
        self._averages = [optimizer.add_variable_from_reference(own, name="average") for own in self._variables]
        states.assign(self._averages, states.values(self._variables))
        self._values: Sequence[np.ndarray] = ()
        change_step(optimizer, self._averaging(optimizer, momentum))

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Within the block the model has the averages, after it the weights again."""
        self.on_test_begin()
        try:
            yield
        finally:
            self.on_test_end()

    @override
    def on_test_begin(self, logs: dict | None = None) -> None:
        self._values = states.values(self._variables)
        states.assign(self._variables, states.values(self._averages))

    @override
    def on_test_end(self, logs: dict | None = None) -> None:
        states.assign(self._variables, self._values)
        self._values = ()

    def _averaging(self, optimizer: keras.optimizers.Optimizer, momentum: float) -> Callable:
        def changed(step: Callable[..., None]) -> Callable[..., None]:
            def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
                step(gradient, variable, learning_rate)
                average = self._averages[optimizer._get_variable_index(variable)]
                steps = ops.cast(optimizer.iterations + 1, variable.dtype)
                rest = ops.maximum(1 - momentum, 9 / (10 + steps))  # 1 - mₜ
                optimizer.assign_add(average, rest * (variable - average))

            return update_step

        return changed
