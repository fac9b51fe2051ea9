"""Segmentation: every pixel has a class. The model's outputs are C + 1 scores for each pixel, background first, before softmax."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import lazy_loader
import numpy as np

from cnnkeras import objectives
from cnnkeras.label_maps import VOID, Resize, resize_scores
from cnnkeras.protocols.label_inference import infer_greedily

keras = lazy_loader.load("keras")

EXAMPLES = ("images", "objects", "proposals")
# A score map of 224 x 224 pixels x 21 classes takes 4 MB in float32; float16 takes half of that and keeps the order of the scores.
OUTPUT_DTYPE = np.dtype(np.float16)
ANNOTATIONS = ("masks",)
METRICS = ("pixel_accuracy",)
PROTOCOL = "regions"
COMMON_KEYS = ("source", "task", "examples", "size", "shorter_side", "max_shorter_side")
soft_targets = None  # a mixture of two label maps has no class for a pixel


def encode_targets(masks: np.ndarray) -> np.ndarray:
    """The targets of the loss, uint8 (n, H, W): the label maps, unchanged (0 background, 1.. classes, 255 void)."""
    return np.asarray(masks, np.uint8)


def encode_examples(annotations: Mapping[str, Sequence[np.ndarray]], **_grid: object) -> np.ndarray:
    """The targets of some examples, uint8 (n, H, W): the column `masks`; a grid's seeds, shape and classes are not used."""
    return encode_targets(annotations["masks"])


def tiny_batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets (4, 5, 6), some of them void, and scores (4, 5, 6, 3) to try a loss by."""
    masks = generator.choice(np.array([0, 1, 2, VOID]), (4, 5, 6))
    return encode_targets(masks), generator.normal(size=(4, 5, 6, 3)).astype(np.float32)


def tiny_predictions(generator: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    """Predicted and annotated label maps of four images, some pixels of the latter void, and the number of classes, to try a metric by."""
    masks, scores = tiny_batch(generator)
    return [decode_outputs(score, score.shape[:2]) for score in scores], list(masks), scores.shape[-1] - 1


def build_metrics() -> "list[keras.metrics.Metric]":
    """`pixel_accuracy`: fraction of the pixels, void ones left out, with the highest score at their class."""
    return [objectives.ValidPixelAccuracy()]


def decode_outputs(scores: np.ndarray, size: Sequence[int], *, resize: Resize = "bilinear") -> np.ndarray:
    """Label map of one image: the scores are resized, then each pixel takes the class of its highest score.

    Args:
        scores: float (H, W, C + 1), at the size of the model's output.
        size: Height and width of the label map in pixels.
        resize: Interpolation between the scores; pixel centres are at half-integers.

    Returns:
        uint8 (height, width): 0 background, 1.. classes; of equal scores the lower class.
    """
    shape = tuple(int(side) for side in size)
    best, labels = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.uint8)
    # One class at a time: needs a few maps of the image's size instead of C + 1, and is faster than arg-max over a short axis.
    for label, score in enumerate(resize_scores(scores, shape, resize=resize)):
        labels[score > best] = label
        np.maximum(best, score, out=best)
    return labels


def postprocess(
    scores: np.ndarray,
    size: Sequence[int],
    *,
    resize: Resize = "bilinear",
    greedy: Annotated[Mapping[str, float], infer_greedily] | None = None,
) -> np.ndarray:
    """Label map of one image, by arg-max of the scores or by greedy inference.

    Args:
        scores: float (H, W, C + 1), at any size.
        size: Height and width of the label map in pixels.
        resize: As for `decode_outputs`.
        greedy: Arguments of `infer_greedily`, which labels one class at a time; None: each pixel takes the class of its highest score.

    Returns:
        uint8 (height, width): 0 background, 1.. classes.
    """
    if greedy is None:
        return decode_outputs(scores, size, resize=resize)
    return infer_greedily(np.stack([*resize_scores(scores, size, resize=resize)], axis=-1), **greedy)


def max_settings(*, classes: int) -> dict[str, int]:  # noqa: ARG001 - as in the other tasks
    """The largest meaningful values of settings of `postprocess` that depend on the classes: there are none."""
    return {}


def describe_outputs(shape: tuple[int, ...], classes: int) -> dict[str, int]:  # noqa: ARG001 - as in the other tasks
    """Facts about outputs of this shape, to be stored with them: none."""
    return {}
