"""Drawing on images: at the right place, in the right colour, legible at any size, the same bytes every time."""

import zlib

import numpy as np
import pytest

from pipeline.drawing import overlays

CLASSES = ("cat", "dog")
GREY = np.full((40, 80, 3), 128, np.uint8)


def count(image: np.ndarray, color: tuple[int, int, int]) -> int:
    """Pixels of exactly this colour."""
    return int((image == color).all(axis=-1).sum())


@pytest.mark.parametrize("size", [(28, 28), (500, 375), (3000, 4000)])
def test_fit_gives_the_longer_side_and_keeps_the_aspect(size):
    """Small images are enlarged, large ones shrunk."""
    height, width = overlays.fit(np.zeros((*size, 3), np.uint8), 320).shape[:2]
    assert max(height, width) == 320
    assert height / width == pytest.approx(size[0] / size[1], rel=0.01)


def test_a_box_is_drawn_at_its_place_in_its_class_color():
    """A box over columns 20 to 60 and rows 10 to 30 of 80 x 40, drawn four times as large."""
    drawn = overlays.draw_boxes(GREY, np.array([[20, 10, 60, 30]]), [1], CLASSES, side=320)
    color = overlays.class_color(1)
    assert drawn.shape == (160, 320, 3)
    for row, column in ((80, 80), (80, 240), (40, 200), (120, 160)):  # left, right, top, bottom
        assert tuple(drawn[row, column]) == color
    assert (drawn[100, 160] == 128).all()  # inside
    assert (drawn[140, 160] == 128).all()  # outside
    assert (GREY == 128).all()


def test_dashed_boxes_show_less_of_their_color():
    """Missed and wrong boxes differ from the others at a glance."""
    boxes, color = np.array([[10, 15, 70, 38]]), overlays.class_color(0)
    solid, dashed = (
        overlays.draw_boxes(GREY, boxes, [0], CLASSES, dashed=[flag], side=640)[250:] for flag in (False, True)
    )
    assert 0.3 < count(dashed, color) / count(solid, color) < 0.7


def test_boxes_at_and_beyond_the_edge_are_drawn_inside():
    """With a tag that is whole: as wide as that of a box in the middle."""
    color = overlays.class_color(0)
    middle = overlays.draw_boxes(GREY, np.array([[30, 20, 31, 21]]), [0], CLASSES, [0.5])
    corner = overlays.draw_boxes(GREY, np.array([[79, 0, 90, 1]]), [0], CLASSES, [0.5])
    assert count(corner, color) > 0.9 * count(middle, color)
    assert overlays.draw_boxes(GREY, np.zeros((0, 4)), [], CLASSES).shape == (160, 320, 3)


def test_tags_do_not_cover_one_another():
    """Of two boxes at one place the first keeps its tag above the box, the second gets one inside."""
    one = overlays.draw_boxes(GREY, np.array([[20, 10, 60, 30]]), [0], CLASSES)
    both = overlays.draw_boxes(GREY, np.array([[20, 10, 60, 30], [20, 10, 60, 30]]), [0, 1], CLASSES)
    np.testing.assert_array_equal(both[:36], one[:36])  # the box begins at 40
    assert count(one[:36], overlays.class_color(0)) > 300
    assert count(both[45:115], overlays.class_color(1)) > 300 + 2 * 2 * 70  # more than its two sides


def test_masks_color_their_classes_and_leave_the_background():
    """Background as it is; inside a class half its colour; void half white; nothing at alpha 0 but the outline."""
    labels = np.zeros((40, 80), np.uint8)
    labels[:, :20], labels[:, 60:] = 2, 255
    drawn = overlays.draw_mask(GREY, labels, alpha=0.5, side=320)
    expected = (np.array(overlays.class_color(1)) + 128) / 2
    np.testing.assert_allclose(drawn[80, 30], expected, atol=1)
    assert (drawn[80, 160] == 128).all()
    assert (drawn[80, 300] == 192).all()
    assert (overlays.draw_mask(GREY, labels, alpha=0, side=320)[80, 30] == 128).all()


