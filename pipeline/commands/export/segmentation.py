"""An exported segmentation model gives label maps at the size of the image."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.commands.export import Output

if TYPE_CHECKING:
    import keras


def build(
    images: "keras.KerasTensor",
    outputs: "keras.KerasTensor",
    _classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: "keras.KerasTensor | None",
) -> dict[str, Output]:
    """The class of the highest score of each pixel; `pipeline.commands.export` describes the arguments.

    Raises:
        ValueError: The label maps are inferred greedily.
    """
    from cnnkeras.exported import LabelMaps

    if settings.get("greedy") is not None:
        raise ValueError(
            "expected the highest score of each pixel, which every format can compute; received: greedy. Export an experiment without it"
        )
    labels = LabelMaps(settings.get("resize", "bilinear"), name="label_maps")(outputs, images, frame)
    return {
        "label_maps": Output(labels, "the class of each pixel of the image: 0 the background, 1 and up the classes")
    }
