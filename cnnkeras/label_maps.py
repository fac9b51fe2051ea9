"""Label maps: a class for every pixel, uint8 (H, W), as arrays and as PNG files in PASCAL VOC's colours.

0 is the background, 1.. are the classes, 255 is void.
"""

import io
from collections.abc import Iterator, Sequence
from typing import Literal

import lazy_loader
import numpy as np

cv2 = lazy_loader.load("cv2")  # readers of data take `VOID` from here, which needs no OpenCV

VOID = 255  # the label of PASCAL VOC's object borders: neither trained on nor evaluated

Resize = Literal["bilinear", "nearest"]


def resize_scores(scores: np.ndarray, size: Sequence[int], *, resize: Resize) -> Iterator[np.ndarray]:
    """Score maps at another size, class by class, so that no more than one of them is in memory at that size.

    Args:
        scores: float (H, W, classes).
        size: Height and width to resize to, in pixels.
        resize: How scores between the pixels are found; pixel centres lie at half-integers.

    Yields:
        float32 (height, width), for each class.
    """
    interpolation = {"bilinear": cv2.INTER_LINEAR, "nearest": cv2.INTER_NEAREST_EXACT}[resize]
    height, width = (int(side) for side in size)
    for label in range(scores.shape[-1]):
        yield cv2.resize(np.asarray(scores[..., label], np.float32), (width, height), interpolation=interpolation)


def in_frame(scores: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """The part of score maps (H, W, classes) in a frame, (4,) left, top, right and bottom as fractions of their sides, in whole pixels."""
    height, width = scores.shape[:2]
    left, top, right, bottom = np.rint(np.asarray(frame) * [width, height, width, height]).astype(int)
    top, left = min(top, height - 1), min(left, width - 1)
    return scores[top : max(bottom, top + 1), left : max(right, left + 1)]


def resize_labels(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A label map stretched to (height, width): each pixel takes the label at its centre."""
    return cv2.resize(labels, tuple(size)[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


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
    from PIL import Image

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
    from cnnkeras import images  # a network, whose loss takes `VOID` from here, is loaded without Pillow

    return images.read_labels(data).pixels
