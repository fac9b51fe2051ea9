"""A first detector: the small YOLO, from scratch."""

from typing import Any

ARCHITECTURE = "yolo"
MODEL = {"variant": "small", "width": 1.0, "boxes_per_cell": 2, "dropout": 0.0, "batch_norm": True}
MAX_SIDE = 224


def postprocess(_classes: int) -> dict[str, Any]:
    """All boxes are measured, the better ones drawn."""
    return {"confidence_threshold": 0.001, "nms_iou": 0.5, "display_threshold": 0.3}
