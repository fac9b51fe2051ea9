"""Image files read as everywhere (`cnnkeras.images`), with their names in messages: published ones, those packed, the user's own."""

import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from cnnkeras import images
from pipeline.runtime.errors import InputError

Read = TypeVar("Read")
File = bytes | np.ndarray  # its content: bytes, or uint8 (n,) as `originals` of a packed dataset holds it


def read_image(file: File, name: str) -> np.ndarray:
    """The image of a file, uint8 RGB (H, W, 3), upright.

    Args:
        file: Its content.
        name: What messages call it.

    Raises:
        InputError: It is no image, damaged, too large, or of more than 16 bits a channel.
    """
    return read_upright(file, name).pixels


def read_upright(file: File, name: str) -> images.Upright:
    """The image of a file, with the EXIF tag that turned it.

    Raises:
        InputError: As of `read_image`.
    """
    return _named(images.read, file, name)


def read_labels(file: File, name: str) -> np.ndarray:
    """The label map of a file, uint8 (H, W), upright.

    Raises:
        InputError: It is no image, damaged, too large, or its pixels are no labels.
    """
    return _named(images.read_labels, file, name).pixels


def read_values(file: File, name: str) -> np.ndarray:
    """The label map of a file with values of any size, int32 (H, W), upright.

    Raises:
        InputError: It is no image, damaged, too large, or its pixels are colours or no whole numbers.
    """
    return _named(images.read_values, file, name).pixels


def read_colors(file: File, name: str) -> np.ndarray:
    """The label map of a file of colours as the numbers of their hexadecimal digits, int32 (H, W), upright: #800000 is 8388608.

    Raises:
        InputError: It is no image, damaged, too large, or of more than 8 bits a channel.
    """
    return _packed(_named(images.read_colors, file, name).pixels)


def read_array(file: bytes, name: str, *, colors: bool) -> np.ndarray:
    """The label map of a file of NumPy's format (.npy): whole numbers (H, W), or `colors` (H, W, 3) as `read_colors` has them; int32 (H, W).

    Raises:
        InputError: It is no such file, or an array of another shape or with other numbers.
    """
    expected = f"an array (height, width{', 3' if colors else ''}) of whole numbers"
    try:
        values = np.load(io.BytesIO(file), allow_pickle=False)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            raise ValueError(f"{getattr(values, 'dtype', 'several arrays')}")
        values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 and not colors else values
        if values.ndim != 2 + colors or (colors and values.shape[2] != 3) or not values.size:
            raise ValueError(f"{values.dtype} {values.shape}")
        numbers = images.whole_numbers(values)
        if colors and (numbers.min() < 0 or numbers.max() > 255):
            raise ValueError(f"colours from {numbers.min()} to {numbers.max()}")
    except (ValueError, OSError, EOFError, MemoryError) as error:
        raise InputError(f"{name}: expected {expected}; received: {error}") from error
    return _packed(numbers) if colors else numbers


def _packed(colors: np.ndarray) -> np.ndarray:
    return colors.astype(np.int32) @ np.array([2**16, 2**8, 1], np.int32)


def size(name: str, content: bytes) -> tuple[int, int]:
    """Width and height in pixels of an image as it is seen, from the image's file: for annotations that do not state them.

    Raises:
        InputError: It is no image.
    """
    return _named(images.size, content, name)


def another_size(name: str, stated: tuple[float, float], received: tuple[int, int]) -> InputError:
    """What an annotation is told that states another width and height than its image has."""
    turned = ", and no EXIF tag that turns it" if stated == received[::-1] else ""
    return InputError(
        f"{name}: expected an image of {stated[0]:g} x {stated[1]:g} pixels, as its annotation states; "
        f"received: {received[0]} x {received[1]}{turned}. If images were resized or turned, take the original ones, or annotations of these"
    )


def _named(read: Callable[[bytes], Read], file: File, name: str) -> Read:
    try:
        return read(file if isinstance(file, bytes) else np.asarray(file).tobytes())
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error
