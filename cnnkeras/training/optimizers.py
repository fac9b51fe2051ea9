"""Optimizers: each public function makes one, and its name is the optimizer's name in params.yaml.

The updates are Keras'. Its SGD with momentum is v <- momentum v - rate g, w <- w + v, as in AlexNet (Krizhevsky et al. 2012,
section 5) and Caffe; PyTorch and Darknet multiply v by the rate instead, which gives other steps after a change of the rate.

`weight_decay` is the papers', in the gradient: see `cnnkeras.training.fit.set_weight_decay`.
"""

from dataclasses import dataclass
from typing import Annotated

import lazy_loader
from annotated_types import Ge, Gt, Lt

keras = lazy_loader.load("keras")

Rate = Annotated[float, Gt(0)]
Momentum = Annotated[float, Ge(0), Lt(1)]
WeightDecay = Annotated[float, Ge(0)]


@dataclass(frozen=True)
class Optimizer:
    """An optimizer of Keras with the numbers that `fit` needs beside it.

    Attributes:
        update: The optimizer of Keras.
        learning_rate: The base learning rate, above 0, which a schedule multiplies by a factor.
        weight_decay: At least 0; see `cnnkeras.training.fit.set_weight_decay`.
    """

    update: "keras.optimizers.Optimizer"
    learning_rate: float
    weight_decay: float


def sgd(*, learning_rate: Rate, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0) -> Optimizer:
    """Stochastic gradient descent with classical momentum (not Nesterov's)."""
    return Optimizer(keras.optimizers.SGD(learning_rate, momentum=momentum), learning_rate, weight_decay)


def adam(*, learning_rate: Rate, weight_decay: WeightDecay = 0.0) -> Optimizer:
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon."""
    return Optimizer(keras.optimizers.Adam(learning_rate), learning_rate, weight_decay)
