"""Softmax cross-entropy of the pixels that are not void, as in DeconvNet's training (Noh et al. 2015)."""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Gt, Le

from cnnkeras import objectives

if TYPE_CHECKING:
    import keras

TASKS = ("segmentation",)
IS_MEAN_OF_EXAMPLES = False
PER_CLASS = ("class_weights",)
TINY = {"background_weight": 0.5}


def build(
    *,
    background_weight: Annotated[float, Gt(0), Le(1)] = 1.0,
    class_weights: tuple[Annotated[float, Gt(0)], ...] | None = None,
) -> "keras.losses.Loss":
    """`SegmentationCrossEntropy`: softmax cross-entropy over the batch's pixels that are not void.

    Args:
        background_weight: Weight of a background pixel, relative to 1 for the pixels of objects; 1 in the paper.
        class_weights: Weight of a pixel of each class of the dataset, in its order, without the background; None: 1 for each.
    """
    return objectives.SegmentationCrossEntropy(background_weight, class_weights)
