"""Image files read as everywhere (`cnnkeras.images`), with their names in messages: published ones, those packed, the user's own."""

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
