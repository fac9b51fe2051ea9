"""Optimizers: each public function is one, under its name in params.yaml.

They are Keras' own. Its SGD with momentum is v <- momentum v - rate g, w <- w + v, as in AlexNet (Krizhevsky et al. 2012,
section 5) and Caffe; PyTorch and Darknet multiply by the rate outside v, which differs while the rate changes.

`weight_decay` is the papers': `cnnkeras.training.fit.set_weight_decay`.
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
    """What updates the weights.

    Attributes:
        update: Keras' optimizer.
        learning_rate: Its base rate, which a schedule multiplies.
        weight_decay: See `cnnkeras.training.fit.set_weight_decay`.
    """

    update: "keras.optimizers.Optimizer"
    learning_rate: float
    weight_decay: float


def sgd(*, learning_rate: Rate, momentum: Momentum = 0.0, weight_decay: WeightDecay = 0.0) -> Optimizer:
    """Stochastic gradient descent with momentum, not Nesterov's."""
    return Optimizer(keras.optimizers.SGD(learning_rate, momentum=momentum), learning_rate, weight_decay)


def adam(*, learning_rate: Rate, weight_decay: WeightDecay = 0.0) -> Optimizer:
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon."""
    return Optimizer(keras.optimizers.Adam(learning_rate), learning_rate, weight_decay)
