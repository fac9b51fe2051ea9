"""Small copies of figures, for pages that show them where the figures themselves are not: in few colours, without a loss of sharpness."""

from pathlib import Path

from PIL import Image

WIDTH = 1000  # pixels at most: the column of text of a hosting page is narrower
COLORS = 256  # a palette: a byte for each pixel before compression


def read(figure: Path) -> Image.Image:
    """The small copy of a figure: at most `WIDTH` wide, with a palette of `COLORS`. Equal figures have equal copies.

    Raises:
        OSError: The file is no image.
    """
    with Image.open(figure) as image:
        small = image.convert("RGB")
    if small.width > WIDTH:
        small = small.resize((WIDTH, round(small.height * WIDTH / small.width)), Image.Resampling.LANCZOS)
    return small.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def is_shown(small: Image.Image, file: Path) -> bool:
    """Whether a file shows a small copy already, however its bytes were compressed."""
    try:
        with Image.open(file) as there:
            return there.size == small.size and there.convert("RGB").tobytes() == small.convert("RGB").tobytes()
    except OSError:
        return False
