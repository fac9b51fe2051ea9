"""Names in any script: drawn by a font that has their letters, joined and in their direction, or written out; never Matplotlib's warning."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from pipeline.drawing import diagrams, fonts, overlays

NAMES = (
    "cat",
    "größer",
    "кошка",
    "猫",
    "ネコ",
    "고양이",
    "قطة",
    "חתול",
    "कबूतर",
    "แมว",
    "🐱",
    "🦊",
    "👩‍🚀",
    "𠮷",
    "$x^$",
    "a$b$c_",
)


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine that has only what Matplotlib brings."""
    monkeypatch.setattr(fonts, "_system_fonts", lambda: ())


@pytest.fixture
def own_font(tmp_path, monkeypatch) -> Path:
    """A machine with a font that has 猫 alone, a black square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for point in ((0, 1000), (1000, 1000), (1000, 0)):
        pen.lineTo(point)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "cat"])
    builder.setupCharacterMap({ord("猫"): "cat"})
    builder.setupGlyf({".notdef": TTGlyphPen(None).glyph(), "cat": pen.glyph()})
    builder.setupHorizontalMetrics({".notdef": (500, 0), "cat": (1000, 0)})
    builder.setupHorizontalHeader(ascent=1000, descent=0)
    builder.setupNameTable({"familyName": "Square Cat", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    file = tmp_path / "SquareCat.ttf"
    builder.save(file)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(file)])
    fonts._system_fonts.cache_clear()
    yield file
    fonts._system_fonts.cache_clear()


def drawn(text: str) -> np.ndarray:
    """A text as `overlays` writes it, black on white."""
    canvas = np.full((40, 200, 3), 255, np.uint8)
    overlays.write(canvas, text, (10, 28), 20, (0, 0, 0))
    return canvas


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("größer Ωλ кошка", "größer Ωλ кошка"),
        ("ネコ", "neko"),
        ("고양이", "goyangi"),
        ("कबूतर", "kabauutara"),
        ("猫 2", "U+732B 2"),
        ("猫科", "U+732B U+79D1"),
        ("🦊 red", "fox face red"),
        ("قطة", "قطة"),
    ],
)
@pytest.mark.usefixtures("no_fonts")
def test_what_no_font_has_is_written_out(name, written):
    """By its sound, by what it shows, or by its number: Unicode's own names, U+732B LETTER by letter."""
    assert fonts.written(name) == written


@pytest.mark.parametrize("machine", ["no_fonts", "own_font"])
def test_names_in_any_script_are_drawn_without_a_warning(tmp_path, request, machine):
    """In headings, ticks and legends; pytest turns warnings into errors. The same again gives the same bytes."""
    request.getfixturevalue(machine)
    curve = np.linspace(0, 1, 3), np.linspace(1, 0, 3)
    for file in ("first.png", "second.png"):
        title = " ".join(NAMES)
        diagrams.confusion_matrix(tmp_path / file, np.eye(len(NAMES), dtype=int), NAMES, title=title, subtitle=title)
        diagrams.precision_recall(
            tmp_path / f"curves_{file}", dict.fromkeys(NAMES, curve), curve, title="", subtitle=""
        )
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert (tmp_path / "curves_first.png").read_bytes() == (tmp_path / "curves_second.png").read_bytes()


def test_a_font_of_the_system_is_used(own_font):
    """Its black square in a figure; it has no letters of its own for the rest."""
    assert fonts.font_of("猫") == own_font
    assert fonts.written("猫 cat") == "猫 cat"
    figure = Figure(figsize=(2, 1), dpi=100)
    figure.text(0.1, 0.2, "猫", fontsize=36)
    fonts.fit_figure(figure)
    figure.savefig(own_font.with_suffix(".png"))
    ink = np.asarray(Image.open(own_font.with_suffix(".png")).convert("L")) < 128
    assert ink.sum() == pytest.approx(50 * 50, rel=0.05)  # 36 points at 100 dots per inch


@pytest.mark.usefixtures("no_fonts")
def test_latin_is_drawn_as_opencv_draws_it():
    """Figures with such names have the bytes that they had before."""
    canvas = np.full((40, 200, 3), 255, np.uint8)
    cv2.putText(canvas, "zero 0.93", (10, 28), (0, 0, 0), cv2.FontFace(str(fonts.file())), 20)
    assert np.array_equal(drawn("zero 0.93"), canvas)


@pytest.mark.usefixtures("no_fonts")
def test_hebrew_runs_from_right_to_left():
    """The second letter stands left of the first."""
    width = fonts.width("ב", 20, bold=False)
    assert np.array_equal(drawn("אב")[:, : 10 + width - 2], drawn("ב")[:, : 10 + width - 2])
    assert not np.array_equal(drawn("אב"), drawn("בא"))


@pytest.mark.usefixtures("no_fonts")
def test_arabic_letters_are_joined():
    """Joined forms are narrower than single ones: the word has one piece of ink where its letters join."""
    joined, single = fonts.width("قطة", 40, bold=False), sum(fonts.width(letter, 40, bold=False) for letter in "قطة")
    assert joined < single


def test_chinese_needs_no_font_of_the_system_in_images(no_fonts):  # noqa: ARG001 - a fixture
    """OpenCV brings one; what it lacks is written out."""
    assert not np.array_equal(drawn("猫"), drawn("\u0378"))
    assert not np.array_equal(drawn("猫"), drawn("U+732B"))
    assert np.array_equal(drawn("𠮷"), drawn_by_pillow("U+20BB7"))


def drawn_by_pillow(text: str) -> np.ndarray:
    canvas = np.full((40, 200, 3), 255, np.uint8)
    fonts.draw(canvas, text, (10, 28), 20, (0, 0, 0), bold=False)
    return canvas
