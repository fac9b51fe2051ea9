"""Predictions of detection: boxes after the confidence threshold and non-maximum suppression; the threshold of those to be drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.boxes import in_images
from cnnkeras.metrics.detection import best_threshold, f1_over_thresholds
from cnnkeras.tasks import detection
from pipeline.formats.objects import read_objects
from pipeline.formats.packed import Split
from pipeline.formats.predictions import coco_results, from_coco, write_detections


def choose(
    outputs: np.ndarray, split: Split, classes: Sequence[str], settings: Mapping[str, Any], frames: np.ndarray | None
) -> tuple[dict[str, float], dict[str, Any]]:
    """The `display_threshold` of the best F1; arguments as `pipeline.stages.postprocess` describes.

    Raises:
        ValueError: The split has no objects to be found.
    """
    objects = read_objects(split)
    if not (~objects.is_uncounted).any():
        raise ValueError(
            "display_threshold: expected objects in the validation split to choose it by; received: none. Give a number"
        )
    detections, _ = detection.postprocess(outputs, len(classes), **{**settings, "display_threshold": 0.0})
    detections = in_images(detections, frames)
    # Boxes and scores as they are measured: cut at the image's edges and rounded.
    detections = from_coco(coco_results(detections, np.asarray(split["sizes"])))
    shown = detection.displayed(detections, display_threshold=0.0, display_nms_iou=settings.get("display_nms_iou"))
    f1, *_ = f1_over_thresholds(shown, objects, classes=len(classes))
    threshold = best_threshold(f1)
    facts = {"by": "F1", "f1": round(float(np.nanmax(f1)), 6), "split": "validation", "images": len(split)}
    return {"display_threshold": threshold}, facts


def write(
    outputs: np.ndarray,
    split: Split,
    classes: Sequence[str],
    settings: Mapping[str, Any],
    folder: Path,
    frames: np.ndarray | None,
) -> str:
    """Write the predictions of grids of boxes, float (N, S, S, C + 5B), the outputs of the architecture `yolo`."""
    detections = in_images(detection.postprocess(outputs, len(classes), **settings)[0], frames)
    write_detections(folder, detections, ids=split["ids"], sizes=np.asarray(split["sizes"]), classes=classes)
    return f"{len(detections):,} boxes in {len(split):,} images"
