"""Claim 9: what the convolutions see, in the trained default experiments.

Filters of the first layer (Krizhevsky et al. 2012, figure 3); feature maps of one scene in the encoder and in the decoder with the
poolings' switches (Noh et al. 2015, figure 4); YOLO's grid with its boxes before and after threshold and non-maximum suppression, drawn
with lines as wide as the score is high (Redmon et al. 2016, figure 2).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import lazy_loader
import numpy as np
from pydantic import Field, model_validator

from cnnkeras.boxes import Detections
from cnnkeras.resizing import resize
from cnnkeras.tasks import detection
from pipeline.backend import devices, model_files
from pipeline.lab import scenes, slides
from pipeline.lab.claims import ClaimEntry, Findings, Models
from pipeline.lab.scenes import CLASSES, TEST_SCENES
from pipeline.runtime import paths
from pipeline.runtime.paths import SCRATCH

if TYPE_CHECKING:
    import keras
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pipeline.sources.digit_scenes.drawing import Scene

cv2 = lazy_loader.load("cv2")  # every command that checks params.yaml imports the claims

TASKS = (
    "classification",
    "classification",
    "segmentation",
    "detection",
)  # of the models, in the order of the keys of `models`


class Settings(ClaimEntry):
    """The scene, and the thresholds of the detector.

    Attributes:
        scene: Number of a scene of the test split, from 0.
        confidence_threshold: Boxes with a lower score are dropped.
        nms_iou: Of two boxes of a class with a higher intersection over union, the one with the lower score is dropped.
    """

    scene: Annotated[int, Field(ge=0, lt=TEST_SCENES)] = 3
    confidence_threshold: Annotated[float, Field(ge=0, le=1)] = 0.2
    nms_iou: Annotated[float, Field(ge=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _are_trained(self) -> "Settings":
        if len(self.trained_models) < len(self.models.model_dump()):
            raise ValueError(f"models: expected an experiment for each; received: {SCRATCH!r} among them")
        return self


def require_model(role: str, *, task: str, input_shape: tuple[int, ...], classes: int) -> None:
    """Refuse a model that cannot have a role in the figure.

    Args:
        role: A key of `models`.
        task: What the model was trained for.
        input_shape: Shape of its inputs.
        classes: Number of its classes.

    Raises:
        ValueError: It is of another task, has signals as inputs, or is a detector of something else than the digits of the scene.
    """
    expected = dict(zip(Models.model_fields, TASKS, strict=True))[role]
    if task != expected:
        raise ValueError(f"expected an experiment for {expected}; received: one for {task}")
    if len(input_shape) != 3:
        raise ValueError("expected an experiment on images; received: one on signals")
    if role == "detector" and classes != CLASSES:
        raise ValueError(f"expected an experiment on the {CLASSES} digits; received: one on {classes} classes")


def measure(settings: Settings, *, seed: int) -> Findings:
    """Run one scene through the four models, and measure the filters, maps and boxes of the figure."""
    with devices.set_up(seed=seed):
        models = {role: model_files.load(paths.model_file(name)) for role, name in settings.models.model_dump().items()}
        scene = scenes.draw(settings.scene)
        filters = _first_filters(models["classifier"])
        down = {role: _maps(models[role], scene) for role in ("classifier", "encoder", "segmenter")}
        unpooling = _unpooling(models["segmenter"], scene)
        outputs = np.asarray(models["detector"].predict_on_batch(_fitted(models["detector"], scene)))
    boxes = _boxes(settings, outputs)
    smoothness, error = _smoothness(filters)
    widths = {role: [maps.shape[1] for maps in maps_of_layer.values()] for role, maps_of_layer in down.items()}
    measured = {
        "first_filters": int(filters.shape[-1]),
        "filter_smoothness": smoothness,
        "cells": int(outputs.shape[1] * outputs.shape[2]),
        "boxes_before": len(boxes["all"].scores),
        "boxes_above_threshold": len(boxes["sure"].scores),
        "boxes_after_nms": len(boxes["kept"].scores),
        "objects_in_scene": len(scene.labels),
        "misplaced_unpooled_values": unpooling["misplaced"],
        "unpooled_fraction": unpooling["fraction"],
        "narrowest_map": min(widths["segmenter"]),
        "decoder_output_side": widths["segmenter"][-1],
    }
    return _findings(
        settings, measured, widths, error, lambda figure: _draw(figure, scene, filters, down, outputs, boxes)
    )


def _boxes(settings: Settings, outputs: np.ndarray) -> dict[str, Detections]:
    """The detector's boxes: all of them, those above the threshold, and those left after suppression."""
    threshold = settings.confidence_threshold
    return {
        "all": detection.detect(outputs, classes=CLASSES, confidence_threshold=0.0, nms_iou=1.0),
        "sure": detection.detect(outputs, classes=CLASSES, confidence_threshold=threshold, nms_iou=1.0),
        "kept": detection.detect(outputs, classes=CLASSES, confidence_threshold=threshold, nms_iou=settings.nms_iou),
    }


