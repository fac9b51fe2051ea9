"""Drawings of segmentation: the label map over the image, and the fraction of pixels of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.label_maps import encode_png, in_frame
from cnnkeras.tasks import segmentation
from pipeline.commands.show import Shown, drawn_side
from pipeline.drawing import overlays
from pipeline.formats.predictions import SCORE_DECIMALS

COLUMNS = ("class", "fraction")


def show(
    image: np.ndarray,
    outputs: np.ndarray,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    frame: np.ndarray | None = None,
) -> Shown:
    """Draw the label map over an image (H, W, 3); `outputs` are scores (h, w, C + 1), background first, of an input in whose `frame` it lies."""
    outputs = outputs if frame is None else in_frame(outputs, frame)
    labels = segmentation.postprocess(outputs, image.shape[:2], **settings)
    drawn = overlays.draw_mask(image, labels, classes, side=drawn_side(image))
    fractions = np.bincount(labels.reshape(-1), minlength=len(classes) + 1) / labels.size
    present = [label for label in np.argsort(-fractions, kind="stable") if fractions[label] > 0]
    names = ["background", *classes]
    lines = [f"{names[label]} {fractions[label]:.1%} of the pixels" for label in present]
    rows = [{"class": names[label], "fraction": round(float(fractions[label]), SCORE_DECIMALS)} for label in present]
    return Shown(drawn, lines, rows, {"label_map.png": encode_png(labels)})
