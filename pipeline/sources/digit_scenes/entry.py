"""The entry of a `digit_scenes` source in params.yaml."""

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le
from pydantic import Field, model_validator

from pipeline import sources
from pipeline.runtime.entries import Entry, Seed

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MIN_DIGIT_HEIGHT = 24  # pixels: a crowded scene makes its digits smaller, down to this


Count = Annotated[int, Ge(1), Le(999_999)]  # a scene's number has six digits


class SceneCounts(Entry):
    """Scenes in each split."""

    train: Count
    val: Count
    test: Count


class Source(sources.SourceEntry):
    """Entry of a `digit_scenes` source. Its splits are drawn apart, so it has no `splits`: `scenes` says how large each is.

    Attributes:
        seed: Of everything that is drawn.
        scenes: Number of scenes in each split.
        digits_per_scene: Fractions of the scenes with 1, 2, 3, ... digits; they add up to 1.
        scene_size: Minimum and maximum of height and width, pixels; both are drawn, so few scenes are square.
        digit_height: Minimum and maximum of a digit's height, pixels.
        max_covered_fraction: Of a digit's pixels, those that others may hide.
    """

    kind: Literal["digit_scenes"]
    seed: Seed
    scenes: SceneCounts
    digits_per_scene: Annotated[tuple[Annotated[float, Ge(0)], ...], Field(max_length=4)] = (0.25, 0.45, 0.30)
    scene_size: tuple[Annotated[int, Ge(96)], Annotated[int, Le(1024)]] = (112, 160)
    digit_height: tuple[Annotated[int, Ge(MIN_DIGIT_HEIGHT)], Annotated[int, Gt(0)]] = (32, 72)
    max_covered_fraction: Annotated[float, Ge(0), Le(0.5)] = 0.15

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the digits, in order."""
        return CLASSES

    @model_validator(mode="after")
    def _is_possible(self) -> "Source":
        if abs(sum(self.digits_per_scene) - 1) > 1e-6:
            raise ValueError(
                f"digits_per_scene: expected fractions that add up to 1; received: {self.digits_per_scene}"
            )
        for key in ("scene_size", "digit_height"):
            low, high = getattr(self, key)
            if low > high:
                raise ValueError(f"{key}: expected minimum, maximum; received: {low}, {high}")
        if self.digit_height[1] > 0.75 * self.scene_size[0]:
            raise ValueError(
                f"digit_height: expected at most three quarters of the minimum of scene_size, {self.scene_size[0]}; "
                f"received: {self.digit_height[1]}"
            )
        return self
