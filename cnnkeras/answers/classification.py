"""Of a classifier: the most probable classes, the most probable first."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnkeras.answers import SCORE_DECIMALS, Answer
from cnnkeras.tasks import classification

COLUMNS = {"rank": int, "class": str, "probability": float}
FILES = ()


def answer(
    outputs: np.ndarray,
    _shape: Sequence[int],
    classes: Sequence[str],
    settings: Mapping[str, Any],
    _frame: np.ndarray | None = None,
) -> Answer:
    """The classes of logits (C,); `cnnkeras.answers` describes the arguments."""
    (probabilities,), (best,) = classification.postprocess(outputs[None], **settings)
    return Answer(
        [
            {"rank": rank, "class": classes[label], "probability": round(float(probabilities[label]), SCORE_DECIMALS)}
            for rank, label in enumerate(best, 1)
        ]
    )
