"""Cross-entropy and top-k accuracies of a classifier, from Keras (Krizhevsky et al. 2012, section 3.5)."""

import keras


def cross_entropy() -> keras.losses.Loss:
    """The cross-entropy -log softmax(z)[y], averaged over the batch.

    Call: targets y, class indices int (batch,); outputs z, logits (batch, C).
    """
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def top_k_accuracies() -> list[keras.metrics.Metric]:
    """`top1_accuracy` and `top5_accuracy`, fractions 0..1; with five classes or fewer the latter is 1."""
    return [
        keras.metrics.SparseCategoricalAccuracy(name="top1_accuracy"),
        keras.metrics.SparseTopKCategoricalAccuracy(k=5, name="top5_accuracy"),
    ]
