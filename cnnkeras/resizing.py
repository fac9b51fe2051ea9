"""Images at another size: averaged along each side that shrinks, interpolated along each that grows."""

from collections.abc import Sequence

import lazy_loader
import numpy as np

cv2 = lazy_loader.load("cv2")  # what is checked against signatures of protocols needs no OpenCV


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image stretched to (height, width).

    Where both sides shrink, each new pixel is the mean of the area that it covers; where both grow, it is found bilinearly. Where one
    shrinks and the other grows, the first is averaged and then the second interpolated: OpenCV's INTER_AREA does neither there, it copies
    rows along the growing side.

    Args:
        image: uint8 or float32 (H, W) or (H, W, C).
        size: Height and width.
    """
    (height, width), (new_height, new_width) = image.shape[:2], size
    if not (new_height - height) * (new_width - width) < 0:
        shrinks = new_height < height or new_width < width
        return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    shrunk = min(height, new_height), min(width, new_width)
    # In float, so that values are rounded once.
    averaged = cv2.resize(image.astype(np.float32), shrunk[::-1], interpolation=cv2.INTER_AREA)
    stretched = cv2.resize(averaged, size[::-1], interpolation=cv2.INTER_LINEAR)
    return stretched if image.dtype == np.float32 else np.rint(stretched).astype(image.dtype)


def stored_size(
    shape: tuple[int, int],
    *,
    size: Sequence[int] | None = None,
    shorter_side: int | None = None,
    max_shorter_side: int | None = None,
) -> tuple[int, int]:
    """Height and width at which an image of `shape` (height, width) is packed: one of the three is given, as of a data set in params.yaml."""
    if size is not None:
        return tuple(size)
    return with_shorter_side(shape, shorter_side or min(max_shorter_side, *shape))


def with_shorter_side(shape: tuple[int, int], shorter: int) -> tuple[int, int]:
    """Height and width of an image of `shape` whose shorter side is scaled to so many pixels, its sides in proportion."""
    factor = shorter / min(shape)
    return tuple(max(shorter, round(side * factor)) for side in shape)
