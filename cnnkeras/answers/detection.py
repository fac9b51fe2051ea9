"""Of a detector: the boxes with a score of at least `display_threshold`, by falling score, in pixels of the image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import PIXEL_DECIMALS, SCORE_DECIMALS, Answer
from cnnkeras.boxes import clip_boxes, in_images
from cnnkeras.tasks import detection

CORNERS = ("left", "top", "right", "bottom")
COLUMNS = {"class": str, "score": float, **dict.fromkeys(CORNERS, float)}
FILES = ()


def answer(
    outputs: np.ndarray,
    shape: Sequence[int],
    classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: np.ndarray | None = None,
) -> Answer:
    """The boxes of a grid (S, S, C + 5B), cut at the image's edges; `cnnkeras.answers` describes the arguments."""
    _, detections = detection.postprocess(outputs[None], len(classes), **settings)
    detections = detections[np.argsort(-detections.scores, kind="stable")]
    detections = in_images(detections, None if frame is None else frame[None])
    height, width = shape
    corners = clip_boxes(detections.boxes * [width, height, width, height], np.array([height, width]))
    boxes = np.round(corners, PIXEL_DECIMALS)
    # A box outside the image, or thinner than can be told, is nothing to see.
    seen = np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    return Answer(
        [
            {"class": classes[label], "score": round(float(score), SCORE_DECIMALS)}
            | dict(zip(CORNERS, box.tolist(), strict=True))
            for label, score, box in zip(detections.labels[seen], detections.scores[seen], boxes[seen], strict=True)
        ]
    )
