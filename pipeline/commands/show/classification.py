"""Drawings of classification: bars of the most probable classes under the image or the signal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.tasks import classification
from pipeline.commands.show import SIDES, Shown
from pipeline.drawing import overlays
from pipeline.formats.predictions import SCORE_DECIMALS

COLUMNS = ("rank", "class", "probability")


def show(
    image: np.ndarray,
    outputs: np.ndarray,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    _frame: np.ndarray | None = None,
) -> Shown:
    """Draw an image (H, W, 3) or a signal (L, 1) over bars of its most probable classes; `outputs` are logits (C,)."""
    (probabilities,), (best,) = classification.postprocess(outputs[None], **settings)
    names, values = [classes[label] for label in best], probabilities[best]
    side = SIDES[0]
    drawn = overlays.draw_signal(image, side=side) if image.ndim == 2 else overlays.fit(image, side)
    page = np.full((drawn.shape[0], side, 3), 255, np.uint8)
    left = (side - drawn.shape[1]) // 2
    page[:, left : left + drawn.shape[1]] = drawn
    lines = [f"{name} {value:.3f}" for name, value in zip(names, values, strict=True)]
    rows = [
        {"rank": rank, "class": name, "probability": round(float(value), SCORE_DECIMALS)}
        for rank, (name, value) in enumerate(zip(names, values, strict=True), 1)
    ]
    return Shown(np.vstack([page, overlays.draw_bars(names, values, side=side)]), lines, rows)
