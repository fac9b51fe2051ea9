"""Drawings of detection: the boxes that were found."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import Answer
from cnnkeras.answers.detection import CORNERS
from pipeline.commands.show import Shown, drawn_side
from pipeline.drawing import overlays


def show(image: np.ndarray, answer: Answer, classes: Sequence[str], settings: Mapping[str, Any]) -> Shown:
    """Draw the boxes on an image (H, W, 3), and list them in the image's pixels."""
    boxes = np.array([[row[corner] for corner in CORNERS] for row in answer.rows], np.float64).reshape(-1, 4)
    labels = [classes.index(row["class"]) for row in answer.rows]
    scores = [row["score"] for row in answer.rows]
    drawn = overlays.draw_boxes(image, boxes, labels, classes, scores, side=drawn_side(image))
    lines = [
        f"{classes[label]} {score:.3f} from ({box[0]:.0f}, {box[1]:.0f}) to ({box[2]:.0f}, {box[3]:.0f})"
        for label, score, box in zip(labels, scores, boxes, strict=True)
    ]
    return Shown(drawn, lines or [f"nothing with a score of at least {settings['display_threshold']:g}"])
