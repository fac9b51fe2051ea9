"""Predictions of classification: class probabilities, and the names of the most probable classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.tasks import classification
from pipeline.formats.packed import Split
from pipeline.formats.predictions import write_probabilities


def write(
    outputs: np.ndarray,
    split: Split,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    folder: Path,
    _frames: np.ndarray | None,
) -> str:
    """Write the predictions of logits, float (N, C); `pipeline.stages.postprocess` describes the arguments."""
    probabilities, best = classification.postprocess(outputs, **settings)
    write_probabilities(folder, probabilities, best, ids=split["ids"], classes=classes)
    return f"probabilities for {len(probabilities):,} examples"
