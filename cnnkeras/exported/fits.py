"""The fits of `cnnkeras.protocols.fits` for sizes that are known only when a model runs, in `keras.ops`: a function of each name.

Each gives, of the sides of an image and of the input, the sides that the image is scaled to. The arithmetic is of whole numbers: where a
side comes to a half of a pixel, `protocols.fits` rounds by the last bit of a float, for one shape in some ten thousand to the other side.
"""

from collections.abc import Callable

from keras import ops

Sides = tuple  # height and width, numbers or int32 tensors


def stretch() -> Callable[[Sides, Sides], Sides]:
    """Each side on its own."""
    return lambda _shape, size: size


def letterbox(*, fill: int = 127) -> Callable[[Sides, Sides], Sides]:  # noqa: ARG001 - of what is around the image
    """The sides in proportion, all of the image within the input."""

    def scaled(shape, size):
        height = ops.minimum(size[0], ops.maximum(1, rounded(shape[0] * size[1], shape[1])))
        width = ops.minimum(size[1], ops.maximum(1, rounded(shape[1] * size[0], shape[0])))
        return height, width

    return scaled


def centre(*, shorter_side: int) -> Callable[[Sides, Sides], Sides]:
    """The sides in proportion, the shorter one of so many pixels."""
    return lambda shape, _size: with_shorter_side(shape, shorter_side)


def with_shorter_side(shape: Sides, shorter) -> Sides:
    """Sides in proportion whose shorter one has so many pixels: `cnnkeras.resizing.with_shorter_side`."""
    shortest = ops.minimum(*shape)
    return tuple(ops.maximum(shorter, rounded(side * shorter, shortest)) for side in shape)


def stored_size(shape: Sides, *, size=None, shorter_side=None, max_shorter_side=None) -> Sides:
    """Sides of a packed image: `cnnkeras.resizing.stored_size`."""
    if size is not None:
        return tuple(size)
    return with_shorter_side(shape, shorter_side or ops.minimum(max_shorter_side, ops.minimum(*shape)))


def rounded(dividend, divisor):
    """The quotient of whole numbers, 0 and up, rounded; a half to the even side, as Python and NumPy do."""
    return (2 * dividend + divisor - 1 + dividend // divisor % 2) // (2 * divisor)
