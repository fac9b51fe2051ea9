"""Optimizers: each public function makes one, and its name is the optimizer's name in params.yaml.

The updates are Keras'. Its SGD with momentum is v <- momentum v - rate g, w <- w + v, as in AlexNet (Krizhevsky et al. 2012,
section 5) and Caffe; PyTorch and Darknet multiply v by the rate instead, which gives other steps after a change of the rate.

`weight_decay` and `normalization_decay` are the papers', in the gradient: see `cnnkeras.training.fit.set_weight_decay`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import lazy_loader
from annotated_types import Ge, Gt, Lt

keras = lazy_loader.load("keras")

Rate = Annotated[float, Gt(0)]
Momentum = Annotated[float, Ge(0), Lt(1)]
WeightDecay = Annotated[float, Ge(0)]
RateFactor = Annotated[float, Gt(0)]


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of Keras with the numbers that `fit` needs beside it.

    Attributes:
        update: The optimizer of Keras.
        learning_rate: The base learning rate, above 0, which a schedule multiplies by a factor.
        weight_decay: Of kernels, at least 0; see `cnnkeras.training.fit.set_weight_decay`.
        normalization_decay: Of the scales and shifts of batch normalisation, likewise.
    """

    update: "keras.optimizers.Optimizer"
    learning_rate: float
    weight_decay: float
    normalization_decay: float = 0.0


def sgd(
    *,
    learning_rate: Rate,
    momentum: Momentum = 0.0,
    weight_decay: WeightDecay = 0.0,
    normalization_decay: WeightDecay = 0.0,
    bias_rate_factor: RateFactor = 1.0,
) -> Optimizer:
    """Stochastic gradient descent with classical momentum (not Nesterov's).

    Args:
        learning_rate: Of kernels, and of whatever else is no bias.
        momentum: Fraction of the last step in the next.
        weight_decay: Of kernels.
        normalization_decay: Of scales and shifts: DeconvNet's have the kernels' (training/*/solver.prototxt, net.cpp of its Caffe).
        bias_rate_factor: Biases learn at so many times the rate: 2 in AlexNet (cuda-convnet2, epsB) and DeconvNet (`blobs_lr`).
    """
    update = keras.optimizers.SGD(learning_rate, momentum=momentum)
    if bias_rate_factor != 1:
        change_step(update, _with_bias_rate(update, bias_rate_factor))
    return Optimizer(update, learning_rate, weight_decay, normalization_decay)


def adam(*, learning_rate: Rate, weight_decay: WeightDecay = 0.0) -> Optimizer:
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon."""
    return Optimizer(keras.optimizers.Adam(learning_rate), learning_rate, weight_decay)


def change_step(
    update: "keras.optimizers.Optimizer", change: Callable[[Callable[..., None]], Callable[..., None]]
) -> None:
    """Replace what an optimizer of Keras does in a step to one variable by `change` of it: of (gradient, variable, learning rate)."""
    update.update_step = change(update.update_step)
    if (
        keras.backend.backend() == "torch"
    ):  # where Keras' own optimizers step all variables at once, without `update_step`
        update._backend_update_step = partial(keras.optimizers.Optimizer._backend_update_step, update)


def _with_bias_rate(update: "keras.optimizers.Optimizer", factor: float) -> Callable:
    """Keras' step at `factor` times the rate for biases. Momentum holds the rate, so that v <- mu v - factor rate g."""

    def changed(step: Callable[..., None]) -> Callable[..., None]:
        def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
            is_bias = update._trainable_variables[update._get_variable_index(variable)].name == "bias"
            step(gradient, variable, learning_rate * factor if is_bias else learning_rate)

        return update_step

    return changed
