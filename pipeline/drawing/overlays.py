"""Images with boxes, label maps, signals and captions drawn on them.

All functions take and return uint8 RGB images (H, W, 3); only `write` changes an argument. An image is first resized to its
final size (`side`, the longer side in pixels), then drawn on, so lines and letters are equally legible on a 28-pixel digit
and on a 4,000-pixel photograph. Equal arguments give equal bytes.
"""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from cnnkeras.label_maps import VOID
from pipeline.drawing import fonts

SIDE = 320
WHITE, PAPER, INK, GREY = (255, 255, 255), (243, 244, 246), (31, 35, 40), (101, 109, 118)
BAR = (128, 184, 245)
RIGHT, WRONG = (26, 127, 55), (207, 34, 46)  # captions of right and wrong predictions
GAP = 18  # pixels between the columns of a grid
# Sasha Trubetskoy's "20 simple, distinct colors" (sashamaps.net), reordered, with a dark green for his beige, which is hard to
# see on white. The VOC colour map is for label files: its first colours are too dark to distinguish on photographs.
CLASS_COLORS = (
    (230, 25, 75),
    (60, 180, 75),
    (0, 130, 200),
    (245, 130, 48),
    (145, 30, 180),
    (70, 240, 240),
    (240, 50, 230),
    (255, 225, 25),
    (0, 128, 128),
    (210, 245, 60),
    (170, 110, 40),
    (250, 190, 212),
    (128, 0, 0),
    (170, 255, 195),
    (128, 128, 0),
    (220, 190, 255),
    (0, 0, 128),
    (255, 215, 180),
    (128, 128, 128),
    (0, 90, 50),
)


def class_color(label: int) -> tuple[int, int, int]:
    """The RGB colour of class `label` (0-based) in all figures; from the 21st class on the colours repeat."""
    return CLASS_COLORS[label % len(CLASS_COLORS)]


