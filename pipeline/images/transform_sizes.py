"""The sizes that images can have after a list of transforms, from the list alone: before anything runs, and without albumentations.

A transform that is not named here keeps the size of an image; `tests/test_transform_sizes.py` tries all of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnkeras.resizing import with_shorter_side

Arguments = Mapping[str, Any]
Transforms = Sequence[Mapping[str, Arguments]]
Size = tuple[int, int]  # height and width


@dataclass(frozen=True)
class Sides:
    """What is known of the sizes of images: the smallest and the largest height and width in pixels, both possible values."""

    low: Size
    high: tuple[float, float] = (math.inf, math.inf)

    @classmethod
    def exactly(cls, size: Sequence[int]) -> "Sides":
        """All images have this size."""
        return cls(tuple(size), tuple(size))

    def is_exactly(self, size: Sequence[int]) -> bool:
        """Whether all images have this size."""
        return self == Sides.exactly(size)

    def or_(self, other: "Sides") -> "Sides":
        """The sizes that are possible here or there."""
        return Sides(tuple(map(min, self.low, other.low)), tuple(map(max, self.high, other.high)))

    def __str__(self) -> str:
        return " x ".join(
            str(low) if low == high else f"{low} or more" if high == math.inf else f"{low} to {high}"
            for low, high in zip(self.low, self.high, strict=True)
        )


ANY = Sides((1, 1))
LIMITS = (256, 512)  # of ShorterSideJitter, by default


def after(transform: str, arguments: Arguments, sides: Sides) -> Sides:
    """What sizes images have after a transform.

    Raises:
        ValueError: It cuts out a part that may be larger than an image.
    """
    if transform not in _CHANGES:
        return sides
    changed = _CHANGES[transform](sides, arguments)
    return changed if arguments.get("p", _CHANCES.get(transform, 1)) == 1 else sides.or_(changed)


def scaled(transforms: Transforms, shape: Size) -> Size | None:
    """The largest size that the first transform scales an image of `shape` to, in any case; None if the first one does anything else."""
    if not transforms:
        return None
    ((name, arguments),) = transforms[0].items()
    arguments = arguments or {}
    if arguments.get("p", 1) != 1 or arguments.get("max_size_hw") is not None:
        return None
    if name == "Resize":
        return arguments["height"], arguments["width"]
    if name == "ShorterSideJitter":
        return with_shorter_side(shape, max(arguments.get("limits", LIMITS)))
    if name == "SmallestMaxSize":
        return with_shorter_side(shape, max(_numbers(arguments["max_size"])))
    if name == "LongestMaxSize":
        factor = max(_numbers(arguments["max_size"])) / max(shape)
        return tuple(math.ceil(side * factor) for side in shape)
    return None


def _numbers(value: Any) -> Sequence[int]:
    return (value,) if isinstance(value, int) else tuple(value)


def _size(_sides: Sides, arguments: Arguments) -> Sides:
    """Transforms that scale to a size."""
    return Sides.exactly(arguments["size"] if "size" in arguments else (arguments["height"], arguments["width"]))


def _crop(sides: Sides, arguments: Arguments) -> Sides:
    """Transforms that cut a size out."""
    size = arguments["height"], arguments["width"]
    if not arguments.get("pad_if_needed") and any(low < side for low, side in zip(sides.low, size, strict=True)):
        raise ValueError(f"expected images of at least {size[0]} x {size[1]} pixels to cut out of; received: {sides}")
    return Sides.exactly(size)


def _corners(sides: Sides, arguments: Arguments) -> Sides:
    """`Crop`, by its corners."""
    x0, y0, x1, y1 = (arguments.get(key, default) for key, default in _CORNERS.items())
    if not arguments.get("pad_if_needed") and any(low < side for low, side in zip(sides.low, (y1, x1), strict=True)):
        raise ValueError(f"expected images of at least {y1} x {x1} pixels to cut out of; received: {sides}")
    return Sides.exactly((y1 - y0, x1 - x0))


_CORNERS = {"x_min": 0, "y_min": 0, "x_max": 1024, "y_max": 1024}


def _shorter(sides: Sides, arguments: Arguments) -> Sides:
    """Transforms that scale the shorter side: `max_size`, or one of several."""
    if arguments.get("max_size_hw") is not None:
        return ANY
    sizes = _numbers(arguments.get("max_size") or arguments.get("limits", LIMITS))
    low, high = min(sizes), max(sizes)
    return Sides((low, low), (high, high) if _is_square(sides) else (math.inf, math.inf))


def _longer(sides: Sides, arguments: Arguments) -> Sides:
    """`LongestMaxSize`, which scales the longer side."""
    if arguments.get("max_size_hw") is not None:
        height, width = arguments["max_size_hw"]
        return Sides((1, 1), (height or math.inf, width or math.inf))
    low, high = min(_numbers(arguments["max_size"])), max(_numbers(arguments["max_size"]))
    return Sides((low, low) if _is_square(sides) else (1, 1), (high, high))


def _is_square(sides: Sides) -> bool:
    """Whether all images are squares of one size."""
    return len({*sides.low, *sides.high}) == 1


def _pad(sides: Sides, arguments: Arguments) -> Sides:
    """`PadIfNeeded`, to a minimum of both sides."""
    least = tuple(arguments.get(key, 1024) for key in ("min_height", "min_width"))
    if None in least or any(arguments.get(f"pad_{side}_divisor") for side in ("height", "width")):
        return Sides(sides.low)
    return Sides(tuple(map(max, sides.low, least)), tuple(map(max, sides.high, least)))


def _turn(sides: Sides, _arguments: Arguments) -> Sides:
    """Transforms that may exchange height and width."""
    return sides.or_(Sides(sides.low[::-1], sides.high[::-1]))


def _kept(key: str, value: bool, default: bool) -> Callable[[Sides, Arguments], Sides]:
    """Of a transform after which an image has any size unless a key has this value."""
    return lambda sides, arguments: sides if arguments.get(key, default) == value else ANY


def _any(_sides: Sides, _arguments: Arguments) -> Sides:
    return ANY


_CHANGES: dict[str, Callable[[Sides, Arguments], Sides]] = {
    **dict.fromkeys(("Resize", "RandomResizedCrop", "RandomSizedCrop", "RandomSizedBBoxSafeCrop"), _size),
    **dict.fromkeys(("RandomCrop", "CenterCrop", "AtLeastOneBBoxRandomCrop", "CropNonEmptyMaskIfExists"), _crop),
    "Crop": _corners,
    **dict.fromkeys(("SmallestMaxSize", "ShorterSideJitter"), _shorter),
    "LongestMaxSize": _longer,
    "PadIfNeeded": _pad,
    **dict.fromkeys(("RandomRotate90", "Transpose", "D4", "SquareSymmetry"), _turn),
    **dict.fromkeys(("CropAndPad", "Perspective"), _kept("keep_size", True, True)),
    "Affine": _kept("fit_output", False, False),
    "Rotate": _kept("crop_border", False, False),
    **dict.fromkeys(
        ("BBoxSafeRandomCrop", "RandomCropFromBorders", "RandomCropNearBBox", "RandomScale", "Pad", "Mosaic"), _any
    ),
}
# How often those act by default that do not always.
_CHANCES = {"RandomScale": 0.5, "Transpose": 0.5, "Mosaic": 0.5, "Affine": 0.5, "Perspective": 0.5, "Rotate": 0.5}
