"""Of a segmentation model: the label map of the image's size, and the fraction of pixels of each class that it has."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import SCORE_DECIMALS, Answer
from cnnkeras.label_maps import encode_png, in_frame
from cnnkeras.tasks import segmentation

COLUMNS = {"class": str, "fraction": float}
FILES = ("label_map.png",)


def answer(
    outputs: np.ndarray,
    shape: Sequence[int],
    classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: np.ndarray | None = None,
) -> Answer:
    """The label map of scores (h, w, C + 1), background first; `cnnkeras.answers` describes the arguments."""
    outputs = outputs if frame is None else in_frame(outputs, frame)
    labels = segmentation.postprocess(outputs, shape, **settings)
    fractions = np.bincount(labels.reshape(-1), minlength=len(classes) + 1) / labels.size
    names = ["background", *classes]
    rows = [
        {"class": names[label], "fraction": round(float(fractions[label]), SCORE_DECIMALS)}
        for label in np.argsort(-fractions, kind="stable")
        if fractions[label] > 0
    ]
    return Answer(rows, {FILES[0]: encode_png(labels)})
