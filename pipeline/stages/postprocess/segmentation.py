"""Predictions of segmentation: a label map for each image, at the image's own size."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.label_maps import in_frame
from cnnkeras.tasks import segmentation
from pipeline.formats.columns import Ragged
from pipeline.formats.packed import Split
from pipeline.formats.predictions import write_label_map
from pipeline.runtime import progress


def write(
    outputs: np.ndarray | Ragged,
    split: Split,
    _classes: Sequence[str],
    settings: Mapping[str, Any],
    folder: Path,
    frames: np.ndarray | None,
) -> str:
    """Write the predictions of scores, background first: float (N, H, W, C + 1), or (height x width, C + 1) for each image at its own size."""
    with progress.bar("postprocess", len(outputs), unit="images") as bar:
        for number, (id, size) in enumerate(zip(split["ids"], split["sizes"], strict=True)):
            scores = outputs[number]
            scores = scores.reshape(*size, -1) if scores.ndim == 2 else scores
            if frames is not None:
                scores = in_frame(scores, frames[number])
            write_label_map(folder, str(id), segmentation.postprocess(scores, size, **settings))
            bar.update(number + 1)
    return f"label maps of {len(outputs):,} images"
