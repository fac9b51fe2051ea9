"""The test protocols of the papers' classifiers: which parts of an image a model sees.

An image is first rescaled, its sides in proportion, so that the shorter one has `scale` pixels; several scales give several
times the views. Every view gives logits of its own, whose posteriors are averaged (`posteriors.average_views`).

Each public function is a view, and its arguments are the view's settings in params.yaml.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Gt, MinLen

from cnnkeras.resizing import resize, with_shorter_side

Size = tuple[int, int]  # height and width
Corners = list[tuple[int, int]]  # top and left of each crop
Scales = Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)]


@dataclass(frozen=True)
class View:
    """A test protocol.

    Attributes:
        scales: Lengths of the image's shorter side in pixels, from the model's input size on.
        mirrored: Whether every view is seen a second time, mirrored.
        places: Views at one scale, mirror images not counted.
        corners: From the sizes of an image and of a crop to where the crops are; none: the whole image is seen.
        what: A phrase that says what is seen; `{size}` stands for the size of a crop.
    """

    scales: tuple[int, ...]
    mirrored: bool
    places: int
    corners: Callable[[Size, Size], Corners] | None
    what: str

    @property
    def count(self) -> int:
        """Views of an image."""
        return self.places * len(self.scales) * (1 + self.mirrored)

    @property
    def is_dense(self) -> bool:
        """Whether whole images are seen, by the fully convolutional model."""
        return self.corners is None

    def require(self, size: Size) -> None:
        """Refuse scales at which an image would be smaller than a crop of this size.

        Raises:
            ValueError: A scale is too small.
        """
        if min(self.scales) < max(size):
            raise ValueError(
                f"expected shorter sides of at least {max(size)} pixels, the size of the dataset's inputs; "
                f"received: {min(self.scales)}"
            )

    def crops(self, image: np.ndarray, size: Size) -> np.ndarray:
        """The crops of an image: uint8 (n, height, width, 3); by scale, then by place row by row, the mirror images last.

        Args:
            image: uint8 (H, W, 3).
            size: Height and width of the model's input.
        """
        crops = []
        for scale in self.scales:
            scaled = _rescale(image, scale)
            plain = [
                scaled[top : top + size[0], left : left + size[1]] for top, left in self.corners(scaled.shape[:2], size)
            ]
            crops += plain + ([crop[:, ::-1] for crop in plain] if self.mirrored else [])
        return np.stack(crops)

    def whole_images(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """What a dense view sees: for each scale the whole image (1 or 2, H, W, 3), with its mirror image if asked for."""
        for scale in self.scales:
            scaled = _rescale(image, scale)
            yield np.stack([scaled, scaled[:, ::-1]] if self.mirrored else [scaled])

    def describe(self, size: Size) -> str:
        """A phrase that says what is seen, to stand beside the numbers."""
        what, sides = self.what.format(size="x".join(map(str, size))), ", ".join(map(str, self.scales))
        return f"{what}, {'each with its mirror image, ' if self.mirrored else ''}shorter side {sides}"


def centre_crop(*, scales: Scales, mirrored: bool = False) -> View:
    """One crop in the middle, and its mirror image if `mirrored`."""
    return View(scales, mirrored, 1, _centre, "centre crop of {size}")


def ten_patches(*, scales: Scales) -> View:
    """The corners and the centre of the central square, and their mirror images (Krizhevsky et al. 2012, section 4.1)."""
    what = "five patches of {size}, the corners and the centre of the central square"
    return View(scales, True, 5, _square, what)


def crop_grid(*, scales: Scales, places: Annotated[int, Gt(0)] = 5, mirrored: bool = True) -> View:
    """`places` x `places` crops spread evenly over the whole image, and their mirror images if `mirrored`.

    With the defaults 50 a scale (Simonyan & Zisserman 2014, section 4.3; Szegedy et al. 2014).
    """

    def corners(shape: Size, size: Size) -> Corners:
        rows, columns = (
            np.linspace(0, whole - part, places).round().astype(int).tolist()
            for whole, part in zip(shape, size, strict=True)
        )
        return [(row, column) for row in rows for column in columns]

    return View(scales, mirrored, places**2, corners, f"{places} x {places} crops of {{size}}")


def dense(*, scales: Scales, mirrored: bool = True) -> View:
    """The whole image through the fully convolutional model, its map of scores averaged, and the mirror image if `mirrored`.

    (Simonyan & Zisserman 2014, section 3.2)
    """
    return View(scales, mirrored, 1, None, "dense evaluation of the whole image")


def _rescale(image: np.ndarray, shorter: int) -> np.ndarray:
    """An image (H, W, 3) with its shorter side at so many pixels, its sides in proportion."""
    return resize(image, with_shorter_side(image.shape[:2], shorter))


def _centre(shape: Size, size: Size) -> Corners:
    return [((shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2)]


def _square(shape: Size, size: Size) -> Corners:
    """Corners and centre of the central square: top left, top right, bottom left, bottom right, centre."""
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    rows, columns = (top, top + side - size[0]), (left, left + side - size[1])
    return [*((row, column) for row in rows for column in columns), *_centre(shape, size)]
