"""Drawings of detection: the boxes with a score of at least `display_threshold`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.boxes import clip_boxes, in_images
from cnnkeras.tasks import detection
from pipeline.commands.show import Shown, drawn_side
from pipeline.drawing import overlays
from pipeline.formats.predictions import PIXEL_DECIMALS, SCORE_DECIMALS

CORNERS = ("left", "top", "right", "bottom")  # in pixels of the image
COLUMNS = ("class", "score", *CORNERS)


def show(
    image: np.ndarray,
    outputs: np.ndarray,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: np.ndarray | None = None,
) -> Shown:
    """Draw the boxes on an image (H, W, 3), and list them in the image's pixels; `outputs` are one grid of boxes (S, S, C + 5B) of an input in whose `frame` it lies."""
    _, detections = detection.postprocess(outputs[None], len(classes), **settings)
    detections = detections[np.argsort(-detections.scores, kind="stable")]
    detections = in_images(detections, None if frame is None else frame[None])
    height, width = image.shape[:2]
    boxes = clip_boxes(detections.boxes * [width, height, width, height], np.array([height, width]))
    drawn = overlays.draw_boxes(image, boxes, detections.labels, classes, detections.scores, side=drawn_side(image))
    lines = [
        f"{classes[label]} {score:.3f} from ({box[0]:.0f}, {box[1]:.0f}) to ({box[2]:.0f}, {box[3]:.0f})"
        for label, score, box in zip(detections.labels, detections.scores, boxes, strict=True)
    ]
    rows = [
        {"class": classes[label], "score": round(float(score), SCORE_DECIMALS)}
        | dict(zip(CORNERS, np.round(box, PIXEL_DECIMALS).tolist(), strict=True))
        for label, score, box in zip(detections.labels, detections.scores, boxes, strict=True)
    ]
    return Shown(drawn, lines or [f"nothing with a score of at least {settings['display_threshold']:g}"], rows)
