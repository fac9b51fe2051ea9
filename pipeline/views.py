"""The test protocols of the papers: which parts of an image a classifier sees.

    centre_crop  one crop in the middle
    ten_patches  the corners and the centre of the central square, and their mirror images (Krizhevsky et al. 2012, section 4.1)
    crop_grid    PLACES x PLACES crops spread evenly over the whole image, and their mirror images: 50 a scale
                 (Simonyan & Zisserman 2014, section 4.3; Szegedy et al. 2014)
    dense        the whole image through the fully convolutional network, its map of scores averaged, and the mirror image
                 (Simonyan & Zisserman 2014, section 3.2)

An image is first rescaled, its sides in proportion, so that the shorter one has `scale` pixels; several scales give several
times the views. Every view gives logits of its own: `predict` keeps them all, and `postprocess` averages the posteriors, first
within a protocol and then over the protocols, so that 150 crops weigh as much as one dense evaluation.
"""

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np

from pipeline.params import View


def rescale(image: np.ndarray, shorter: int) -> np.ndarray:
    """An image (H, W, 3) with its shorter side at so many pixels: averaged where it shrinks, bilinear where it grows."""
    height, width = image.shape[:2]
    factor = shorter / min(height, width)
    size = (max(shorter, round(width * factor)), max(shorter, round(height * factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def crops(view: View, image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The crops of a protocol: uint8 (n, height, width, 3); by scale, then by place row by row, the mirror images last.

    Args:
        view: Not `dense`, whose views are whole images.
        image: uint8 (H, W, 3).
        size: Height and width of the network's input.
    """
    found = []
    for scale in view.scales:
        scaled = rescale(image, scale)
        plain = [_cut(scaled, corner, size) for corner in _CORNERS[view.name](view, scaled.shape[:2], size)]
        found += plain + ([crop[:, ::-1] for crop in plain] if view.mirrored else [])
    return np.stack(found)


def dense_images(view: View, image: np.ndarray) -> Iterator[np.ndarray]:
    """What `dense` sees: for each scale the whole image (1 or 2, H, W, 3), with its mirror image if asked for."""
    for scale in view.scales:
        scaled = rescale(image, scale)
        yield np.stack([scaled, scaled[:, ::-1]] if view.mirrored else [scaled])


def _cut(image: np.ndarray, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    return image[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]


Corners = list[tuple[int, int]]  # top and left of each crop


def _centre(_view: View, shape: tuple[int, int], size: tuple[int, int]) -> Corners:
    return [((shape[0] - size[0]) // 2, (shape[1] - size[1]) // 2)]


def _square(_view: View, shape: tuple[int, int], size: tuple[int, int]) -> Corners:
    """Corners and centre of the central square: top left, top right, bottom left, bottom right, centre."""
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    rows, columns = (top, top + side - size[0]), (left, left + side - size[1])
    return [*((row, column) for row in rows for column in columns), *_centre(_view, shape, size)]


def _grid(view: View, shape: tuple[int, int], size: tuple[int, int]) -> Corners:
    rows, columns = (
        np.linspace(0, whole - part, view.places).round().astype(int).tolist()
        for whole, part in zip(shape, size, strict=True)
    )
    return [(row, column) for row in rows for column in columns]


_CORNERS: dict[str, Callable[[View, tuple[int, int], tuple[int, int]], Corners]] = {
    "centre_crop": _centre,
    "ten_patches": _square,
    "crop_grid": _grid,
}


def describe(views: Sequence[View], size: tuple[int, int]) -> list[str]:
    """A phrase for each protocol: what was seen, to stand beside the numbers."""
    return [f"{_DESCRIPTIONS[view.name](view, 'x'.join(map(str, size)))}{_scales(view)}" for view in views]


def _scales(view: View) -> str:
    sides = ", ".join(map(str, view.scales))
    return f", {'each with its mirror image, ' if view.mirrored else ''}shorter side {sides}"


_DESCRIPTIONS: dict[str, Callable[[View, str], str]] = {
    "centre_crop": lambda _view, size: f"centre crop of {size}",
    "ten_patches": lambda _view, size: f"five patches of {size}, the corners and the centre of the central square",
    "crop_grid": lambda view, size: f"{view.places} x {view.places} crops of {size}",
    "dense": lambda _view, _size: "dense evaluation of the whole image",
}