def fit(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The image resized to `side` pixels along the longer side, with its aspect ratio."""
    scale = side / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    classes: Sequence[str],
    scores: Sequence[float] | None = None,
    *,
    dashed: Sequence[bool] | None = None,
    side: int = SIDE,
) -> np.ndarray:
    """The image with a box and a tag `class score` for each object.

    Args:
        image: uint8 (H, W, 3).
        boxes: (n, 4) xyxy in pixels of `image`.
        labels: n indices into `classes`.
        classes: Names of the classes.
        scores: n numbers 0..1, or None for boxes without scores (annotations).
        dashed: n flags, true for boxes with a dashed line (missed or wrong ones); None: all lines are solid.
        side: Longer side of the drawing in pixels.
    """
    canvas = fit(image, side)
    corners = _drawn_corners(np.asarray(boxes, "float64").reshape(-1, 4), image, canvas)
    thickness = max(2, round(side / 200))
    for index, box in enumerate(corners):
        is_dashed = dashed is not None and bool(dashed[index])
        _rectangle(canvas, box, (0, 0, 0), thickness + 2, is_dashed)
        _rectangle(canvas, box, class_color(labels[index]), thickness, is_dashed)
    tags: list[tuple[int, int, int, int]] = []
    for index, box in enumerate(corners):
        text = str(classes[labels[index]]) + ("" if scores is None else f" {scores[index]:.2f}")
        _tag_box(canvas, box, text, class_color(labels[index]), tags)
    return canvas


def draw_mask(
    image: np.ndarray,
    label_map: np.ndarray,
    classes: Sequence[str] | None = None,
    *,
    alpha: float = 0.55,
    side: int = SIDE,
) -> np.ndarray:
    """The image with its label map on it: each class in its colour with an outline, void (255) in white.

    Args:
        image: uint8 (H, W, 3).
        label_map: (h, w), 0 background (not coloured), 1..C, 255 void; resized to the image.
        classes: The C names; a tag with the name is at the point of each class that is farthest from its border. None: no tags.
        alpha: Opacity of the colours, 0..1.
        side: Longer side of the drawing in pixels.
    """
    canvas = fit(image, side)
    labels = cv2.resize(np.asarray(label_map, "uint8"), canvas.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    colors = np.array([WHITE, *(class_color(label) for label in range(254)), WHITE], "uint8")
    blended = cv2.addWeighted(canvas, 1 - alpha, colors[labels], alpha, 0)
    canvas = np.where((labels > 0)[..., None], blended, canvas)
    present = [int(label) for label in np.unique(labels) if label not in (0, VOID)]
    for label in present:
        outline, _ = cv2.findContours((labels == label).astype("uint8"), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(canvas, outline, -1, class_color(label - 1), 2, cv2.LINE_AA)
    tags: list[tuple[int, int, int, int]] = []
    for label in present if classes is not None else ():
        _tag_region(canvas, labels == label, str(classes[label - 1]), class_color(label - 1), tags)
    return canvas


def draw_signal(signal: np.ndarray, *, side: int = SIDE) -> np.ndarray:
    """A signal (L,) or (L, 1) as a line plot with a zero line, `side` pixels wide and 5/8 as high."""
    values = np.asarray(signal, "float64").reshape(-1)
    height, margin = round(side * 0.625), side * 0.05
    canvas = np.full((height, side, 3), PAPER, "uint8")
    limit = max(1e-6, float(np.abs(values).max()))
    x = np.linspace(margin, side - 1 - margin, len(values))
    y = height / 2 - values / limit * (height / 2 - margin)
    cv2.line(canvas, (0, height // 2), (side - 1, height // 2), (201, 206, 212), 1)
    points = np.round(np.stack([x, y], axis=1) * 16).astype("int32")  # sixteenths of a pixel: shift=4
    cv2.polylines(canvas, [points], False, class_color(2), max(2, side // 120), cv2.LINE_AA, shift=4)
    return canvas


def draw_bars(names: Sequence[str], values: Sequence[float], *, side: int = SIDE) -> np.ndarray:
    """Bars of values 0..1 with their names, one below another: a classifier's probabilities for one input."""
    height = 34
    canvas = np.full((height * len(names) + 8, side, 3), 255, "uint8")
    for row, (name, value) in enumerate(zip(names, values, strict=True)):
        top, bottom = height * row + 7, height * (row + 1)
        cv2.rectangle(canvas, (0, top), (side - 1, bottom), PAPER, cv2.FILLED)
        length = round((side - 1) * float(value))
        cv2.rectangle(canvas, (0, top), (length, bottom), BAR, cv2.FILLED)
        number = f"{value:.3f}"
        write(canvas, number, (side - 8 - _text_width(number, 15, bold=row == 0), bottom - 9), 15, INK, bold=row == 0)
        write(canvas, _shorten(name, 15, side - 80, bold=row == 0), (8, bottom - 9), 15, INK, bold=row == 0)
    return canvas


def beside(images: Sequence[np.ndarray], *, gap: int = 6) -> np.ndarray:
    """Images of one height side by side, with a white gap of `gap` pixels between them."""
    strip = np.full((images[0].shape[0], gap, 3), 255, "uint8")
    return np.hstack([part for image in images for part in (strip, image)][1:])


def grid(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    columns: int,
    *,
    title: str = "",
    subtitle: str = "",
    colors: Sequence[tuple[int, int, int]] | None = None,
) -> np.ndarray:
    """Captioned images in rows of `columns` on white, under a title and a subtitle.

    Images keep their size and are centred in cells of one width. Captions may have several lines; the first is bold, in the
    colour `colors[i]` if `colors` is given. Too wide text is cut with an ellipsis; the subtitle is wrapped.
    """
    width = max((image.shape[1] for image in images), default=640)
    columns = max(1, min(columns, len(images)))
    colors = [INK] * len(images) if colors is None else colors
    rows = [
        _row(images[start:end], captions[start:end], colors[start:end], width, columns)
        for start, end in ((start, start + columns) for start in range(0, len(images), columns))
    ]
    heading = _heading(title, subtitle, columns * width + (columns - 1) * GAP)
    return cv2.copyMakeBorder(np.vstack([heading, *rows]), 18, 6, 24, 24, cv2.BORDER_CONSTANT, value=WHITE)


def write_png(path: Path, image: np.ndarray) -> None:
    """Write an RGB image (H, W, 3) or a grey image (H, W) as a PNG without timestamps."""
    path.write_bytes(png(image))


def png(image: np.ndarray) -> bytes:
    """The same as bytes."""
    ordered = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".png", ordered)[1].tobytes()


