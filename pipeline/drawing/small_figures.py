"""Small copies of figures, for pages that show them where the figures themselves are not: in few colours, without a loss of sharpness."""

import hashlib
from pathlib import Path

from PIL import Image, PngImagePlugin

WIDTH = 1000  # pixels at most: the column of text of a hosting page is narrower
COLORS = 256  # a palette: a byte for each pixel before compression
_OF = "figure"  # text within a copy: digest of the figure


def read(figure: Path) -> Image.Image:
    """A figure, in RGB.

    Raises:
        OSError: The file is no image.
    """
    with Image.open(figure) as image:
        return image.convert("RGB")


def write(figure: Image.Image, file: Path) -> None:
    """Write the small copy of a figure as PNG: at most `WIDTH` wide, with a palette of `COLORS`. Equal figures have equal copies."""
    small = figure
    if figure.width > WIDTH:
        small = figure.resize((WIDTH, round(figure.height * WIDTH / figure.width)), Image.Resampling.LANCZOS)
    text = PngImagePlugin.PngInfo()
    text.add_text(_OF, _digest(figure))
    small = small.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(file, format="PNG", optimize=True, pnginfo=text)


def is_copy(file: Path, figure: Image.Image) -> bool:
    """Whether a file is the whole small copy of a figure, however its bytes were compressed: without choosing the colours, which takes long."""
    try:
        with Image.open(file) as there:
            there.load()
            return there.info.get(_OF) == _digest(figure)
    except (OSError, SyntaxError):  # the second is how Pillow reports a damaged part of a PNG file
        return False


def _digest(figure: Image.Image) -> str:
    """SHA-256 of a figure's width, height and pixels."""
    return hashlib.sha256(f"{figure.width} {figure.height} ".encode() + figure.tobytes()).hexdigest()
