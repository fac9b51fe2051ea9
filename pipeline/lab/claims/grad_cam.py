"""Claim 10: a trained network knows where it sees what it says, though a class is all that it is asked for (Selvaraju et al. 2017, Grad-CAM).

Scenes with two different digits. For each digit, the map of its class is compared with that of the other digit's class: the part of the
map that lies in this digit's box.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import lazy_loader
import numpy as np
from pydantic import Field, model_validator

from cnnkeras.resizing import resize
from pipeline.backend import devices, model_files
from pipeline.lab import slides
from pipeline.lab.claims import ClaimEntry, Findings
from pipeline.lab.scenes import CLASSES, TEST_SCENES, draw
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pipeline.sources.digit_scenes.drawing import Scene

cv2 = lazy_loader.load("cv2")  # every command that checks params.yaml imports the claims

DRAWN = 6  # scenes in the figure
STANDARD_ERRORS = 3  # by which the measured fraction has to be above what chance gives


class Settings(ClaimEntry):
    """The model, one convolution of it, and the scenes. `models` has a classifier or a detector of digits, and `scratch` else.

    Attributes:
        layer: Name of the convolution whose maps are weighed.
        scenes: How many test scenes with two different digits are looked at.
    """

    layer: Annotated[str, Field(min_length=1)]
    scenes: Annotated[int, Field(ge=DRAWN, le=TEST_SCENES // 2)] = 40

    @model_validator(mode="after")
    def _has_one_model(self) -> "Settings":
        if len(self.trained_models) != 1 or self.trained_models[0] not in (
            self.models.classifier,
            self.models.detector,
        ):
            raise ValueError(
                f"models: expected one experiment, as classifier or as detector; received: {', '.join(self.trained_models) or 'none'}"
            )
        return self


def require_model(role: str, *, task: str, input_shape: tuple[int, ...], classes: int) -> None:  # noqa: ARG001 - as in the other claims
    """Refuse a model of something else than images of the ten digits.

    Raises:
        ValueError: It is of something else.
    """
    if len(input_shape) != 3 or classes != CLASSES:
        raise ValueError(f"expected an experiment on images of the {CLASSES} digits; received: another one")


def measure(settings: Settings, *, seed: int) -> Findings:
    """Compute the maps of both classes in each scene."""
    chosen = _two_digits(settings.scenes)
    labels = np.array([label for scene in chosen for label in scene.labels])
    with devices.set_up(seed=seed):
        from cnnkeras.grad_cam import activation_maps

        model = model_files.load(paths.model_file(settings.trained_models[0]))
        inputs = np.stack([resize(scene.image, model.input_shape[1:3]) for scene in chosen for _ in scene.labels])
        try:
            maps = activation_maps(model, settings.layer, inputs, _score(labels))
        except ValueError as error:
            raise InputError(f"grad_cam: {error}") from error
    placed = [_enlarged(each, chosen[number // 2].image.shape[:2]) for number, each in enumerate(maps)]
    wins, inside, area = zip(
        *(_compared(scene, placed[2 * at : 2 * at + 2]) for at, scene in enumerate(chosen)), strict=True
    )
    measured = {
        "digits": len(labels),
        "more_on_its_own_digit": float(np.mean(wins)),
        "inside_the_box": float(np.mean(inside)),
        "area_of_the_box": float(np.mean(area)),
        "map_side": int(maps.shape[1]),
    }
    error = 0.5 / len(labels) ** 0.5
    holds = (
        measured["more_on_its_own_digit"] > 0.5 + STANDARD_ERRORS * error
        and measured["inside_the_box"] > measured["area_of_the_box"]
    )
    return _findings(settings, measured, bool(holds), lambda figure: _draw(figure, chosen, placed))


def _two_digits(count: int) -> "list[Scene]":
    """The first test scenes with two different digits."""
    drawn = map(draw, range(TEST_SCENES))
    chosen = (scene for scene in drawn if len(set(scene.labels)) == 2)
    return [next(chosen) for _ in range(count)]


def _score(labels: np.ndarray) -> Callable:
    """Y of each image of a batch: of a classifier the logit of its class, of a detector the sum of the scores of all boxes for it."""

    def score(outputs):
        from keras import ops

        wanted = ops.one_hot(labels, CLASSES)
        if len(outputs.shape) == 2:
            return ops.sum(outputs * wanted, axis=-1)
        boxes = (outputs.shape[-1] - CLASSES) // 5
        of_class = ops.sum(outputs[..., :CLASSES] * wanted[:, None, None], axis=-1)
        confidence = ops.sum(outputs[..., CLASSES : CLASSES + boxes], axis=-1)
        return ops.sum(of_class * confidence, axis=(1, 2))

    return score


def _enlarged(map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map at an image's size, float32 (H, W), with the sum 1, or 0 where it is 0 everywhere."""
    height, width = size
    large = cv2.resize(map, (width, height), interpolation=cv2.INTER_LINEAR)
    return large / max(float(large.sum()), 1e-12)


def _compared(scene: "Scene", maps: Sequence[np.ndarray]) -> tuple[list[bool], list[float], list[float]]:
    """Of each of two digits: whether the map of its class lies more in its box than the other map does, how much, and the box's part of the image."""
    wins, inside, area = [], [], []
    for number, (left, upper, right, lower) in enumerate(np.rint(scene.boxes).astype(int)):
        own, other = (float(maps[which][upper:lower, left:right].sum()) for which in (number, 1 - number))
        wins.append(own > other)
        inside.append(own)
        area.append((right - left) * (lower - upper) / maps[0].size)
    return wins, inside, area


def _findings(settings: Settings, measured: dict, holds: bool, draw_figure: "Callable[[Figure], None]") -> Findings:
    return Findings(
        claim="A network that says what is in an image also knows where: the gradient of a class's score by the last feature maps points to it.",
        published={},
        measured=measured,
        holds=holds,
        paragraph=(
            f"{settings.scenes} test scenes with two different digits through {settings.trained_models[0]}, Grad-CAM on {settings.layer} "
            f"({measured['map_side']}x{measured['map_side']} positions): of {measured['more_on_its_own_digit']:.0%} of the digits the map of the "
            f"digit's own class lies more in its box than the map of the other digit's class (50 % by chance); {measured['inside_the_box']:.0%} "
            f"of a map lie in the box of its digit, which covers {measured['area_of_the_box']:.0%} of the image."
        ),
        title="Where a network sees a class",
        draw=draw_figure,
    )


def _draw(figure: "Figure", chosen: "Sequence[Scene]", maps: Sequence[np.ndarray]) -> None:
    """Of each scene the image, and over it the map of each of its two classes."""
    axes = figure.subplots(3, 6)
    for number, scene in enumerate(chosen[:DRAWN]):
        row, column = number // 2, 3 * (number % 2)
        slides.show_image(axes[row, column], scene.image, "image")
        for which, label in enumerate(scene.labels):
            heat = maps[2 * number + which]
            panel = axes[row, column + 1 + which]
            slides.show_image(panel, scene.image, f"a {label}?")
            panel.imshow(heat, cmap="inferno", alpha=0.65, vmin=0, vmax=max(float(heat.max()), 1e-12))
