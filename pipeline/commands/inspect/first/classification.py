"""A first classifier: VGG-A, a quarter as wide."""

from typing import Any

ARCHITECTURE = "vgg"
MODEL = {"variant": "A", "width": 0.25, "min_channels": 16, "dropout": 0.5, "batch_norm": True}
MAX_SIDE = 128
_TOP = 5


def postprocess(classes: int) -> dict[str, Any]:
    """The classes of the highest probabilities, five at most."""
    return {"top_k": min(_TOP, classes)}
