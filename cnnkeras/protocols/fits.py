"""How an image of any size becomes an input of a model, where no augmentation does it: stretched, with borders, or its centre.

An image is scaled, placed on the input, and what lies beyond is left out or filled. Boxes and label maps go along, and where the whole
image is seen, what is found in the input can be said of the image again (`frame`).

Each public function is a fit, and its arguments are the fit's settings in params.yaml.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from cnnkeras.label_maps import VOID, resize_labels
from cnnkeras.protocols.windows import window
from cnnkeras.resizing import resize, with_shorter_side

Size = tuple[int, int]  # height and width
ONCE = "each image is seen once: "  # begins the description of a fit


@dataclass(frozen=True)
class Fit:
    """How an image becomes an input.

    Attributes:
        scaled: From the sizes of an image and of the input to the size that the image is scaled to.
        is_whole: Whether the whole image is seen.
        fill: Grey value, 0..255, of what the image does not cover.
        what: A phrase that says what is seen; `{size}` stands for the size of the input.
        max_side: The longest side that an input may have; None: any.
    """

    scaled: Callable[[Size, Size], Size]
    is_whole: bool
    fill: int
    what: str
    max_side: int | None = None

    def require(self, size: Size) -> None:
        """Refuse an input that is larger than the scaled image.

        Raises:
            ValueError: It is.
        """
        if self.max_side is not None and self.max_side < max(size):
            raise ValueError(
                f"expected a shorter side of at least {max(size)} pixels, the size of the model's inputs; received: {self.max_side}"
            )

    def image(self, image: np.ndarray, size: Size, shape: Size | None = None) -> np.ndarray:
        """The input, uint8 (height, width, 3), of an image (H, W, 3).

        Args:
            image: The image, or the same in fewer pixels.
            size: Height and width of the input.
            shape: Height and width of the image, if `image` has fewer pixels.
        """
        scaled = self.scaled(shape or image.shape[:2], size)
        return window(resize(image, scaled), _window(scaled, size), self.fill)

    def labels(self, labels: np.ndarray, size: Size) -> np.ndarray:
        """The label map, uint8 (height, width), of the input of an image with the label map (H, W); void where there is no image."""
        scaled = self.scaled(labels.shape, size)
        return window(resize_labels(labels, scaled), _window(scaled, size), VOID)

    def boxes(self, boxes: np.ndarray, shape: Size, size: Size) -> np.ndarray:
        """Boxes (n, 4), as fractions of an image of `shape`, as fractions of its input."""
        x0, y0, x1, y1 = self.frame(shape, size)
        return (boxes * [x1 - x0, y1 - y0, x1 - x0, y1 - y0] + [x0, y0, x0, y0]).astype(boxes.dtype)

    def frame(self, shape: Size, size: Size) -> np.ndarray:
        """Where the image lies in the input: float64 (4,), left, top, right and bottom as fractions of the input's sides."""
        scaled = self.scaled(shape, size)
        left, top, _, _ = _window(scaled, size)
        corners = np.array([-left, -top, scaled[1] - left, scaled[0] - top], np.float64)
        return corners / [size[1], size[0], size[1], size[0]]

    def describe(self, size: Size) -> str:
        """A sentence that says what is seen, to stand beside the numbers."""
        return ONCE + self.what.format(size="x".join(map(str, size)))


def stretch() -> Fit:
    """The whole image, each side scaled on its own."""
    return Fit(lambda _shape, size: size, True, 0, "the whole image, stretched to {size}")


def letterbox(*, fill: Annotated[int, Ge(0), Le(255)] = 127) -> Fit:
    """The whole image in the middle, its sides in proportion; the borders have the grey value `fill`, and are void in label maps."""

    def scaled(shape: Size, size: Size) -> Size:
        factor = min(size[0] / shape[0], size[1] / shape[1])
        return tuple(min(most, max(1, round(side * factor))) for side, most in zip(shape, size, strict=True))

    return Fit(scaled, True, fill, "the whole image with its sides in proportion, with borders to {size}")


def centre(*, shorter_side: Annotated[int, Gt(0)]) -> Fit:
    """The middle of the image, after its shorter side was scaled to `shorter_side` pixels, its sides in proportion."""

    def scaled(shape: Size, _size: Size) -> Size:
        return with_shorter_side(shape, shorter_side)

    return Fit(
        scaled, False, 0, f"the centre {{size}} of the image with its shorter side at {shorter_side}", shorter_side
    )


def _window(scaled: Size, size: Size) -> tuple[int, int, int, int]:
    """The part of the scaled image that the input shows, left, top, right, bottom in pixels: it may go beyond the image."""
    # Of an odd number of pixels that are cut off or filled, one more is at the bottom and on the right.
    top, left = (int((side - shown) / 2) for side, shown in zip(scaled, size, strict=True))
    return left, top, left + size[1], top + size[0]
