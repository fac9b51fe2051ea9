"""Focal loss: cross-entropy that leaves out what is easy (Lin et al. 2017, Focal Loss for Dense Object Detection, equations 4 and 5).

    L = -1/n Σᵢ Σ_c α_c qᵢ(c) (1 - pᵢ(c))^γ log pᵢ(c),  p = softmax(z)

q is 1 for the true class and 0 for the others, or the probabilities of the classes of a mixed example. γ -> `gamma`, α -> `class_weights`.

Departures from the paper: classes exclude each other here, so p is a softmax; the paper's are C independent sigmoids.
"""

from collections.abc import Callable
from typing import Annotated

import lazy_loader
from annotated_types import Ge, Gt

keras = lazy_loader.load("keras")  # takes seconds, and reading params.yaml needs only the signature

TASKS = ("classification",)
IS_MEAN_OF_EXAMPLES = True
PER_CLASS = ("class_weights",)
TINY = {"gamma": 2.0, "class_weights": (1.0, 0.5, 2.0)}


def build(
    *, gamma: Annotated[float, Ge(0)] = 2.0, class_weights: tuple[Annotated[float, Gt(0)], ...] | None = None
) -> Callable:
    """The loss of each example, (batch,), of targets (batch,) or (batch, C), and logits (batch, C).

    Args:
        gamma: The higher, the less an example counts whose true class is probable; 0: cross-entropy.
        class_weights: A factor on the loss for each class of the dataset, in its order; None: 1 for each.
    """

    def focal(targets, outputs):
        ops, classes = keras.ops, outputs.shape[-1]
        if len(targets.shape) < len(outputs.shape):
            targets = ops.one_hot(ops.cast(targets, "int32"), classes)
        log_p = ops.log_softmax(outputs, axis=-1)
        hardness = ops.maximum(1 - ops.exp(log_p), 1e-7) ** gamma  # above 0, where every power has a finite gradient
        terms = ops.cast(targets, log_p.dtype) * hardness * log_p
        weights = ops.convert_to_tensor(class_weights or [1.0] * classes, log_p.dtype)
        return -ops.sum(weights * terms, axis=-1)

    return focal