def _findings(
    settings: Settings,
    measured: dict[str, Any],
    widths: dict[str, list[int]],
    error: float,
    draw: "Callable[[Figure], None]",
) -> Findings:
    segmenter, smoothness = widths["segmenter"], measured["filter_smoothness"]
    narrowest = segmenter.index(min(segmenter))
    holds = (
        measured["boxes_before"] > measured["boxes_above_threshold"] >= measured["boxes_after_nms"] >= 1
        and measured["misplaced_unpooled_values"] == 0
        and all(list(sizes) == sorted(sizes, reverse=True) for sizes in (widths["classifier"], widths["encoder"]))
        and segmenter[: narrowest + 1] == sorted(segmenter[: narrowest + 1], reverse=True)
        and segmenter[narrowest:] == sorted(segmenter[narrowest:])
        and smoothness > 4 * error
    )
    return Findings(
        claim=(
            "Maps shrink down the encoder and grow again up the decoder, where the switches put values back where they came from; "
            "YOLO proposes many boxes, of which threshold and non-maximum suppression leave few."
        ),
        published={},
        measured=measured,
        holds=bool(holds),
        paragraph=(
            f"One test scene with {measured['objects_in_scene']} digits through {', '.join(settings.models.model_dump().values())}: "
            f"{measured['cells']} cells propose {measured['boxes_before']:,} pairs of a box and a class with a score above 0; "
            f"{measured['boxes_above_threshold']} are above {settings.confidence_threshold:g}, {measured['boxes_after_nms']} are left after "
            f"suppression. The segmenter's maps go from {segmenter[0]} to {min(segmenter)} and back to {segmenter[-1]} pixels; of the "
            f"values of the last unpooling {measured['unpooled_fraction']:.0%} are filled, {measured['misplaced_unpooled_values']} of them at another "
            f"position than the pooling found them. Neighbouring weights of the classifier's first filters correlate by "
            f"{smoothness:.2f} (0 ± {error:.2f} for noise)."
        ),
        title="What the convolutions see",
        draw=draw,
    )


def _fitted(model: "keras.Model", scene: "Scene") -> np.ndarray:
    """The scene's image, resized to the model's input, as a batch of one: uint8 (1, H, W, 3)."""
    height, width = model.input_shape[1:3]
    return resize(scene.image, (height, width))[None]


def _first_filters(model: "keras.Model") -> np.ndarray:
    """Weights (K, K, 3, filters) of the first convolution."""
    return np.asarray(next(layer.kernel for layer in model.layers if hasattr(layer, "kernel_size")))


def _smoothness(filters: np.ndarray) -> tuple[float, float]:
    """Correlation of neighbouring weights over all filters (K, K, 3, n), 0 for independent weights; and the standard error of that 0.

    Each filter's mean is subtracted, which alone gives any two of its weights a correlation of -1 / (K K - 1); the result is corrected
    for it.
    """
    centred = filters - filters.mean(axis=(0, 1))
    products = np.concatenate([(centred[:-1] * centred[1:]).ravel(), (centred[:, :-1] * centred[:, 1:]).ravel()])
    weights = filters.shape[0] * filters.shape[1]
    return float(products.mean() / (centred**2).mean() + 1 / (weights - 1)), len(products) ** -0.5


def _maps(model: "keras.Model", scene: "Scene") -> dict[str, np.ndarray]:
    """Feature maps (1, H, W, C) of every convolution, pooling and unpooling, by layer, in order."""
    import keras

    layers = [layer for layer in model.layers if hasattr(layer, "kernel_size") or hasattr(layer, "pool_size")]
    outputs = [layer.output[0] if isinstance(layer.output, list | tuple) else layer.output for layer in layers]
    values = keras.Model(model.input, outputs).predict_on_batch(_fitted(model, scene))
    return {layer.name: np.asarray(value) for layer, value in zip(layers, values, strict=True)}


