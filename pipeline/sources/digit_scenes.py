"""Scenes of handwritten digits on textured grounds, made here, as a genuine PASCAL VOC archive.

The digits are the 1,797 real ones that scikit-learn ships (8x8 grey values of the UCI set "Optical Recognition of
Handwritten Digits", Alpaydin and Kaynak 1998). They are dealt out to train, val and test first, class by class, so no
digit that a network is tested on has been seen in training. Everything else - how many digits, which, how large,
turned, coloured and placed, and on what - is drawn from (seed, split, number of the scene): the same entry gives the
same bytes, whatever the number of processes.

A digit is up-scaled by bicubic interpolation, sharpened (each published value is the mean over a cell, so small loops
have filled) and cut at half ink, which gives back the strokes of the pen. Its pixels are the object; the ring of one
pixel around it is void (255), as VOC's annotators drew it.
"""

import io
import itertools
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import cv2
import numpy as np
from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator

from cnnkeras.label_maps import VOID, encode_png
from pipeline import sources
from pipeline.files.archives import Archives
from pipeline.runtime.entries import Entry, Seed
from pipeline.runtime.workers import available, ordered_map
from pipeline.sources import voc

TASKS = ("classification", "detection", "segmentation")
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ARCHIVE = "digit_scenes.tar"
ROOT = "VOCdevkit/VOC2012"
YEAR = 2012

# Share of the handwritten digits that each split draws from.
DIGIT_SHARES = {"train": 0.70, "val": 0.10, "test": 0.20}
CELLS = 8  # a published digit has 8x8 grey values
MARGIN = 2  # empty cells around it, so that turning it cuts nothing off
DETAIL = 8  # pixels a cell in the up-scaled digit
INK_LEVEL = 0.5  # cut between ink and paper
SHARPENING = (
    2.0  # times what a blur by SHARPENING_RADIUS cells takes away; by eye: less fills loops, more wobbles strokes
)
SHARPENING_RADIUS = 0.7
SMALLEST_DIGIT = 24  # pixels high: a crowded scene makes its digits smaller, down to this
JPEG_QUALITY = 92


class SceneCounts(Entry):
    """Scenes in each split."""

    train: Annotated[int, Ge(1)]
    val: Annotated[int, Ge(1)]
    test: Annotated[int, Ge(1)]


Range = Annotated[tuple[int, int], Field(description="smallest and largest")]


