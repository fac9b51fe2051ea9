"""The annotated objects of a packed split."""

import numpy as np

from cnnkeras.boxes import Objects
from pipeline.formats.packed import Split


def read_objects(split: Split) -> Objects:
    """All objects of a split that has originals, by image, in pixels of the original images."""
    boxes = split["original_boxes"]
    return Objects(
        images=np.repeat(np.arange(len(split)), np.diff(boxes.offsets)),
        labels=np.asarray(split["box_labels"].values),
        boxes=np.asarray(boxes.values).reshape(-1, 4),
        difficult=np.asarray(split["difficult"].values),
        crowd=np.asarray(split["crowd"].values) if "crowd" in split else None,
    )
