"""Predictions of detection: boxes after the confidence threshold and non-maximum suppression."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.tasks import detection
from pipeline.formats.packed import Split
from pipeline.formats.predictions import write_detections


def write(outputs: np.ndarray, split: Split, classes: Sequence[str], settings: Mapping[str, Any], folder: Path) -> None:
    """Write the predictions of grids of boxes, float (N, S, S, C + 5B), the outputs of the architecture `yolo`."""
    detections, _ = detection.postprocess(outputs, len(classes), **settings)
    write_detections(folder, detections, ids=split["ids"], sizes=np.asarray(split["sizes"]), classes=classes)
