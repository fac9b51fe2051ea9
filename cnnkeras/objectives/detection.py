"""YOLO's loss (Redmon et al. 2016, section 2.2, equation 3), with the gradient of the authors' code.

The last axis of the outputs is [C class probabilities | B confidences | B x (x, y, √w, √h)], the last axis of the
targets [object | x, y, w, h | C one-hot class]; x and y are offsets within the cell, 0..1; w and h are fractions of the
image.
"""

import keras
from keras import ops

# Limit on the sides of predicted boxes, in image widths, so that no area is infinite in float32.
MAX_SIDE = 1e18


@keras.saving.register_keras_serializable(package="cnnkeras")
class YoloLoss(keras.losses.Loss):
    """Squared error in cells, boxes and classes, weighted.

    With the paper's symbols, S x S cells i, B boxes j, and 1ᵢⱼ = 1 for the box responsible for the object in cell i:

        L = ½ { λ_coord Σᵢⱼ 1ᵢⱼ [(x - x̂)² + (y - ŷ)² + (√w - √ŵ)² + (√h - √ĥ)²]
                + Σᵢⱼ 1ᵢⱼ (C - Ĉ)² + λ_noobj Σᵢⱼ (1 - 1ᵢⱼ) C² + Σᵢ 1ᵢ Σ_c (p(c) - p̂(c))² }

    λ_coord -> `coord_weight`, λ_noobj -> `noobj_weight`. Ĉ is the IoU of the predicted box with the object, a constant
    to the gradient. The responsible box is the one with the highest IoU; if every IoU is zero, the one whose
    (x/S, y/S, w, h) is nearest to the object's (`best_rmse` in src/detection_layer.c, pjreddie/darknet@f6afaab); of equal boxes the
    first. Boxes of an object's cell that are not responsible have the no-object term, like boxes of empty cells. The terms are
    summed over the outputs and averaged over the batch. Finite outputs never give a NaN: square roots are taken of targets only.

    Departures from the paper: the factor ½, which makes the gradient equal to that of the authors' code (the negative of its
    `delta`), so that the paper's learning rates apply; the equation as printed has twice that gradient. The authors' code looks for
    the nearest box up to a distance of 20 only, this loss at any distance.

    Args:
        coord_weight: λ_coord.
        noobj_weight: λ_noobj.

    Call: targets (batch, S, S, 5 + C), outputs (batch, S, S, C + 5B), float32.

    Raises:
        ValueError: The last axes do not give a whole number of boxes.
    """

    def __init__(self, coord_weight=5.0, noobj_weight=0.5, name="yolo_loss", **arguments):
        super().__init__(name=name, **arguments)
        self.coord_weight = coord_weight
        self.noobj_weight = noobj_weight

    def call(self, y_true, y_pred):
        """The loss of each image, (batch,)."""
        classes, confidences, boxes = _split_outputs(y_pred, y_true)
        has_object, x_y_w_h, true_classes = y_true[..., 0] > 0.5, y_true[..., 1:5], y_true[..., 5:]
        responsible, ious = assign_responsible(has_object, x_y_w_h, boxes)
        target = ops.concatenate([x_y_w_h[..., :2], ops.sqrt(x_y_w_h[..., 2:])], axis=-1)[..., None, :]
        # Differences are masked before they are squared: a square that overflows, times zero, would be NaN.
        box_errors = ops.where(responsible[..., None], boxes - target, 0.0)
        confidence_errors = confidences - ops.where(responsible, ious, 0.0)
        confidence_weights = ops.where(responsible, 1.0, self.noobj_weight)
        class_errors = ops.where(has_object[..., None], classes - true_classes, 0.0)
        return 0.5 * (
            self.coord_weight * ops.sum(ops.square(box_errors), axis=(1, 2, 3, 4))
            + ops.sum(confidence_weights * ops.square(confidence_errors), axis=(1, 2, 3))
            + ops.sum(ops.square(class_errors), axis=(1, 2, 3))
        )

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "coord_weight": self.coord_weight, "noobj_weight": self.noobj_weight}