def _unpooling(model: "keras.Model", scene: "Scene") -> dict[str, Any]:
    """Of the last unpooling's output: the fraction of filled positions, and the number of those that are no maximum of the first pooling."""
    import keras

    from cnnkeras.layers import MaxPoolingWithSwitches, MaxUnpooling

    pool = next(layer for layer in model.layers if isinstance(layer, MaxPoolingWithSwitches))
    unpool = [layer for layer in model.layers if isinstance(layer, MaxUnpooling)][-1]
    part = keras.Model(model.input, [pool.input, pool.output[0], unpool.output])
    before, maxima, after = (np.asarray(value)[0] for value in part.predict_on_batch(_fitted(model, scene)))
    is_maximum = before == maxima.repeat(pool.pool_size, axis=0).repeat(pool.pool_size, axis=1)
    return {"misplaced": int(((after != 0) & ~is_maximum).sum()), "fraction": float((after != 0).mean())}


def _draw(
    figure: "Figure", scene, filters: np.ndarray, down: dict, outputs: np.ndarray, boxes: dict[str, Detections]
) -> None:
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=[1, 1, 1.15])
    left, centre, right = top.subplots(1, 3, width_ratios=[1.3, 1.5, 1.5])
    slides.show_image(left, _tiled(_scaled_colours(filters), columns=8), "classifier's first filters")
    for axes, role, kind in ((centre, "classifier", "conv"), (right, "encoder", "pool")):
        _strip(axes, down[role], [name for name in down[role] if name.startswith(kind)][:3], f"maps of the {role}")
    names = [name for name in down["segmenter"] if name.startswith(("pool", "unpool"))]
    _strip(middle.subplots(), down["segmenter"], names, "segmenter: down by pooling, up by unpooling with its switches")
    titles = {"all": "every box", "sure": "above the threshold", "kept": "after suppression"}
    axes = bottom.subplots(1, 4)
    slides.show_image(axes[0], scene.image, f"grid {outputs.shape[1]}x{outputs.shape[2]}")
    height, width = scene.image.shape[:2]
    for line in range(1, outputs.shape[1]):
        axes[0].axhline(line / outputs.shape[1] * height - 0.5, color="white", linewidth=1.5)
        axes[0].axvline(line / outputs.shape[2] * width - 0.5, color="white", linewidth=1.5)
    for panel, key in zip(axes[1:], titles, strict=True):
        slides.show_image(panel, scene.image, titles[key])
        _draw_boxes(panel, boxes[key], (height, width))


def _draw_boxes(axes: "Axes", detections: Detections, size: tuple[int, int]) -> None:
    """Draw every pair of a box and a class, those with the highest scores on top, with lines as wide as the score is high."""
    from matplotlib.patches import Rectangle

    height, width = size
    for label, box, score in sorted(
        zip(detections.labels, detections.boxes, detections.scores, strict=True), key=lambda detection: detection[2]
    ):
        left, upper, right, lower = box * [width, height, width, height] - 0.5
        axes.add_patch(
            Rectangle(
                (left, upper),
                right - left,
                lower - upper,
                fill=False,
                linewidth=0.3 + 6 * float(score),
                edgecolor=slides.COLORS[label % len(slides.COLORS)],
            )
        )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))


def _scaled_colours(filters: np.ndarray) -> np.ndarray:
    """Weights (K, K, 3, n) as images (n, K, K, 3) in 0..1; each filter's min becomes 0 and its max 1."""
    images = np.moveaxis(filters, -1, 0)
    low, high = images.min(axis=(1, 2, 3), keepdims=True), images.max(axis=(1, 2, 3), keepdims=True)
    return (images - low) / np.maximum(high - low, 1e-9)


def _tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """One image of images (n, K, K, 3) in rows of `columns`, with white lines between them."""
    rows = -(-len(images) // columns)
    side = images.shape[1]
    sheet = np.ones((rows * (side + 1) + 1, columns * (side + 1) + 1, 3))
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet[row * (side + 1) + 1 :, column * (side + 1) + 1 :][:side, :side] = image
    return sheet


def _strip(axes: "Axes", maps: dict[str, np.ndarray], names, title: str) -> None:
    """Draw the named maps side by side at one size, each by the channel with the highest standard deviation."""
    strip = []
    for name in names:
        channels = maps[name][0]
        channel = channels[..., channels.std(axis=(0, 1)).argmax()].astype(np.float32)
        scaled = (channel - channel.min()) / max(float(np.ptp(channel)), 1e-9)
        strip.append(np.pad(cv2.resize(scaled, (64, 64), interpolation=cv2.INTER_NEAREST), 2, constant_values=1))
    slides.show_image(axes, np.hstack(strip), title)
    labels = [f"{name}\n{maps[name].shape[1]}x{maps[name].shape[2]}" for name in names]
    axes.set_xticks([68 * index + 34 for index in range(len(strip))], labels)
    axes.tick_params(axis="x", labelsize=13, length=0)
