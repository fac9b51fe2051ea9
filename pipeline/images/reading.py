"""Image files opened and decoded: published ones, those that a packed dataset keeps, the user's own."""

import contextlib
import io
import re
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from pipeline.runtime.errors import InputError

_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")


@contextlib.contextmanager
def opened(name: str, content: bytes, *, expected: str = "an image") -> Iterator[Image.Image]:
    """An image file, for as long as it is looked at; Pillow decodes its pixels when they are asked for.

    Args:
        name: What messages call it.
        content: The file.
        expected: What it should be.

    Raises:
        InputError: It is none, or damaged.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: expected {expected}; received: {said(error)}") from error


def size(name: str, content: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the image's file: annotations state them wrongly in places, or not at all.

    Raises:
        InputError: It is no image.
    """
    with opened(name, content) as image:
        return image.size


def read_image(file: bytes | np.ndarray, name: str, *, as_seen: bool = False) -> np.ndarray:
    """The image of a file, uint8 RGB (H, W, 3); grey, palette and CMYK become RGB.

    Args:
        file: Its content: bytes, or uint8 (n,) as `originals` of a packed dataset holds it.
        name: What messages call it.
        as_seen: As image viewers show it: upright by its EXIF tag, on white where it is transparent, 16 bits a channel as 8. Otherwise as
            stored: not turned, whatever lies under transparency, and only of 8 bits a channel.

    Raises:
        InputError: It is no image, damaged, or not of 8 bits a channel.
    """
    content = file if isinstance(file, bytes) else np.asarray(file).tobytes()
    with opened(name, content, expected="a whole image") as image:
        mode, pixels = image.mode, np.array((_as_seen(image) if as_seen else image).convert("RGB"))
    if mode[0] in "IF" and not as_seen:  # Pillow would cut such values off at 255
        raise InputError(f"{name}: expected an image of 8 bits a channel; received: mode {mode}")
    return pixels


def _as_seen(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    if upright.mode.startswith("I;16"):  # Pillow would cut at 255
        upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    return upright


def said(error: Exception) -> str:
    """What Pillow says of a broken image, without the address of the object that it was read from."""
    return _ADDRESS.sub("", str(error))
