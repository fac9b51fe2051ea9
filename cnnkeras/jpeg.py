"""JPEG files as packed images are kept: equal pixels give equal bytes, and a file is decoded at a fraction of its sides where that is enough."""

import lazy_loader
import numpy as np

cv2 = lazy_loader.load("cv2")

REDUCTIONS = (8, 4, 2)  # at which decoding is faster

Size = tuple[int, int]  # height and width


def encode_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """The JPEG file, uint8 (n,), of an image (H, W, 3) in RGB, its colours at half the resolution (4:2:0)."""
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]


def decode_jpeg(file: np.ndarray, reduction: int = 1) -> np.ndarray | None:
    """The image (H, W, 3) in RGB of a JPEG file; nothing if it is none.

    Args:
        file: uint8 (n,).
        reduction: 2, 4 or 8: the image in a half, a quarter or an eighth of its rows and columns, rounded up. The file's 8 x 8 blocks are
            then transformed at that size (libjpeg's scaled decoding), which averages them.
    """
    # IMREAD_COLOR_RGB decides on the channels, the other flag on the size.
    reduced = {
        1: 0,
        2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
        4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
        8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    }[reduction]
    return cv2.imdecode(np.asarray(file), cv2.IMREAD_COLOR_RGB | reduced) if len(file) else None


def reduction(size: Size, least: Size | None) -> int:
    """By how much a file of an image of `size` may be reduced, so that `least` is left; 1 if it may not, or without `least`."""
    # OpenCV rounds the sides up.
    enough = (
        by for by in REDUCTIONS if least and all(-(-side // by) >= few for side, few in zip(size, least, strict=True))
    )
    return next(enough, 1)
