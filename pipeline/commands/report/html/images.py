"""Images as the page shows them: links to files beside it, with their sizes, so that nothing moves while they load."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image as Picture

from pipeline.runtime import paths


@dataclass(frozen=True)
class Image:
    """An image file.

    Attributes:
        link: Its address, relative to the page.
        alt: What it shows, in words.
        width: In pixels.
        height: In pixels.
    """

    link: str
    alt: str
    width: int
    height: int


def image(alt: str, *files: Path) -> Image | None:
    """The image in the first of some files that is one: a figure, or its small copy; None if none is."""
    for file in files:
        with suppress(OSError), Picture.open(file) as picture:
            width, height = picture.size
            return Image(quote(os.path.relpath(file, paths.html_report().parent)), alt, width, height)
    return None
