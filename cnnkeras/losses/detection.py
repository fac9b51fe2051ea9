"""YOLO's sum of squared errors (Redmon et al. 2016, section 2.2, equation 3)."""

from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge

from cnnkeras import objectives

if TYPE_CHECKING:
    import keras

TASKS = ("detection",)
IS_MEAN_OF_EXAMPLES = True
PER_CLASS = ()
TINY = {}


def build(
    *, coord_weight: Annotated[float, Ge(0)] = 5.0, noobj_weight: Annotated[float, Ge(0)] = 0.5
) -> "keras.losses.Loss":
    """`YoloLoss` with the paper's λ_coord and λ_noobj (section 2.2) as defaults."""
    return objectives.YoloLoss(coord_weight=coord_weight, noobj_weight=noobj_weight)
