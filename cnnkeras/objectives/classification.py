"""Cross-entropy and top-k accuracies of a classifier (Krizhevsky et al. 2012, section 3.5)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cnnkeras")
class CrossEntropy(keras.losses.Loss):
    """Softmax cross-entropy, averaged over the batch.

        L = -1/n Σᵢ Σ_c w_c qᵢ(c) log softmax(zᵢ)(c),  q(c) = (1 - ε) y(c) + ε / C

    y is 1 for the true class and 0 for the others, or the probabilities of the classes of a mixed example. ε -> `label_smoothing`:
    label smoothing (Szegedy et al. 2016, section 7). w -> `class_weights`; the average is over examples, not over weights, so that the
    parts of a batch add up: weights whose mean over the examples is 1 leave the loss as large as it is.

    Departures from the paper: none; without smoothing and weights it is Keras' SparseCategoricalCrossentropy, bit for bit.

    Args:
        label_smoothing: ε, from 0 to below 1.
        class_weights: w, above 0, one for each class; None: all 1.

    Call: targets y, class indices int (batch,), or probabilities (batch, C); outputs z, logits (batch, C).
    """

    def __init__(self, label_smoothing=0.0, class_weights=None, name="cross_entropy", **arguments):
        super().__init__(name=name, **arguments)
        self.label_smoothing, self.class_weights = label_smoothing, class_weights

    def call(self, y_true, y_pred):
        """The loss of each example, (batch,)."""
        if _are_classes(y_true, y_pred) and not self.label_smoothing and self.class_weights is None:
            return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
        classes = y_pred.shape[-1]
        targets = ops.one_hot(ops.cast(y_true, "int32"), classes) if _are_classes(y_true, y_pred) else y_true
        targets = (1 - self.label_smoothing) * ops.cast(targets, y_pred.dtype) + self.label_smoothing / classes
        if self.class_weights is not None:
            targets = targets * ops.convert_to_tensor(self.class_weights, y_pred.dtype)
        return -ops.sum(targets * ops.log_softmax(y_pred, axis=-1), axis=-1)

    def get_config(self):
        """The constructor's arguments."""
        own = {"label_smoothing": self.label_smoothing, "class_weights": self.class_weights}
        return {**super().get_config(), **own}


class _Top1(keras.metrics.SparseCategoricalAccuracy):
    """Of a mixed example the true class is its most probable one."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(_classes(y_true, y_pred), y_pred, sample_weight)


class _TopK(keras.metrics.SparseTopKCategoricalAccuracy):
    """Of a mixed example the true class is its most probable one."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        return super().update_state(_classes(y_true, y_pred), y_pred, sample_weight)


def top_k_accuracies() -> list[keras.metrics.Metric]:
    """`top1_accuracy` and `top5_accuracy`, fractions 0..1; with five classes or fewer the latter is 1."""
    return [_Top1(name="top1_accuracy"), _TopK(k=5, name="top5_accuracy")]


def _are_classes(y_true, y_pred):
    return len(y_true.shape) < len(y_pred.shape)


def _classes(y_true, y_pred):
    """Class indices (batch,) of targets of either kind."""
    return y_true if _are_classes(y_true, y_pred) else ops.argmax(y_true, axis=-1)
