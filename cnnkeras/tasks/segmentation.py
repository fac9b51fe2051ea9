"""Segmentation: a class for every pixel. The outputs are C + 1 scores a pixel, background first, before softmax."""

import io
from typing import Annotated, Literal

import cv2
import lazy_loader
import numpy as np
from annotated_types import Gt, Le
from PIL import Image

from cnnkeras import losses

keras = lazy_loader.load("keras")

VOID = 255  # the label of PASCAL VOC's object borders: neither trained on nor evaluated


def encode_targets(masks: np.ndarray) -> np.ndarray:
    """Label maps as the loss takes them: uint8 (n, H, W), as they are: 0 background, 1.. classes, 255 void."""
    return np.asarray(masks, np.uint8)


def build_loss(*, background_weight: Annotated[float, Gt(0), Le(1)] = 1.0) -> "keras.losses.Loss":
    """`SegmentationCrossEntropy`: softmax cross-entropy over the batch's pixels that are not void.

    Args:
        background_weight: Weight of a background pixel where an object's has 1; 1 in the paper.
    """
    return losses.SegmentationCrossEntropy(background_weight)


def build_metrics() -> "list[keras.metrics.Metric]":
    """`pixel_accuracy`: fraction of the pixels that are not void."""
    return [losses.ValidPixelAccuracy()]


def decode_outputs(
    scores: np.ndarray, size: tuple[int, int], *, resize: Literal["bilinear", "nearest"] = "bilinear"
) -> np.ndarray:
    """Label map of one image at its own size: the scores are resized, then each pixel takes its highest.

    Args:
        scores: float (H, W, C + 1), at the network's size.
        size: Height and width of the label map in pixels.
        resize: How scores between the network's pixels are found; pixel centres lie at half-integers.

    Returns:
        uint8 (height, width): 0 background, 1.. classes; of equal scores the lower class.
    """
    interpolation = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST_EXACT}[resize]
    height, width = (int(side) for side in size)
    best = np.full((height, width), -np.inf, np.float32)
    labels = np.zeros((height, width), np.uint8)
    # A class at a time: a few maps of the image's size instead of C + 1, and faster than arg-max over a short last
    # axis.
    for label in range(scores.shape[-1]):
        score = cv2.resize(np.asarray(scores[..., label], np.float32), (width, height), interpolation=interpolation)
        labels[score > best] = label
        np.maximum(best, score, out=best)
    return labels


def palette() -> np.ndarray:
    """PASCAL VOC's colour map: uint8 (256, 3) RGB.

    Bits 0, 1 and 2 of a label, then 3, 4 and 5, ... are the highest, next highest, ... bits of red, green and blue
    (VOClabelcolormap.m of the devkit): label 1 is (128, 0, 0), 255 is (224, 224, 192).
    """
    labels = np.arange(256)
    colors = np.zeros((256, 3), np.uint8)
    for level in range(8):
        for channel in range(3):
            bit = (labels >> (3 * level + channel)) & 1
            colors[:, channel] |= (bit << (7 - level)).astype(np.uint8)
    return colors


def encode_png(labels: np.ndarray) -> bytes:
    """A label map, uint8 (H, W), as a palette PNG file in PASCAL VOC's colours; equal maps give equal bytes."""
    image = Image.fromarray(np.ascontiguousarray(labels, np.uint8), mode="L")
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """A label map, uint8 (H, W), from a palette or grayscale PNG file.

    Raises:
        ValueError: The file is no image, or its pixels are no labels (RGB).
    """
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except OSError as error:
        raise ValueError(f"expected a PNG file of labels; received: {error}") from error
    if image.mode not in ("P", "L"):
        raise ValueError(f"expected a palette or grayscale PNG; received: mode {image.mode}. Save labels, not colours")
    return np.array(image)
