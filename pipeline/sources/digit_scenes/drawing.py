"""One scene: digits chosen, shaped and placed on a textured ground, with the pixels of each.

A digit is up-scaled by bicubic interpolation, sharpened (each published value is the mean over a cell, so small loops have filled)
and cut at half ink, which gives back the strokes of the pen.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from cnnkeras.label_maps import VOID
from pipeline import sources
from pipeline.sources.digit_scenes.entry import CLASSES, MIN_DIGIT_HEIGHT, Source
from pipeline.sources.digit_scenes.grounds import draw_colour, draw_ground

# The fraction of the handwritten digits that each split draws from.
DIGIT_FRACTIONS = {"train": 0.70, "val": 0.10, "test": 0.20}
CELLS = 8  # a published digit has 8x8 grey values
MARGIN = 2  # empty cells around it, so that turning it cuts nothing off
DETAIL = 8  # pixels a cell in the up-scaled digit
INK_LEVEL = 0.5  # cut between ink and paper
# Times what a blur by SHARPENING_RADIUS cells takes away; by eye: less fills loops, more wobbles strokes.
SHARPENING = 2.0
SHARPENING_RADIUS = 0.7


@dataclass(frozen=True)
class Scene:
    """A finished scene.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        mask: uint8 (H, W): 0 background, 1 + class, 255 void.
        labels: Class of each digit, back to front.
        boxes: int (n, 4): the first and last column and row of each digit's visible pixels, 0-based, as x0, y0, x1, y1.
        hidden: float (n,): fraction of each digit's pixels that others hide.
    """

    image: np.ndarray
    mask: np.ndarray
    labels: list[int]
    boxes: np.ndarray
    hidden: np.ndarray


@cache
def handwriting(seed: int) -> dict[str, list[np.ndarray]]:
    """Per split and class, the digits dealt out to that split, up-scaled: float32 (n, 96, 96), 0 paper .. 1 ink."""
    from sklearn.datasets import load_digits  # 1.5 s, and only this function needs it

    images, targets = load_digits(return_X_y=True)
    images = images.reshape(-1, CELLS, CELLS).astype(np.float32) / 16  # published as 0..16
    images = np.stack([_upscale(image) for image in images])
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(sources.SPLITS)]))
    dealt: dict[str, list[np.ndarray]] = {split: [] for split in sources.SPLITS}
    for label in range(len(CLASSES)):
        order = rng.permutation(np.flatnonzero(targets == label))
        first_val = round(DIGIT_FRACTIONS["train"] * len(order))
        first_test = first_val + round(DIGIT_FRACTIONS["val"] * len(order))
        for split, part in zip(sources.SPLITS, np.split(order, [first_val, first_test]), strict=True):
            dealt[split].append(images[part])
    return dealt


def _upscale(digit: np.ndarray) -> np.ndarray:
    """A published digit with its pen strokes sharp: (8, 8) -> (96, 96), margin included."""
    large = cv2.resize(np.pad(digit, MARGIN), None, fx=DETAIL, fy=DETAIL, interpolation=cv2.INTER_CUBIC)
    large = cv2.GaussianBlur(large, (0, 0), 0.2 * DETAIL)
    return large + SHARPENING * (large - cv2.GaussianBlur(large, (0, 0), SHARPENING_RADIUS * DETAIL))


def draw_scene(source: Source, split: str, number: int) -> Scene:
    """Draw scene `number` of a split: a function of the entry, the split and the number alone."""
    rng = np.random.default_rng(np.random.SeedSequence([source.seed, sources.SPLITS.index(split), number]))
    height, width = rng.integers(source.scene_size[0], source.scene_size[1], size=2, endpoint=True)
    lightness, image = draw_ground(rng, height, width)
    digits = rng.choice(len(source.digits_per_scene), p=_normalised(source.digits_per_scene)) + 1
    placed = _place_digits(rng, source, handwriting(source.seed)[split], digits, (height, width))
    owner = np.full((height, width), -1, np.int16)
    for index, (_, ink) in enumerate(placed):
        _paint(rng, image, ink, lightness)
        owner[ink >= 0.5] = index
    image += rng.uniform(0, 3) * rng.standard_normal(image.shape, dtype=np.float32)
    return _finish(np.clip(np.rint(image), 0, 255).astype(np.uint8), owner, placed)


def _normalised(fractions: tuple[float, ...]) -> np.ndarray:
    return np.asarray(fractions) / np.asarray(fractions).sum()


def _finish(image: np.ndarray, owner: np.ndarray, placed: list[tuple[int, np.ndarray]]) -> Scene:
    """Boxes, label map and void ring from `owner`: per pixel, the index of the digit seen there, or -1."""
    mask = np.zeros(owner.shape, np.uint8)
    void = np.zeros(owner.shape, bool)
    boxes, hidden = [], []
    for index, (label, ink) in enumerate(placed):
        visible = owner == index
        ring = cv2.dilate(visible.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool) & (owner < 0)
        mask[visible] = label + 1
        void |= ring
        boxes.append(_box(visible))
        hidden.append(1 - visible.sum() / (ink >= 0.5).sum())
    mask[void] = VOID
    return Scene(image, mask, [label for label, _ in placed], np.asarray(boxes), np.asarray(hidden))


def _place_digits(
    rng: np.random.Generator, source: Source, samples: list[np.ndarray], digits: int, size: tuple[int, int]
) -> list[tuple[int, np.ndarray]]:
    """Choose, shape and place digits, back to front: per digit its class and its ink, float32 (H, W) 0..1."""
    placed: list[tuple[int, np.ndarray]] = []
    shrink = 1.0
    while len(placed) < digits:
        label = int(rng.integers(len(CLASSES)))
        sample = samples[label][rng.integers(len(samples[label]))]
        height = max(MIN_DIGIT_HEIGHT, shrink * rng.uniform(*source.digit_height))
        ink = _draw_digit(rng, sample, height, size)
        if ink is not None and _leaves_others_readable(ink, placed, source.max_covered_fraction):
            placed.append((label, ink))
        else:
            shrink *= 0.97  # a crowded scene ends with smaller digits, not with fewer
    return placed


def _leaves_others_readable(ink: np.ndarray, placed: list[tuple[int, np.ndarray]], max_covered_fraction: float) -> bool:
    """Whether a new digit in front hides little enough of those behind it, and does not sit inside one."""
    new = ink >= 0.5
    front = new.copy()
    for _, other in reversed(placed):
        solid = other >= 0.5
        if (front & solid).sum() > max_covered_fraction * solid.sum():
            return False
        if _common_box_fraction(new, solid) > 0.3:
            return False
        front |= solid
    return True


def _box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row of the pixels that are set: x0, y0, x1, y1."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return columns[0], rows[0], columns[-1], rows[-1]


def _common_box_fraction(first: np.ndarray, second: np.ndarray) -> float:
    """Area that is in both digits' boxes, as a fraction of the smaller box."""
    a, b = _box(first), _box(second)
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    areas = [(x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in (a, b)]
    return max(0, width) * max(0, height) / min(areas)


def _draw_digit(
    rng: np.random.Generator, sample: np.ndarray, height: float, size: tuple[int, int]
) -> np.ndarray | None:
    """One digit, turned, slanted and put somewhere: its ink (H, W) 0..1, or None where it does not fit."""
    scale = height / CELLS  # pixels a cell
    turn, slant = rng.uniform(-0.2, 0.2), rng.uniform(-0.2, 0.2)  # radians (11 degrees); tangent
    stretch = rng.uniform(0.85, 1.15)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shape = rotation @ np.array([[stretch, -slant], [0, 1]]) * scale / DETAIL
    middle = rng.uniform(0, 1, 2) * (size[1], size[0])
    shift = middle - shape @ np.full(2, (len(sample) - 1) / 2)
    grey = cv2.warpAffine(sample, np.column_stack([shape, shift]), (size[1], size[0]), flags=cv2.INTER_LINEAR)
    # Grey changes by about 1 over one cell at a stroke's edge, so this makes edges about 1.2 pixels wide.
    ink = np.clip((grey - INK_LEVEL) * scale / 1.2 + 0.5, 0, 1)
    border = np.concatenate([ink[:2].ravel(), ink[-2:].ravel(), ink[:, :2].ravel(), ink[:, -2:].ravel()])
    return None if border.any() or not (ink >= 0.5).any() else ink


def _paint(rng: np.random.Generator, image: np.ndarray, ink: np.ndarray, ground_lightness: float) -> None:
    """Paint a digit, clearly lighter or darker than the ground, with a soft shadow that parts it from others."""
    contrast = rng.uniform(38, 62)
    lighter_fits, darker_fits = ground_lightness + contrast <= 98, ground_lightness - contrast >= 2
    lighter = lighter_fits and (not darker_fits or rng.random() < 0.5)
    colour = draw_colour(rng, ground_lightness + contrast if lighter else max(2.0, ground_lightness - contrast))
    x0, y0, x1, y1 = _box(ink > 0)
    around = slice(max(0, y0 - 6), y1 + 7), slice(max(0, x0 - 6), x1 + 7)  # what the shadow reaches
    part, ink = image[around], ink[around][..., None]
    shadow = cv2.GaussianBlur(ink, (0, 0), 1.5)[..., None]
    away = 0 if lighter else 255  # the shadow moves away from the digit's own lightness
    part += (away - part) * (0.35 * shadow)
    part += (colour - part) * ink
