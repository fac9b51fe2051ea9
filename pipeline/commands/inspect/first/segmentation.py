"""A first segmentation: the deconvolution network on VGG-A, an eighth as wide."""

from typing import Any

ARCHITECTURE = "deconvnet"
MODEL = {"variant": "vgg11", "width": 0.125, "min_channels": 16, "batch_norm": True}
MAX_SIDE = 128


def postprocess(_classes: int) -> dict[str, Any]:
    """Label maps at the images' size."""
    return {"resize": "bilinear"}
