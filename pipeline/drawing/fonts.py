"""Letters of any script in figures: which font has them, and what is written where none has.

All figures use DejaVu Sans, which comes with Matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic and others. For what it lacks (Chinese, Japanese, Korean, Devanagari,
...) the fonts of the system are searched, in the order of their file names, upright and regular ones first. A character of no font is written
out: by its sound where Unicode names it (ネコ: neko), by what it shows (🦊: fox face), or else by its number (猫: U+732B). So a figure is the same on
machines with the same fonts, and one with Latin names on all machines.
"""

import functools
import importlib.util
import itertools
import logging
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logging.getLogger("matplotlib.font_manager").setLevel(
    logging.ERROR
)  # it warns where a font of the system has no bold letters

FAMILY = "DejaVu Sans"
_LAST_OF_LATIN = 0x24F  # DejaVu has all letters up to here
_SPECIAL = re.compile("bold|italic|oblique|light|thin|black|condensed|mono|lastresort|last resort", re.IGNORECASE)
# The end of Unicode's name of a letter, a syllable or a vowel's sign says how it sounds.
_SOUND = re.compile(r".*(?:LETTER|SYLLABLE|VOWEL SIGN|DIGIT)(?: SMALL| CAPITAL)? (.+)")
_NOTHING = ("Cf", "Mn", "Me", "Mc")  # joiners and marks without a sound of their own


def file(bold: bool = False) -> Path:
    """DejaVu Sans in Matplotlib's folder; an import of Matplotlib would take half a second."""
    folder = Path(importlib.util.find_spec("matplotlib").submodule_search_locations[0], "mpl-data", "fonts", "ttf")
    return folder / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")


def is_simple(text: str) -> bool:
    """Whether DejaVu Sans draws the text letter by letter, from left to right."""
    if all(ord(character) <= _LAST_OF_LATIN for character in text):
        return True
    return not is_shaped(text) and all(map(_is_in_dejavu, text))


def is_shaped(text: str) -> bool:
    """Whether letters of the text depend on their neighbours or run from right to left."""
    return any(
        unicodedata.bidirectional(character) in ("R", "AL") or unicodedata.category(character) in _NOTHING
        for character in text
    )


def fit_figure(figure: "Figure") -> None:
    """Give each text of a figure a font that has its letters, write out letters that no font has, and take no text for a formula."""
    for axis in itertools.chain.from_iterable((axes.xaxis, axes.yaxis) for axes in figure.axes):
        labels = axis.get_ticklabels()
        names = [label.get_text() for label in labels]
        if not all(map(is_simple, names)):
            axis.set_ticklabels(list(map(written, names)), fontfamily=_families("".join(names)))
        for label in labels:
            label.set_parse_math(_is_of_matplotlib(label.get_text()))
    for text in figure.findobj(lambda artist: hasattr(artist, "set_fontfamily")):
        content = text.get_text()
        text.set_parse_math(_is_of_matplotlib(content))
        if not is_simple(content):
            text.set_fontfamily(_families(content))
            text.set_text(written(content))


def _is_of_matplotlib(text: str) -> bool:
    """Whether Matplotlib has set a text as a formula itself, as the powers of ten on an axis."""
    return "\\mathdefault" in text


def written(text: str) -> str:
    """The text, with each character that no font has written out."""
    if is_simple(text):
        return text
    parts = [
        (is_missing, "".join(part))
        for is_missing, part in itertools.groupby(text, lambda letter: font_of(letter) is None)
    ]
    return "".join(" ".join(filter(None, _spelled(part))) if is_missing else part for is_missing, part in parts)


def draw(
    canvas: np.ndarray, text: str, origin: tuple[int, int], size: int, color: tuple[int, int, int], *, bold: bool
) -> None:
    """Write a line of text of any script into a uint8 RGB image in place; the baseline starts at `origin` (x, y)."""
    image = Image.fromarray(canvas)
    pen, (x, y) = ImageDraw.Draw(image), origin
    for part, font in _runs(written(text), size, bold):
        pen.text((x, y), part, fill=tuple(map(int, color)), font=font, anchor="ls")
        x += font.getlength(part)
    canvas[:] = np.asarray(image)


def width(text: str, size: int, *, bold: bool) -> int:
    """Width in pixels of a text as `draw` writes it."""
    return round(sum(font.getlength(part) for part, font in _runs(written(text), size, bold)))


def font_of(character: str) -> Path | None:
    """The font that draws a character; None if there is none."""
    if _is_in_dejavu(character):
        return file()
    return next((font for font in _system_fonts() if ord(character) in _characters(font)), None)


def _runs(text: str, size: int, bold: bool) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """The parts of a text with one font each: one for all, if it has all, as joined letters need it."""
    letters = set(text)
    for font in (file(bold), *filter(None, map(font_of, sorted(letters)))):
        if all(ord(letter) in _characters(font) for letter in letters):
            yield text, _opened(font, size)
            return
    for font, characters in itertools.groupby(text, font_of):
        yield "".join(characters), _opened(file(bold) if font in (None, file()) else font, size)


def _families(text: str) -> list[str]:
    """DejaVu Sans, and the families that draw what it lacks of the text."""
    from matplotlib import font_manager

    families = [FAMILY]
    for font in dict.fromkeys(map(font_of, sorted(set(text)))):
        if font not in (None, file()):
            font_manager.fontManager.addfont(font)
            families.append(font_manager.get_font(str(font)).family_name)
    return families


def _spelled(text: str) -> Iterator[str]:
    """Words for characters that no font has: letters of one word together."""
    word = ""
    for character in text:
        name = unicodedata.name(character, "")
        sound = _SOUND.fullmatch(name)
        if sound:
            word += sound[1].lower().replace(" ", "")
        elif unicodedata.category(character) not in _NOTHING:
            yield word
            word = ""
            yield name.lower() if name and "IDEOGRAPH" not in name else f"U+{ord(character):04X}"
    yield word


def _is_in_dejavu(character: str) -> bool:
    return ord(character) <= _LAST_OF_LATIN or ord(character) in _characters(file())


@functools.cache
def _system_fonts() -> tuple[Path, ...]:
    """The fonts of this machine that can be drawn at any size, the upright and regular ones first."""
    from matplotlib import font_manager

    found = {Path(name) for name in font_manager.findSystemFonts()}
    ordered = sorted(found, key=lambda path: (bool(_SPECIAL.search(path.name)), path.name, str(path)))
    return tuple(path for path in ordered if _characters(path))


@functools.cache
def _characters(font: Path) -> frozenset[int]:
    """The characters that a font has; none, if it cannot be drawn at any size, as fonts of coloured pictures."""
    from matplotlib.ft2font import FT2Font

    try:
        opened = FT2Font(str(font))
    except (OSError, RuntimeError):
        return frozenset()
    return frozenset(opened.get_charmap()) if opened.scalable else frozenset()


@functools.lru_cache(maxsize=32)
def _opened(font: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(font), size)
