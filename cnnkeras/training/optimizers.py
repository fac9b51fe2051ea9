"""Optimizers: each public function makes one, and its name is the optimizer's name in params.yaml.

The updates are Keras'. Its SGD with momentum is v <- momentum v - rate g, w <- w + v, as in AlexNet (Krizhevsky et al. 2012,
section 5) and Caffe; PyTorch and Darknet multiply v by the rate instead, which gives other steps after a change of the rate.

`weight_decay`, except AdamW's, and `normalization_decay` are the papers', in the gradient: see `cnnkeras.training.fit.set_weight_decay`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import lazy_loader
from annotated_types import Ge, Gt, Lt

from cnnkeras.training.steps import change_step

keras = lazy_loader.load("keras")

Rate = Annotated[float, Gt(0)]
Momentum = Annotated[float, Ge(0), Lt(1)]
WeightDecay = Annotated[float, Ge(0)]
RateFactor = Annotated[float, Gt(0)]
# The gradients of all variables together are scaled down to this Euclidean norm if theirs is greater (Pascanu et al. 2013, algorithm 1);
# the gradient of the papers' weight decay is part of them, that of AdamW's decay is not. None: they are left as they are.
ClipNorm = Annotated[float, Gt(0)] | None


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of Keras with the numbers that `fit` needs beside it.

    Attributes:
        update: The optimizer of Keras.
        learning_rate: The base learning rate, above 0, which a schedule multiplies by a factor.
        weight_decay: Of kernels, in the gradient, at least 0; see `cnnkeras.training.fit.set_weight_decay`.
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
    global_clipnorm: ClipNorm = None,
) -> Optimizer:
    """Stochastic gradient descent with classical momentum (not Nesterov's).

    Args:
        learning_rate: Of kernels, and of whatever else is no bias.
        momentum: Fraction of the last step in the next.
        weight_decay: Of kernels.
        normalization_decay: Of scales and shifts: DeconvNet's have the kernels' (training/*/solver.prototxt, net.cpp of its Caffe).
        bias_rate_factor: Biases learn at so many times the rate: 2 in AlexNet (cuda-convnet2, epsB) and DeconvNet (`blobs_lr`).
        global_clipnorm: Greatest norm of the gradient of all variables.
    """
    update = keras.optimizers.SGD(learning_rate, momentum=momentum, global_clipnorm=global_clipnorm)
    if bias_rate_factor != 1:
        change_step(update, _with_bias_rate(update, bias_rate_factor))
    return Optimizer(update, learning_rate, weight_decay, normalization_decay)


def adam(*, learning_rate: Rate, weight_decay: WeightDecay = 0.0, global_clipnorm: ClipNorm = None) -> Optimizer:
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon.

    Args:
        learning_rate: Of all variables.
        weight_decay: Of kernels, in the gradient: the steps then are not those of `adamw`.
        global_clipnorm: Greatest norm of the gradient of all variables.
    """
    return Optimizer(keras.optimizers.Adam(learning_rate, global_clipnorm=global_clipnorm), learning_rate, weight_decay)


def adamw(*, learning_rate: Rate, weight_decay: WeightDecay = 0.004, global_clipnorm: ClipNorm = None) -> Optimizer:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2): w <- w - rate decay w before Adam's step.

    Departures from the paper: its decay is multiplied by the schedule's factor, here by the whole rate, as in Keras and PyTorch. Only
    kernels decay, as with the other optimizers (`cnnkeras.training.fit.fit`).

    Args:
        learning_rate: Of all variables.
        weight_decay: Of kernels, decoupled from the gradient; Keras' default.
        global_clipnorm: Greatest norm of the gradient of all variables.
    """
    update = keras.optimizers.AdamW(learning_rate, weight_decay=weight_decay, global_clipnorm=global_clipnorm)
    return Optimizer(update, learning_rate, weight_decay=0.0)


def _with_bias_rate(update: "keras.optimizers.Optimizer", factor: float) -> Callable:
    """Keras' step at `factor` times the rate for biases. Momentum holds the rate, so that v <- mu v - factor rate g."""

    def changed(step: Callable[..., None]) -> Callable[..., None]:
        def update_step(gradient: Any, variable: Any, learning_rate: Any) -> None:
            is_bias = update._trainable_variables[update._get_variable_index(variable)].name == "bias"
            step(gradient, variable, learning_rate * factor if is_bias else learning_rate)

        return update_step

    return changed