class Source(sources.SourceEntry):
    """Entry of a `digit_scenes` source.

    Attributes:
        seed: Of everything that is drawn.
        scenes: Number of scenes in each split.
        digits_per_scene: Shares of the scenes with 1, 2, 3, ... digits; they add up to 1.
        scene_size: Smallest and largest height and width, pixels; both are drawn, so few scenes are square.
        digit_height: Smallest and largest height of a digit, pixels.
        largest_covered_share: Share of a digit's pixels that others may hide.
    """

    kind: Literal["digit_scenes"]
    seed: Seed
    scenes: SceneCounts
    digits_per_scene: tuple[Annotated[float, Ge(0)], ...] = (0.25, 0.45, 0.30)
    scene_size: tuple[Annotated[int, Ge(96)], Annotated[int, Le(1024)]] = (112, 160)
    digit_height: tuple[Annotated[int, Ge(SMALLEST_DIGIT)], Annotated[int, Gt(0)]] = (32, 72)
    largest_covered_share: Annotated[float, Ge(0), Le(0.5)] = 0.15

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the digits, in order."""
        return CLASSES

    @model_validator(mode="after")
    def _is_possible(self) -> "Source":
        if abs(sum(self.digits_per_scene) - 1) > 1e-6:
            raise ValueError(f"digits_per_scene: expected shares that add up to 1; received: {self.digits_per_scene}")
        if len(self.digits_per_scene) > 4:
            raise ValueError(f"digits_per_scene: expected at most 4 shares; received: {len(self.digits_per_scene)}")
        for key in ("scene_size", "digit_height"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: expected smallest, largest; received: {low}, {high}")
        if self.digit_height[1] > 0.75 * self.scene_size[0]:
            raise ValueError(
                f"digit_height: expected at most three quarters of the smallest scene_size, {self.scene_size[0]}; "
                f"received: {self.digit_height[1]}"
            )
        return self


@dataclass(frozen=True)
class Scene:
    """A finished scene.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        mask: uint8 (H, W): 0 background, 1 + class, 255 void.
        labels: Class of each digit, back to front.
        boxes: int (n, 4): the first and last column and row of each digit's visible pixels, 0-based, as x0, y0, x1, y1.
        hidden: float (n,): share of each digit's pixels that others hide.
    """

    image: np.ndarray
    mask: np.ndarray
    labels: list[int]
    boxes: np.ndarray
    hidden: np.ndarray


def fetch(source: Source, folder: Path, *, mirrors: Sequence[str]) -> None:  # noqa: ARG001 - nothing is downloaded
    """Make the scenes and write them to `folder` as one archive in VOC layout, the same bytes every time."""
    _handwriting(source.seed)  # read once, before the processes are forked
    tasks = [(split, number) for split in sources.SPLITS for number in range(getattr(source.scenes, split))]
    chunks = [tasks[start : start + 32] for start in range(0, len(tasks), 32)]
    lists = _ImageSets()
    drawn = ordered_map(_encode_scenes, chunks, workers=available(), initializer=_set_source, arguments=(source,))
    with drawn as results, tarfile.open(folder / ARCHIVE, "w", format=tarfile.USTAR_FORMAT) as archive:
        for (split, id), labels, files in itertools.chain.from_iterable(results):
            lists.add(split, id, labels)
            for name, data in files.items():
                _add(archive, f"{ROOT}/{name}", data)
        for name, data in lists.files().items():
            _add(archive, f"{ROOT}/ImageSets/{name}", data)


def examples(source: Source, folder: Path, *, task: str, split: str) -> voc.Images:
    """Scenes of a split, read like the images of any other VOC archive."""
    archives = Archives([folder / ARCHIVE])
    return voc.Images(archives, source.classes, voc.read_list(archives, ROOT, split, task), task)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no time, no owner: equal content is an equal hash
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


class _ImageSets:
    """VOC's lists: one of ids for each split, and one for each split and class with 1 where the class is present."""

    def __init__(self):
        self._present: dict[str, dict[str, set[int]]] = {}

    def add(self, split: str, id: str, labels: list[int]) -> None:
        for name in (split, "trainval") if split != "test" else (split,):
            self._present.setdefault(name, {})[id] = set(labels)

    def files(self) -> dict[str, bytes]:
        found = {}
        for name, present in self._present.items():
            ids = "".join(f"{id}\n" for id in present).encode()
            found |= {f"Main/{name}.txt": ids, f"Segmentation/{name}.txt": ids}
            for label, class_name in enumerate(CLASSES):
                lines = (f"{id} {1 if label in labels else -1:2d}\n" for id, labels in present.items())
                found[f"Main/{class_name}_{name}.txt"] = "".join(lines).encode()
        return found


_source: Source


def _set_source(source: Source) -> None:
    global _source
    _source = source


def _encode_scenes(tasks: list[tuple[str, int]]) -> list[tuple[tuple[str, str], list[int], dict[str, bytes]]]:
    """Per scene: its split and id, its classes, its files by name below the archive's root."""
    finished = []
    for split, number in tasks:
        id = f"{split}_{number + 1:06d}"
        scene = draw_scene(_source, split, number)
        files = {
            f"JPEGImages/{id}.jpg": _jpeg(scene.image),
            f"Annotations/{id}.xml": _annotation(id, scene),
            f"SegmentationClass/{id}.png": encode_png(scene.mask),
        }
        finished.append(((split, id), scene.labels, files))
    return finished


def _jpeg(image: np.ndarray) -> bytes:
    encoded, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert encoded
    return data.tobytes()