def _drawn_corners(boxes: np.ndarray, image: np.ndarray, canvas: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) in pixels of `image` as integer corners inside `canvas`."""
    height, width = canvas.shape[:2]
    scale = np.array([width / image.shape[1], height / image.shape[0]] * 2)
    return np.clip(np.round(boxes * scale), 0, [width - 1, height - 1] * 2).astype(int)


def _rectangle(canvas: np.ndarray, box: np.ndarray, color: tuple[int, int, int], thickness: int, dashed: bool) -> None:
    left, top, right, bottom = (int(value) for value in box)
    if not dashed:
        cv2.rectangle(canvas, (left, top), (right, bottom), color, thickness, cv2.LINE_AA)
        return
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    for start, end in itertools.pairwise(corners):
        dashes = max(1, round(max(abs(end[0] - start[0]), abs(end[1] - start[1])) / 14))
        stops = np.round(np.linspace(start, end, 2 * dashes + 1)).astype(int).tolist()
        for first, last in zip(stops[0::2], stops[1::2], strict=False):
            cv2.line(canvas, first, last, color, thickness, cv2.LINE_AA)


def _tag_box(canvas: np.ndarray, box: np.ndarray, text: str, color: tuple[int, int, int], tags: list) -> None:
    """Write `text` above the box; if there is no room, inside its top or bottom, or below it."""
    left, top, right, bottom = (int(value) for value in box)
    width, height = _tag_size(canvas, text)
    x = min(left, canvas.shape[1] - width)
    positions = [(x, y) for y in (top - height, top, bottom - height, bottom)]
    positions += [(min(right, canvas.shape[1]) - width, y) for y in (top, bottom - height)]
    _write_tag(canvas, text, _free_position(positions, (width, height), canvas, tags), color, tags)


def _tag_region(canvas: np.ndarray, region: np.ndarray, text: str, color: tuple[int, int, int], tags: list) -> None:
    """Write `text` at the point of the region that is farthest from its border; nothing on a region too narrow for it."""
    distance = cv2.distanceTransform(np.pad(region.astype("uint8"), 1), cv2.DIST_L2, 5)
    _, radius, _, (x, y) = cv2.minMaxLoc(distance)
    width, height = _tag_size(canvas, text)
    if radius * 3 < height:  # a tag would hide a narrow region
        return
    positions = [(x - 1 - width // 2, y - 1 - height // 2 + shift) for shift in (0, height, -height)]
    _write_tag(canvas, text, _free_position(positions, (width, height), canvas, tags), color, tags)


def _tag_size(canvas: np.ndarray, text: str) -> tuple[int, int]:
    size = _tag_text_size(canvas)
    return _text_width(text, size) + 8, round(size * 1.5)


def _tag_text_size(canvas: np.ndarray) -> int:
    """Size of the text in a tag: 13 pixels, more on a canvas of more than 500 pixels."""
    return max(13, round(max(canvas.shape[:2]) / 40))


def _free_position(positions: list, size: tuple[int, int], canvas: np.ndarray, tags: list) -> tuple[int, int]:
    """The first position at which a tag is inside the canvas and overlaps no other tag; otherwise the first, moved inside."""
    width, height = size
    bottom, right = canvas.shape[0] - height, canvas.shape[1] - width
    for x, y in positions:
        overlaps = any(x < t[2] and t[0] < x + width and y < t[3] and t[1] < y + height for t in tags)
        if 0 <= x <= right and 0 <= y <= bottom and not overlaps:
            return x, y
    x, y = positions[0]
    return max(0, min(x, right)), max(0, min(y, bottom))


def _write_tag(canvas: np.ndarray, text: str, position: tuple, color: tuple[int, int, int], tags: list) -> None:
    width, height = _tag_size(canvas, text)
    x, y = position
    tags.append((x, y, x + width, y + height))
    cv2.rectangle(canvas, (x, y), (x + width - 1, y + height - 1), color, cv2.FILLED)
    luminance = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]  # ITU-R BT.601
    ink = (0, 0, 0) if luminance > 130 else WHITE
    write(canvas, text, (x + 4, y + round(height * 0.74)), _tag_text_size(canvas), ink)


def _row(images: Sequence, captions: Sequence[str], colors: Sequence, width: int, columns: int) -> np.ndarray:
    """A row of `columns` cells with the height of the highest image and the caption of most lines."""
    height = max(image.shape[0] for image in images)
    lines = max(caption.count("\n") + 1 for caption in captions)
    row = np.full((height + lines * 19 + 18, columns * width + (columns - 1) * GAP, 3), 255, "uint8")
    for column, (image, caption, color) in enumerate(zip(images, captions, colors, strict=True)):
        top = height - image.shape[0]
        left = column * (width + GAP) + (width - image.shape[1]) // 2
        row[top:height, left : left + image.shape[1]] = image
        for number, line in enumerate(caption.split("\n")):
            bold = number == 0
            text = _shorten(line, 14, width, bold=bold)
            write(row, text, (left, height + 17 + 19 * number), 14, color if bold else GREY, bold=bold)
    return row


def _heading(title: str, subtitle: str, width: int) -> np.ndarray:
    lines = _wrap(subtitle, 15, width)
    heading = np.full((34 * bool(title) + 22 * len(lines) + 12, width, 3), 255, "uint8")
    write(heading, _shorten(title, 22, width, bold=True), (0, 24), 22, INK, bold=True)
    for row, line in enumerate(lines):
        write(heading, line, (0, 34 * bool(title) + 17 + 22 * row), 15, GREY)
    return heading


def write(
    canvas: np.ndarray, text: str, origin: tuple[int, int], size: int, color: tuple, *, bold: bool = False
) -> None:
    """Write a line of text, `size` pixels high, into `canvas` in place; the baseline starts at `origin` (x, y)."""
    if text and _is_cv2s(text):
        cv2.putText(canvas, text, origin, color, _font(bold), size)
    elif text:
        fonts.draw(canvas, text, origin, size, color, bold=bold)


def _text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Width of the text in pixels."""
    if not _is_cv2s(text):
        return fonts.width(text, size, bold=bold)
    _, _, width, _ = cv2.getTextSize((10_000, 1_000), text, (0, 100), _font(bold), size)
    return width


def _shorten(text: str, size: int, width: int, *, bold: bool = False) -> str:
    if _text_width(text, size, bold=bold) <= width:
        return text
    while text and _text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text + "…"


def _wrap(text: str, size: int, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and _text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


@functools.lru_cache(maxsize=1024)
def _is_cv2s(text: str) -> bool:
    """Whether OpenCV draws the text: it joins no letters and knows no direction, but has Chinese, Japanese and Korean of its own."""
    return fonts.is_simple(text) or (not fonts.is_shaped(text) and all(map(_has_cv2, text)))


@functools.cache
def _has_cv2(character: str) -> bool:
    """Whether OpenCV draws anything else for a character than for one that does not exist."""
    drawn, missing = np.zeros((2, 32, 48, 3), "uint8")
    cv2.putText(drawn, character, (4, 24), WHITE, _font(False), 20)
    cv2.putText(missing, "\u0378", (4, 24), WHITE, _font(False), 20)
    return not np.array_equal(drawn, missing)


@functools.cache
def _font(bold: bool) -> cv2.FontFace:
    """DejaVu Sans, the font of the diagrams."""
    return cv2.FontFace(str(fonts.file(bold)))
