"""Detection with YOLO's grid (Redmon et al. 2016, section 2): boxes to targets, the model's outputs to boxes.

The image is divided into S x S cells. The model's outputs for each cell are [C class probabilities | B confidences | B x
(x, y, √w, √h)]: x and y are offsets within the cell, 0..1; w and h are fractions of the image.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import lazy_loader
import numpy as np
from annotated_types import Ge, Le

from cnnkeras import objectives
from cnnkeras.boxes import Detections, Objects, convert_boxes, non_maximum_suppression, suppress_by_class

keras = lazy_loader.load("keras")

Fraction = Annotated[float, Ge(0), Le(1)]

EXAMPLES = ("images",)
OUTPUT_DTYPE = np.dtype(np.float32)
ANNOTATIONS = ("boxes", "box_labels", "difficult")
METRICS = ("responsible_iou",)
PROTOCOL = None
COMMON_KEYS = ()
soft_targets = None  # a mixture of two grids has no box

# Objects with a side below this fraction of the image are no targets (fill_truth_region in src/data.c,
# pjreddie/darknet@f6afaab).
MIN_SIDE = 0.005


def encode_targets(boxes: Sequence[np.ndarray], labels: Sequence[np.ndarray], *, grid: int, classes: int) -> np.ndarray:
    """Targets of a batch of images: for each cell, the object whose centre is in it.

    Of several objects with their centres in one cell, the first is the target; darknet shuffles an image's objects at each
    use, so callers shuffle them. Objects with a side below `MIN_SIDE` are left out. Callers leave out difficult objects, as
    darknet's voc_label.py does.

    Args:
        boxes: For each image (n, 4), xyxy as fractions of the image.
        labels: For each image (n,), class indices.
        grid: S, the number of cells along a side.
        classes: C.

    Returns:
        float32 (images, S, S, 5 + C), indexed by the cell's row, then its column: [1 | x, y within the cell, w, h |
        one-hot class] in cells with an object, zeros in the others.
    """
    counts = [len(image) for image in labels]
    targets = np.zeros((len(counts), grid, grid, 5 + classes), np.float32)
    if not sum(counts):
        return targets
    image = np.repeat(np.arange(len(counts)), counts)
    label = np.concatenate(labels).astype(np.int64)
    centred = convert_boxes(np.concatenate(boxes).astype(np.float64), "xyxy", "cxcywh")
    cell = np.clip(np.floor(centred[:, :2] * grid), 0, grid - 1).astype(np.int64)  # column, row
    large = np.flatnonzero((centred[:, 2:] >= MIN_SIDE).all(axis=1))
    # np.unique gives the index of the first object in each cell.
    first = np.unique((image * grid + cell[:, 1])[large] * grid + cell[large, 0], return_index=True)[1]
    chosen = large[first]
    index = image[chosen], cell[chosen, 1], cell[chosen, 0]
    targets[*index, 0] = 1
    targets[*index, 1:3] = centred[chosen, :2] * grid - cell[chosen]
    targets[*index, 3:5] = centred[chosen, 2:]
    targets[*index, 5 + label[chosen]] = 1
    return targets


def encode_examples(
    annotations: Mapping[str, Sequence[np.ndarray]],
    *,
    seeds: Sequence[Sequence[int]],
    output_shape: Sequence[int],
    classes: int,
) -> np.ndarray:
    """Targets of some examples: `encode_targets` of their objects without the difficult ones, shuffled as in darknet.

    Args:
        annotations: For each example its `boxes`, `box_labels` and `difficult` flags.
        seeds: Seeds of the shuffling, one for each example. It decides which of several objects in a cell is the target.
        output_shape: (S, S, ...).
        classes: C.

    Returns:
        float32 (examples, S, S, 5 + C), as `encode_targets`.
    """
    boxes, labels = [], []
    columns = (annotations[name] for name in ANNOTATIONS)
    for seed, all_boxes, all_labels, difficult in zip(seeds, *columns, strict=True):
        chosen = np.flatnonzero(~difficult)
        np.random.default_rng(list(seed)).shuffle(chosen)
        boxes.append(all_boxes[chosen])
        labels.append(all_labels[chosen])
    return encode_targets(boxes, labels, grid=output_shape[0], classes=classes)


def tiny_batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets (4, 2, 2, 8), an object in each image, and outputs (4, 2, 2, 13), two boxes a cell, to try a loss by."""
    corners = generator.uniform(0, 0.5, (4, 1, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(0.1, 0.5, (4, 1, 2))], axis=-1)
    targets = encode_targets(boxes, generator.integers(0, 3, (4, 1)), grid=2, classes=3)
    return targets, generator.uniform(0, 1, (4, 2, 2, 13)).astype(np.float32)


def tiny_predictions(generator: np.random.Generator) -> tuple[Detections, Objects, int]:
    """Detections and objects of two classes in four images of 100 pixels, and the number of classes, to try a metric by."""
    corners, labels = generator.uniform(0, 50, (4, 2)), np.arange(4) % 2
    boxes = np.concatenate([corners, corners + generator.uniform(20, 50, (4, 2))], axis=-1)
    objects = Objects(np.arange(4), labels, boxes, np.zeros(4, bool), np.zeros(4, bool))
    shifted = boxes + generator.uniform(-9, 9, (4, 4))
    return (
        Detections(np.arange(4), labels, shifted.astype(np.float32), generator.uniform(0, 1, 4).astype(np.float32)),
        objects,
        2,
    )


