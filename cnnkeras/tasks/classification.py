"""Classification: one of C classes for an image or a signal. The network's outputs are C logits."""

import lazy_loader
import numpy as np

keras = lazy_loader.load("keras")


def encode_targets(labels: np.ndarray) -> np.ndarray:
    """Class indices as the loss takes them: int32 (n,), as they are."""
    return np.asarray(labels, np.int32)


def build_loss() -> "keras.losses.Loss":
    """Cross-entropy of softmax(logits), averaged over the batch (Krizhevsky et al. 2012, section 3.5)."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build_metrics() -> "list[keras.metrics.Metric]":
    """`top1_accuracy` and `top5_accuracy`, fractions; with five classes or fewer the latter is 1."""
    return [
        keras.metrics.SparseCategoricalAccuracy(name="top1_accuracy"),
        keras.metrics.SparseTopKCategoricalAccuracy(k=5, name="top5_accuracy"),
    ]


def decode_outputs(outputs: np.ndarray) -> np.ndarray:
    """Class probabilities: softmax over the last axis.

    Args:
        outputs: float (n, C), logits.

    Returns:
        float32 (n, C); each row sums to 1.
    """
    logits = np.asarray(outputs, np.float64)
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (exponentials / exponentials.sum(axis=-1, keepdims=True)).astype(np.float32)


def top_k(probabilities: np.ndarray, k: int) -> np.ndarray:
    """The k most probable classes, most probable first; of equal probabilities the lower class index comes first.

    Args:
        probabilities: float (n, C).
        k: at least 1; at most C of them are returned.

    Returns:
        int (n, min(k, C)), class indices.
    """
    return np.argsort(-probabilities, axis=-1, kind="stable")[..., :k]
