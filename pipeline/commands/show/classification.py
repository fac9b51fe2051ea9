"""Drawings of classification: bars of the most probable classes under the image or the signal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import Answer
from pipeline.commands.show import SIDES, Shown
from pipeline.drawing import overlays


def show(image: np.ndarray, answer: Answer, _classes: Sequence[str], _settings: Mapping[str, Any]) -> Shown:
    """Draw an image (H, W, 3) or a signal (L, 1) over bars of its most probable classes."""
    names, values = [row["class"] for row in answer.rows], [row["probability"] for row in answer.rows]
    side = SIDES[0]
    drawn = overlays.draw_signal(image, side=side) if image.ndim == 2 else overlays.fit(image, side)
    page = np.full((drawn.shape[0], side, 3), 255, np.uint8)
    left = (side - drawn.shape[1]) // 2
    page[:, left : left + drawn.shape[1]] = drawn
    lines = [f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)]
    return Shown(np.vstack([page, overlays.draw_bars(names, values, side=side)]), lines)
