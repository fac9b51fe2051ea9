"""Image files decoded: of published data, of what a packed dataset keeps of them, and of the user's own."""

import io
import re

import numpy as np
from PIL import Image, ImageOps

from pipeline.runtime.errors import InputError

_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")


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
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, pixels = image.mode, np.array((_as_seen(image) if as_seen else image).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{name}: expected a whole image; received: {said(error)}") from error
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