def build_metrics() -> "list[keras.metrics.Metric]":
    """`responsible_iou`: mean IoU of the responsible boxes with their objects."""
    return [objectives.ResponsibleIoU()]


def decode_outputs(outputs: np.ndarray, *, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """All predicted boxes with their scores for all classes (section 2 and equation 1).

    The box is ((x + column) / S, (y + row) / S, w², h²) as centre, width and height; the score is confidence x class
    probability.

    Args:
        outputs: float (n, S, S, C + 5B).
        classes: C.

    Returns:
        boxes: float32 (n, S*S*B, 4), xyxy as fractions of the image, not clipped to it.
        scores: float32 (n, S*S*B, C).

    Raises:
        ValueError: The last axis is not classes + 5 x boxes for a whole number of boxes.
    """
    outputs = np.asarray(outputs, np.float32)
    images, rows, columns, numbers = outputs.shape
    boxes_per_cell, remainder = divmod(numbers - classes, 5)
    if boxes_per_cell < 1 or remainder:
        raise ValueError(f"expected outputs (..., {classes} + 5 x boxes); received: {outputs.shape}")
    probabilities, confidences, boxes = np.split(outputs, [classes, classes + boxes_per_cell], axis=-1)
    scores = confidences[..., :, None] * probabilities[..., None, :]
    boxes = boxes.reshape(images, rows, columns, boxes_per_cell, 4)
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    corner = np.stack([column, row], axis=-1)[:, :, None].astype(np.float32)
    centres = (boxes[..., :2] + corner) / np.array([columns, rows], np.float32)
    centred = np.concatenate([centres, np.square(boxes[..., 2:])], axis=-1)
    corners = convert_boxes(centred, "cxcywh", "xyxy")
    return corners.reshape(images, -1, 4), scores.reshape(images, -1, classes)


def postprocess(
    outputs: np.ndarray,
    classes: int,
    *,
    confidence_threshold: Fraction,
    nms_iou: Fraction,
    display_threshold: Fraction | Literal["best"] = 0.2,
    display_nms_iou: Fraction | None = None,
) -> tuple[Detections, Detections]:
    """The detections of a set of images: all of them, for the evaluation, and those to be drawn.

    Darknet measures with a threshold of .001 and an IoU of .5, and draws with .2 and .4.

    Args:
        outputs: float (n, S, S, C + 5B).
        classes: C.
        confidence_threshold: A box is a detection of a class if its confidence x class probability is greater.
        nms_iou: Of two boxes of a class whose IoU is greater, the one of lower score is dropped.
        display_threshold: Detections with this score or a higher one are drawn. In params.yaml `best` stands for the threshold with the
            best F1 on the validation split; here it has to be that number.
        display_nms_iou: As `nms_iou`, for a second suppression among the drawn boxes; None: no second one.

    Returns:
        Boxes as fractions of the image, not clipped to it; ordered by image, then class, then falling score.

    Raises:
        ValueError: `display_threshold` is no number.
    """
    if isinstance(display_threshold, str):
        raise ValueError(
            f"expected display_threshold as a number; received: {display_threshold!r}, which is to be chosen first"
        )
    detections = detect(outputs, classes=classes, confidence_threshold=confidence_threshold, nms_iou=nms_iou)
    return detections, displayed(detections, display_threshold=display_threshold, display_nms_iou=display_nms_iou)


def detect(outputs: np.ndarray, *, classes: int, confidence_threshold: float, nms_iou: float) -> Detections:
    """Detections of a set of images: scores above the threshold, then NMS in each image and class.

    Args, returns: as `postprocess`.
    """
    boxes, scores = decode_outputs(outputs, classes=classes)
    images, candidates, labels = suppress_by_class(
        boxes, scores, score_threshold=confidence_threshold, iou_threshold=nms_iou
    )
    return Detections(images, labels, boxes[images, candidates], scores[images, candidates, labels])


def displayed(detections: Detections, *, display_threshold: float, display_nms_iou: float | None = None) -> Detections:
    """The detections to be drawn, in their order; arguments as for `postprocess`."""
    shown = detections[np.flatnonzero(detections.scores >= display_threshold)]
    if display_nms_iou is None:
        return shown
    groups = shown.images * (1 + shown.labels.max(initial=0)) + shown.labels
    chosen = non_maximum_suppression(shown.boxes, shown.scores, groups, iou_threshold=display_nms_iou)
    return shown[np.sort(chosen)]


def max_settings(*, classes: int) -> dict[str, int]:  # noqa: ARG001 - as in the other tasks
    """The largest meaningful values of settings of `postprocess` that depend on the classes: there are none."""
    return {}


def describe_outputs(shape: tuple[int, ...], classes: int) -> dict[str, int]:
    """Facts about outputs of this shape, to be stored with them: the number of boxes of a cell."""
    return {"boxes_per_cell": (shape[-1] - classes) // 5}