def _annotation(id: str, scene: Scene) -> bytes:
    height, width = scene.mask.shape
    lines = [
        "<annotation>",
        f"\t<folder>VOC{YEAR}</folder>",
        f"\t<filename>{id}.jpg</filename>",
        "\t<source><database>digit_scenes</database><annotation>exact</annotation><image>composed</image></source>",
        f"\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>",
        "\t<segmented>1</segmented>",
    ]
    for label, (x0, y0, x1, y1), hidden in zip(scene.labels, scene.boxes + 1, scene.hidden, strict=True):
        lines += [
            "\t<object>",
            f"\t\t<name>{CLASSES[label]}</name>",
            "\t\t<pose>Unspecified</pose>",
            "\t\t<truncated>0</truncated>",
            f"\t\t<occluded>{int(hidden > 0)}</occluded>",
            f"\t\t<bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox>",
            "\t\t<difficult>0</difficult>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""]).encode()


@cache
def _handwriting(seed: int) -> dict[str, list[np.ndarray]]:
    """Per split and class, the digits dealt out to that split, up-scaled: float32 (n, 96, 96), 0 paper .. 1 ink."""
    from sklearn.datasets import load_digits  # 1.5 s, and only this function needs it

    images, targets = load_digits(return_X_y=True)
    images = images.reshape(-1, CELLS, CELLS).astype(np.float32) / 16  # published as 0..16
    images = np.stack([_upscale(image) for image in images])
    rng = np.random.default_rng(np.random.SeedSequence([seed, len(sources.SPLITS)]))
    dealt: dict[str, list[np.ndarray]] = {split: [] for split in sources.SPLITS}
    for label in range(len(CLASSES)):
        order = rng.permutation(np.flatnonzero(targets == label))
        first_val = round(DIGIT_SHARES["train"] * len(order))
        first_test = first_val + round(DIGIT_SHARES["val"] * len(order))
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
    lightness, image = _draw_ground(rng, height, width)
    digits = rng.choice(len(source.digits_per_scene), p=_shares(source)) + 1
    placed = _place_digits(rng, source, _handwriting(source.seed)[split], digits, (height, width))
    owner = np.full((height, width), -1, np.int16)
    for index, (_, ink) in enumerate(placed):
        _paint(rng, image, ink, lightness)
        owner[ink >= 0.5] = index
    image += rng.uniform(0, 3) * rng.standard_normal(image.shape, dtype=np.float32)
    return _finish(np.clip(np.rint(image), 0, 255).astype(np.uint8), owner, placed)


def _shares(source: Source) -> np.ndarray:
    shares = np.asarray(source.digits_per_scene)
    return shares / shares.sum()


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
    rng: np.random.Generator, source: Source, handwriting: list[np.ndarray], digits: int, size: tuple[int, int]
) -> list[tuple[int, np.ndarray]]:
    """Choose, shape and place digits, back to front: per digit its class and its ink, float32 (H, W) 0..1."""
    placed: list[tuple[int, np.ndarray]] = []
    shrink = 1.0
    while len(placed) < digits:
        label = int(rng.integers(len(CLASSES)))
        sample = handwriting[label][rng.integers(len(handwriting[label]))]
        height = max(SMALLEST_DIGIT, shrink * rng.uniform(*source.digit_height))
        ink = _draw_digit(rng, sample, height, size)
        if ink is not None and _leaves_others_readable(ink, placed, source.largest_covered_share):
            placed.append((label, ink))
        else:
            shrink *= 0.97  # a crowded scene ends with smaller digits, not with fewer
    return placed


def _leaves_others_readable(ink: np.ndarray, placed: list[tuple[int, np.ndarray]], largest_share: float) -> bool:
    """Whether a new digit in front hides little enough of those behind it, and does not sit inside one."""
    new = ink >= 0.5
    front = new.copy()
    for _, other in reversed(placed):
        solid = other >= 0.5
        if (front & solid).sum() > largest_share * solid.sum():
            return False
        if _shared_box_share(new, solid) > 0.3:
            return False
        front |= solid
    return True