def test_regions_are_named_unless_they_are_slivers():
    """A tag adds pixels of the class's pure colour in the middle of a large region only."""
    large, sliver = np.zeros((40, 80), np.uint8), np.zeros((40, 80), np.uint8)
    large[5:35, 10:70], sliver[20, :] = 1, 1
    for labels, is_named in ((large, True), (sliver, False)):
        plain, named = (overlays.draw_mask(GREY, labels, names) for names in (None, CLASSES))
        assert (count(named, overlays.class_color(0)) > count(plain, overlays.class_color(0))) == is_named


def test_signals_are_drawn_to_scale():
    """The line goes through the top at the maximum and through the bottom at minus the maximum."""
    drawn = overlays.draw_signal(np.sin(np.linspace(0, 2 * np.pi, 41)), side=320)
    rows, columns = np.nonzero((drawn == overlays.class_color(2)).all(axis=-1))
    assert drawn.shape == (200, 320, 3)
    assert columns[rows.argmin()] < 160 < columns[rows.argmax()]
    assert overlays.draw_signal(np.zeros((40, 1))).shape == (200, 320, 3)


def test_bars_are_as_long_as_their_values():
    """A bar of 1/4 fills a quarter of its row."""
    drawn = overlays.draw_bars(["cat", "dog"], [0.75, 0.25], side=400)
    assert (drawn[10] == overlays.BAR).all(axis=-1).sum() == pytest.approx(300, abs=2)
    assert (drawn[44] == overlays.BAR).all(axis=-1).sum() == pytest.approx(100, abs=2)


def test_a_grid_holds_every_image_unchanged():
    """Five images of different sizes in two columns are three rows; each is found again, pixel by pixel."""
    images = [np.full((30 + 10 * i, 90 - 10 * i, 3), 40 * i + 10, np.uint8) for i in range(5)]
    sheet = overlays.grid(images, [f"image {i}\nbelow" for i in range(5)], 2, title="title", subtitle="words " * 90)
    for i, image in enumerate(images):
        assert count(sheet, (40 * i + 10,) * 3) >= image.shape[0] * image.shape[1]
    assert sheet.shape[1] == 2 * 90 + overlays.GAP + 48
    assert overlays.grid([], [], 3, title="nothing").shape[2] == 3


def test_captions_that_are_too_wide_are_cut():
    """So that they do not run into the next column."""
    sheet = overlays.grid([np.full((50, 100, 3), 0, np.uint8)], ["x" * 200], 4)
    assert sheet.shape[1] == 100 + 48
    assert (sheet[-24:, -24:] == 255).all()


def test_png_files_hold_the_image_and_nothing_else(tmp_path):
    """Red stays red, and the file has no chunk that tells when or by what it was written."""
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 255
    overlays.write_png(tmp_path / "red.png", image)
    data, chunks = (tmp_path / "red.png").read_bytes(), {}
    place = 8
    while place < len(data):
        length, name = int.from_bytes(data[place : place + 4]), data[place + 4 : place + 8]
        chunks[name] = chunks.get(name, b"") + data[place + 8 : place + 8 + length]
        place += 12 + length
    assert set(chunks) == {b"IHDR", b"IDAT", b"IEND"}
    assert len(zlib.decompress(chunks[b"IDAT"])) == 4 * (1 + 6 * 3)
    from PIL import Image

    np.testing.assert_array_equal(np.array(Image.open(tmp_path / "red.png")), image)


def test_colors_of_the_first_twenty_classes_differ():
    """As many as PASCAL VOC has; then they repeat."""
    colors = [overlays.class_color(label) for label in range(20)]
    assert len(set(colors)) == 20
    assert overlays.class_color(20) == colors[0]
