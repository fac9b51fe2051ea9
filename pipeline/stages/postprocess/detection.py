"""Boxes after the confidence threshold and non-maximum suppression."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.tasks import detection
from pipeline.formats.packed import Split
from pipeline.formats.predictions import write_detections


def write(outputs: np.ndarray, split: Split, classes: Sequence[str], settings: Mapping[str, Any], folder: Path) -> None:
    """Write the predictions of outputs as the architecture `yolo` gives them, float (N, S, S, C + 5B)."""
    measured, _ = detection.postprocess(outputs, len(classes), **settings)
    write_detections(folder, measured, ids=split["ids"], sizes=np.asarray(split["sizes"]), classes=classes)
