"""An exported detector gives boxes in pixels of the image, after the threshold and non-maximum suppression."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.commands.export import Output

if TYPE_CHECKING:
    import keras


def build(
    images: "keras.KerasTensor",
    outputs: "keras.KerasTensor",
    classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: "keras.KerasTensor | None",
) -> dict[str, Output]:
    """The boxes that are measured, of grids (batch, S, S, C + 5B); `pipeline.commands.export` describes the arguments."""
    from cnnkeras.exported import DetectBoxes

    layer = DetectBoxes(len(classes), settings["confidence_threshold"], settings["nms_iou"], name="detections")
    boxes, scores, labels, counts = layer(outputs, images, frame)
    threshold = settings.get("display_threshold", 0.2)
    return {
        "boxes": Output(boxes, "left, top, right, bottom in pixels of the image; zeros beyond `counts`"),
        "scores": Output(scores, f"falling, 0 beyond `counts`; draw those of at least {threshold:g}"),
        "labels": Output(labels, "places in the list of classes, from 0; -1 beyond `counts`"),
        "counts": Output(counts, "how many boxes each image has"),
    }
