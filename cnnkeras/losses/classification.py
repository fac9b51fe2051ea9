"""Softmax cross-entropy of a classifier (Krizhevsky et al. 2012, section 3.5)."""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Gt, Lt

from cnnkeras import objectives

if TYPE_CHECKING:
    import keras

TASKS = ("classification",)
IS_MEAN_OF_EXAMPLES = True
PER_CLASS = ("class_weights",)
TINY = {"label_smoothing": 0.1}


def build(
    *,
    label_smoothing: Annotated[float, Ge(0), Lt(1)] = 0.0,
    class_weights: tuple[Annotated[float, Gt(0)], ...] | None = None,
) -> "keras.losses.Loss":
    """Cross-entropy of softmax(logits), averaged over the batch (Krizhevsky et al. 2012, section 3.5).

    Args:
        label_smoothing: So much of the target's probability is divided among all classes.
        class_weights: A factor on the loss for each class of the dataset, in its order; None: 1 for each.
    """
    return objectives.CrossEntropy(label_smoothing, class_weights)
