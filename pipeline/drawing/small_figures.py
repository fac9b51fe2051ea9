"""Small copies of figures, for pages that show them where the figures themselves are not: in few colours, without a loss of sharpness."""

import hashlib
from pathlib import Path

from PIL import Image, PngImagePlugin

from pipeline.runtime.replacing import replacing

WIDTH = 1000  # pixels at most: the column of text of a hosting page is narrower
COLORS = 256  # a palette: a byte for each pixel before compression
_OF = "figure"  # text within a copy: SHA-256 of the figure's width, height and pixels


def update(figure: Path, copy: Path) -> None:
    """Make a PNG file the small copy of a figure: at most `WIDTH` wide, with a palette of `COLORS`. Equal figures have equal copies.

    A copy of the same pixels stays as it is: to choose the colours takes long, and other versions of Pillow compress otherwise.

    Raises:
        OSError: The figure is no image.
    """
    with Image.open(figure) as image:
        large = image.convert("RGB")
    of = hashlib.sha256(f"{large.width} {large.height} ".encode() + large.tobytes()).hexdigest()
    if _is_copy(copy, of):
        return
    small = large
    if large.width > WIDTH:
        small = large.resize((WIDTH, round(large.height * WIDTH / large.width)), Image.Resampling.LANCZOS)
    small = small.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    text = PngImagePlugin.PngInfo()
    text.add_text(_OF, of)
    with replacing(copy) as partial:
        small.save(partial, format="PNG", optimize=True, pnginfo=text)


def _is_copy(file: Path, of: str) -> bool:
    """Whether a file is the whole copy of the figure with the digest `of`."""
    try:
        with Image.open(file) as there:
            there.load()
            return there.info.get(_OF) == of
    except (OSError, SyntaxError):  # the second is how Pillow reports a damaged part of a PNG file
        return False
