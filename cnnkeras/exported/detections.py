"""Boxes after non-maximum suppression from a grid of them: `cnnkeras.tasks.detection.detect` as a layer."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cnnkeras")
class DetectBoxes(keras.layers.Layer):
    """The detections of each image in pixels of the image, cut at its edges, by falling score, padded to a fixed number.

    A box is a detection of a class if confidence x class probability is above the threshold; from the highest score down, it suppresses those
    of its class whose IoU with it is greater than `nms_iou`. Boxes outside the image, thinner than a hundredth of a pixel, are left out.

    Maps a grid (batch, S, S, C + 5B) (`cnnkeras.tasks.detection` describes it) and images (batch, H, W, 3) to boxes float32 (batch, n, 4) -
    left, top, right, bottom -, scores float32 (batch, n), labels int32 (batch, n) and counts int32 (batch,), how many of the n are
    detections. Where the images lie in a part of the model's input, `frame` says in which (`FitImages`). The others have a score of 0, a label of -1 and a box of zeros. n is the number of all boxes for all classes, so that none is left out.

    Args:
        classes: C.
        confidence_threshold: See above.
        nms_iou: See above.
    """

    def __init__(self, classes: int, confidence_threshold: float, nms_iou: float, **kwargs):
        super().__init__(**kwargs)
        self.classes, self.confidence_threshold, self.nms_iou = classes, confidence_threshold, nms_iou

    def call(self, outputs, images, frame=None):
        """A grid (batch, S, S, C + 5B), images (batch, H, W, 3) and a frame (4,) to boxes, scores, labels and counts."""
        rows, columns, numbers = outputs.shape[1:]
        per_cell = (numbers - self.classes) // 5
        total = rows * columns * per_cell
        probabilities, confidences, numbers = ops.split(outputs, [self.classes, self.classes + per_cell], axis=-1)
        boxes = self._corners(ops.reshape(numbers, (-1, rows, columns, per_cell, 4)))
        boxes = ops.reshape(boxes, (-1, total, 4))
        scores = confidences[..., None] * probabilities[..., None, :]
        scores = ops.transpose(ops.reshape(scores, (-1, total, self.classes)), (0, 2, 1))  # (batch, C, boxes)
        kept = self._suppressed(boxes, scores)
        boxes = self._in_pixels(boxes, images, frame)
        hundredths = ops.round(boxes * 100)
        visible = ops.all(ops.greater(hundredths[..., 2:], hundredths[..., :2]), axis=-1)
        scores = ops.where(ops.logical_and(kept, visible[:, None]), scores, 0.0)
        return self._by_score(boxes, ops.reshape(scores, (-1, self.classes * total)), total)

    def _corners(self, boxes):
        """Boxes (batch, S, S, B, 4) as x and y in the cell, √w and √h, to corners as fractions of the image."""
        rows, columns = boxes.shape[1:3]
        column, row = ops.arange(columns, dtype="float32"), ops.arange(rows, dtype="float32")
        x = (boxes[..., 0] + column[None, None, :, None]) / columns
        y = (boxes[..., 1] + row[None, :, None, None]) / rows
        half_width, half_height = ops.square(boxes[..., 2]) / 2, ops.square(boxes[..., 3]) / 2
        return ops.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)

    def _suppressed(self, boxes, scores):
        """Which boxes (batch, n, 4) are detections of each class, bool (batch, C, n), by their scores (batch, C, n).

        A box survives if no survivor before it overlaps it. Beginning with all, each round is right for one box more at least, by falling score,
        and nothing changes when all are right (Zheng et al. 2020, "Enhancing geometric factors", section 4.2): the result is that of the
        greedy suppression.
        """
        total = boxes.shape[1]
        candidates = ops.greater(scores, self.confidence_threshold)
        earlier = ops.less(ops.arange(total)[None, :], ops.arange(total)[:, None])
        mine, other = scores[..., :, None], scores[..., None, :]
        comes_first = ops.logical_or(
            ops.greater(other, mine), ops.logical_and(ops.equal(other, mine), earlier[None, None])
        )
        rivals = ops.logical_and(comes_first, self._overlap(boxes)[:, None])  # (batch, C, n, n)

        def survivors(kept, _changed):
            beaten = ops.any(ops.logical_and(rivals, kept[..., None, :]), axis=-1)
            new = ops.logical_and(candidates, ops.logical_not(beaten))
            return new, ops.any(ops.not_equal(new, kept))

        kept, _ = ops.while_loop(lambda _kept, changed: changed, survivors, (candidates, ops.any(candidates)))
        return kept

    def _overlap(self, boxes):
        """Which pairs of boxes (batch, n, 4) overlap by more than the threshold: bool (batch, n, n)."""
        left, top, right, bottom = (boxes[..., side] for side in range(4))
        width = ops.minimum(right[..., None], right[..., None, :]) - ops.maximum(left[..., None], left[..., None, :])
        height = ops.minimum(bottom[..., None], bottom[..., None, :]) - ops.maximum(top[..., None], top[..., None, :])
        shared = ops.maximum(width, 0.0) * ops.maximum(height, 0.0)
        area = (right - left) * (bottom - top)
        return ops.greater(shared, self.nms_iou * (area[..., None] + area[..., None, :] - shared))

    def _in_pixels(self, boxes, images, frame):
        """Boxes (batch, n, 4) in pixels of the images, cut at their edges."""
        if frame is not None:
            start = ops.concatenate([frame[:2], frame[:2]])
            boxes = (boxes - start) / (ops.concatenate([frame[2:], frame[2:]]) - start)
        height, width = (ops.cast(side, "float32") for side in ops.shape(images)[1:3])
        sides = ops.stack([width, height, width, height])
        return ops.clip(boxes * sides, 0.0, sides)

    def _by_score(self, boxes, scores, total):
        """Boxes, scores, labels and counts by falling score, of boxes (batch, n, 4) and scores (batch, C x n)."""
        values, places = ops.top_k(scores, self.classes * total)
        exists = ops.greater(values, 0.0)
        chosen = ops.take_along_axis(boxes, (places % total)[..., None], axis=1)
        labels = ops.where(exists, ops.cast(places // total, "int32"), -1)
        return (
            ops.where(exists[..., None], chosen, 0.0),
            values,
            labels,
            ops.sum(ops.cast(exists, "int32"), axis=-1),
        )

    def compute_output_spec(self, outputs, _images, _frame=None):
        """Boxes, scores, labels and counts."""
        batch, rows, columns, numbers = outputs.shape
        count = self.classes * rows * columns * ((numbers - self.classes) // 5)
        return (
            keras.KerasTensor((batch, count, 4), "float32"),
            keras.KerasTensor((batch, count), "float32"),
            keras.KerasTensor((batch, count), "int32"),
            keras.KerasTensor((batch,), "int32"),
        )

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "classes": self.classes,
            "confidence_threshold": self.confidence_threshold,
            "nms_iou": self.nms_iou,
        }
