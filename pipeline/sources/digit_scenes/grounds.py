"""Textured grounds for scenes: two similar shades, and a pattern drawn at random from six kinds between them."""

import cv2
import numpy as np


def draw_ground(rng: np.random.Generator, height: int, width: int) -> tuple[float, np.ndarray]:
    """A textured ground of two similar shades: its mean lightness (CIE L*) and RGB float32 (H, W, 3)."""
    lightness = rng.uniform(12, 88)
    spread = rng.uniform(4, 12)  # L* around the mean: visible, never as strong as a digit (see `_paint` of drawing.py)
    dark, light = (draw_colour(rng, lightness + sign * spread) for sign in (-1, 1))
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng, height, width)
    pattern = 0.8 * pattern + 0.2 * _noise(rng, height, width, cells=rng.integers(8, 24))
    return lightness, dark + (light - dark) * pattern[..., None]


def draw_colour(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """A random colour of that lightness: RGB float32 (3,), 0..255."""
    hue, chroma = rng.uniform(0, 2 * np.pi), rng.uniform(5, 45)
    lab = np.array([[[lightness, chroma * np.cos(hue), chroma * np.sin(hue)]]], np.float32)
    return 255 * np.clip(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB), 0, 1)[0, 0]


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
