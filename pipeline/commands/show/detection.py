"""The boxes that are sure enough to be displayed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.boxes import clip_boxes
from cnnkeras.tasks import detection
from pipeline.commands.show import Shown, drawn_side
from pipeline.drawing import overlays


def show(image: np.ndarray, outputs: np.ndarray, classes: Sequence[str], settings: Mapping[str, Any]) -> Shown:
    """The image with its boxes, and where they are in its own pixels."""
    _, shown = detection.postprocess(outputs[None], len(classes), **settings)
    shown = shown[np.argsort(-shown.scores, kind="stable")]
    height, width = image.shape[:2]
    boxes = clip_boxes(shown.boxes * [width, height, width, height], np.array([height, width]))
    drawn = overlays.draw_boxes(image, boxes, shown.labels, classes, shown.scores, side=drawn_side(image))
    lines = [
        f"{classes[label]} {score:.3f} from ({box[0]:.0f}, {box[1]:.0f}) to ({box[2]:.0f}, {box[3]:.0f})"
        for label, score, box in zip(shown.labels, shown.scores, boxes, strict=True)
    ]
    return Shown(drawn, lines or [f"nothing with a score of at least {settings['display_threshold']:g}"])