def _box(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """First and last column and row of the pixels that are set: x0, y0, x1, y1."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return columns[0], rows[0], columns[-1], rows[-1]


def _shared_box_share(first: np.ndarray, second: np.ndarray) -> float:
    """Area that two digits' boxes share, relative to the smaller box."""
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


def _draw_ground(rng: np.random.Generator, height: int, width: int) -> tuple[float, np.ndarray]:
    """A textured ground of two similar shades: its mean lightness (CIE L*) and RGB float32 (H, W, 3)."""
    lightness = rng.uniform(12, 88)
    spread = rng.uniform(4, 12)  # L* around the mean: visible, never as strong as a digit (see _paint)
    dark, light = (_draw_colour(rng, lightness + sign * spread) for sign in (-1, 1))
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, height, width)
    pattern = 0.8 * pattern + 0.2 * _noise(rng, height, width, cells=rng.integers(8, 24))
    return lightness, dark + (light - dark) * pattern[..., None]


def _draw_colour(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """A random colour of that lightness: RGB float32 (3,), 0..255."""
    hue, chroma = rng.uniform(0, 2 * np.pi), rng.uniform(5, 45)
    lab = np.array([[[lightness, chroma * np.cos(hue), chroma * np.sin(hue)]]], np.float32)
    return 255 * np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1)[0, 0]


def _paint(rng: np.random.Generator, image: np.ndarray, ink: np.ndarray, ground_lightness: float) -> None:
    """Paint a digit, clearly lighter or darker than the ground, with a soft shadow that parts it from others."""
    contrast = rng.uniform(38, 62)
    lighter_fits, darker_fits = ground_lightness + contrast <= 98, ground_lightness - contrast >= 2
    lighter = lighter_fits and (not darker_fits or rng.random() < 0.5)
    colour = _draw_colour(rng, ground_lightness + contrast if lighter else max(2.0, ground_lightness - contrast))
    x0, y0, x1, y1 = _box(ink > 0)
    around = slice(max(0, y0 - 6), y1 + 7), slice(max(0, x0 - 6), x1 + 7)  # what the shadow reaches
    part, ink = image[around], ink[around][..., None]
    shadow = cv2.GaussianBlur(ink, (0, 0), 1.5)[..., None]
    away = 0 if lighter else 255  # the shadow moves away from the digit's own lightness
    part += (away - part) * (0.35 * shadow)
    part += (colour - part) * ink


def _grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each pixel, as fractions of the longer side."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return rows / max(height, width), columns / max(height, width)


def _noise(rng: np.random.Generator, height: int, width: int, cells: int | None = None) -> np.ndarray:
    """Smooth noise: random values on a grid of `cells` cells a side, interpolated. (H, W), 0..1."""
    cells = cells or int(rng.integers(3, 10))
    values = rng.random((cells, cells), dtype=np.float32)
    return np.clip(cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)


def _gradient(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    slope = rows * np.sin(angle) + columns * np.cos(angle)
    return (slope - slope.min()) / (slope.max() - slope.min())


def _spot(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    y, x = rng.uniform(0.2, 0.8, 2)
    return np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / rng.uniform(0.05, 0.3))


def _stripes(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    angle, periods = rng.uniform(0, np.pi), rng.uniform(4, 16)
    wave = np.sin(2 * np.pi * periods * (rows * np.sin(angle) + columns * np.cos(angle)) + rng.uniform(0, 6))
    return np.clip(0.5 + rng.uniform(0.5, 3) * wave, 0, 1)  # from soft waves to bars


def _checks(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    rows, columns = _grid(height, width)
    angle, periods = rng.uniform(0, np.pi), rng.uniform(3, 9)
    first = np.sin(2 * np.pi * periods * (rows * np.sin(angle) + columns * np.cos(angle)))
    second = np.sin(2 * np.pi * periods * (rows * np.cos(angle) - columns * np.sin(angle)))
    return np.clip(0.5 + rng.uniform(1, 4) * first * second, 0, 1)


def _grain(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse, fine = _noise(rng, height, width), _noise(rng, height, width, cells=int(rng.integers(30, 60)))
    return 0.5 * coarse + 0.5 * fine


_PATTERNS = (_noise, _gradient, _spot, _stripes, _checks, _grain)
