"""Drawings of segmentation: the label map over the image, and the fraction of pixels of each class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import Answer
from cnnkeras.answers.segmentation import FILES
from cnnkeras.label_maps import decode_png
from pipeline.commands.show import Shown, drawn_side
from pipeline.drawing import overlays


def show(image: np.ndarray, answer: Answer, classes: Sequence[str], _settings: Mapping[str, Any]) -> Shown:
    """Draw the label map over an image (H, W, 3)."""
    drawn = overlays.draw_mask(image, decode_png(answer.files[FILES[0]]), classes, side=drawn_side(image))
    return Shown(drawn, [f"{row['class']} {row['fraction']:.1%} of the pixels" for row in answer.rows])