@keras.saving.register_keras_serializable(package="cnnkeras")
class ResponsibleIoU(keras.metrics.Mean):
    """Mean IoU of the responsible boxes with their objects, 0..1: the `Avg IOU` that the authors' code prints.

    Call: targets and outputs as for `YoloLoss`.
    """

    def __init__(self, name="responsible_iou", **arguments):
        super().__init__(name=name, **arguments)

    def update_state(self, y_true, y_pred, sample_weight=None):  # noqa: ARG002 - part of Keras' interface
        """Add the responsible boxes of a batch."""
        y_true, y_pred = ops.convert_to_tensor(y_true, self.dtype), ops.convert_to_tensor(y_pred, self.dtype)
        boxes = _split_outputs(y_pred, y_true)[2]
        responsible, ious = assign_responsible(y_true[..., 0] > 0.5, y_true[..., 1:5], boxes)
        return super().update_state(ious, sample_weight=ops.cast(responsible, self.dtype))


def assign_responsible(has_object, true_boxes, boxes):
    """Find the box of each cell that is responsible for the cell's object.

    Args:
        has_object: bool (batch, S, S).
        true_boxes: (batch, S, S, 4): x, y within the cell; w, h as fractions of the image.
        boxes: (batch, S, S, B, 4): predicted x, y, √w, √h.

    Returns:
        responsible: bool (batch, S, S, B), one true box in a cell with an object, none in the other cells.
        ious: (batch, S, S, B), the IoU of each predicted box with the object of its cell, without gradient.
    """
    boxes = ops.stop_gradient(boxes)
    cells = boxes.shape[1]
    predicted = ops.concatenate([boxes[..., :2] / cells, ops.minimum(ops.square(boxes[..., 2:]), MAX_SIDE)], axis=-1)
    truth = ops.concatenate([true_boxes[..., :2] / cells, true_boxes[..., 2:]], axis=-1)[..., None, :]
    ious = _iou_of_centred(predicted, truth)
    squared_distances = ops.sum(ops.square(predicted - truth), axis=-1)
    best = ops.where(ops.max(ious, axis=-1) > 0, ops.argmax(ious, axis=-1), ops.argmin(squared_distances, axis=-1))
    responsible = ops.expand_dims(best, -1) == ops.arange(boxes.shape[3], dtype=best.dtype)
    return ops.logical_and(responsible, has_object[..., None]), ious


def _split_outputs(y_pred, y_true):
    """Class probabilities (..., C), confidences (..., B) and boxes (..., B, 4)."""
    classes = y_true.shape[-1] - 5
    boxes, remainder = divmod(y_pred.shape[-1] - classes, 5)
    if classes < 1 or boxes < 1 or remainder:
        raise ValueError(
            "expected targets (..., 5 + classes) and outputs (..., classes + 5 x boxes); "
            f"received: {tuple(y_true.shape)} and {tuple(y_pred.shape)}. Encode the targets with the network's classes"
        )
    coordinates = ops.reshape(y_pred[..., classes + boxes :], (-1, *y_pred.shape[1:3], boxes, 4))
    return y_pred[..., :classes], y_pred[..., classes : classes + boxes], coordinates


def _iou_of_centred(a, b):
    """IoU (...,) of boxes (..., 4) as centre, width and height; 0 for boxes that do not overlap."""
    a_low, a_high = a[..., :2] - a[..., 2:] / 2, a[..., :2] + a[..., 2:] / 2
    b_low, b_high = b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2
    intersection = ops.prod(ops.maximum(ops.minimum(a_high, b_high) - ops.maximum(a_low, b_low), 0.0), axis=-1)
    union = ops.prod(a[..., 2:], axis=-1) + ops.prod(b[..., 2:], axis=-1) - intersection
    return ops.where(intersection > 0, intersection / ops.where(union > 0, union, 1.0), 0.0)
