"""Pixel-wise softmax cross-entropy that leaves out void pixels, as in DeconvNet's training (Noh et al. 2015)."""

import keras
from keras import ops

from cnnkeras.label_maps import VOID


@keras.saving.register_keras_serializable(package="cnnkeras")
class SegmentationCrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy of scores, averaged over the batch's pixels that are not void.

        L = -1/Σ w(yᵢ) Σ w(yᵢ) log softmax(zᵢ)[yᵢ],  sums over the pixels i of the whole batch with yᵢ ≠ 255

    w(0) -> `background_weight`, w(1), w(2), ... -> `class_weights`.

    The average is over all valid pixels of the batch, not of each image (`normalize: true`, `ignore_label: 255` in DeconvNet's
    training/*/stage_*_train.prototxt, HyeonwooNoh/DeconvNet@87dd133): an image with more valid pixels weighs more. The loss of a
    batch without valid pixels is 0. With several devices, each averages over its part of the batch.

    Departures from the paper: none with all w = 1. With small objects most pixels are background and dominate the loss; a smaller
    w(0) reduces this, and larger weights of rare classes do the same among the classes: SegNet's class balancing (Badrinarayanan et al.
    2015, section 4.1), whose weights are the median frequency of the classes divided by the class's own. The sum of the weights is in
    the denominator, so that a common factor of all weights changes nothing.

    Call: targets (batch, H, W), 0 background, 1.. classes, 255 void; scores (batch, H, W, classes + 1) before softmax.

    Args:
        background_weight: w(0), above 0.
        class_weights: w(1), w(2), ..., above 0, one for each class without the background; None: all 1.
    """

    is_mean_of_examples = False  # so the losses of parts of a batch do not average to that of the batch

    def __init__(self, background_weight=1.0, class_weights=None, name="segmentation_cross_entropy", **arguments):
        super().__init__(name=name, **arguments)
        self.background_weight, self.class_weights = background_weight, class_weights

    def call(self, y_true, y_pred):
        """A term for each image, (batch,), such that the mean over the batch is the loss."""
        valid = ops.not_equal(y_true, VOID)
        labels = ops.cast(ops.where(valid, y_true, 0), "int32")
        entropies = ops.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
        weights = ops.where(valid, ops.cast(self._weights(labels), entropies.dtype), 0.0)
        sums = ops.sum(weights * entropies, axis=(1, 2))
        return sums * (ops.cast(ops.shape(sums)[0], sums.dtype) / ops.maximum(ops.sum(weights), 1e-7))

    def _weights(self, labels):
        """The weight of each pixel, (batch, H, W)."""
        if self.class_weights is None:
            return ops.where(ops.equal(labels, 0), self.background_weight, 1.0)
        return ops.take(ops.convert_to_tensor([self.background_weight, *self.class_weights], "float32"), labels)

    def get_config(self):
        """The constructor's arguments."""
        own = {"background_weight": self.background_weight, "class_weights": self.class_weights}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="cnnkeras")
class ValidPixelAccuracy(keras.metrics.Mean):
    """Fraction of the pixels, void ones left out, with the highest score at their class.

    Call: targets and scores as for `SegmentationCrossEntropy`.
    """

    def __init__(self, name="pixel_accuracy", **arguments):
        super().__init__(name=name, **arguments)

    def update_state(self, y_true, y_pred, sample_weight=None):  # noqa: ARG002 - part of Keras' interface
        """Add the pixels of a batch."""
        labels = ops.cast(y_true, "int32")
        correct = ops.cast(ops.equal(labels, ops.cast(ops.argmax(y_pred, axis=-1), "int32")), self.dtype)
        return super().update_state(correct, sample_weight=ops.cast(ops.not_equal(labels, VOID), self.dtype))
