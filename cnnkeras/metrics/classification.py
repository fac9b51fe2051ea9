"""Top-k accuracy and the confusion matrix."""

import numpy as np

TASKS = ("classification",)
ERROR_KINDS = ()
METRICS = ("top1_accuracy", "top5_accuracy", "top1_error", "top5_error")


def measure(predictions: np.ndarray, truth: np.ndarray, *, classes: int) -> dict[str, float]:  # noqa: ARG001 - as in the other tasks
    """`evaluate` of probabilities (n, C) and labels (n,)."""
    return evaluate(predictions, truth)


def evaluate(scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The fractions `top1_accuracy`, `top5_accuracy`, `top1_error`, `top5_error`; NaN without examples.

    With five classes or fewer, the top-5 accuracy is 1.

    Args:
        scores: float (n, C), probabilities or logits: a higher score means a more probable class.
        labels: int (n,), the true classes.

    Raises:
        ValueError: As `true_class_ranks`.
    """
    top1, top5 = (top_k_accuracy(scores, labels, k) for k in (1, 5))
    return {"top1_accuracy": top1, "top5_accuracy": top5, "top1_error": 1 - top1, "top5_error": 1 - top5}


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int) -> float:
    """Fraction of the examples whose true class has one of the k highest scores; NaN without examples.

    Args, raises: as `true_class_ranks`; k at least 1.
    """
    ranks = true_class_ranks(scores, labels)
    return float(np.mean(ranks < k)) if len(ranks) else float("nan")


def true_class_ranks(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rank of the true class: the number of classes before it, in the order of falling scores.

    Of equal scores the lower class index comes first, as with `argmax`: a model that gives all classes the same score is
    right for class 0 only, not for all classes.

    Args:
        scores: float (n, C).
        labels: int (n,), 0..C-1.

    Returns:
        int (n,), 0..C-1; 0 for a true class with the highest score.

    Raises:
        ValueError: The shapes do not fit, a score is NaN, or a label is out of range.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 2 or labels.shape != scores.shape[:1]:
        raise ValueError(f"expected scores (n, C) and labels (n,); received: {scores.shape} and {labels.shape}")
    if np.isnan(scores).any():
        raise ValueError("expected scores that are numbers; received: NaN. The training may have diverged")
    _require_labels(labels, scores.shape[1], "labels")
    true_scores = np.take_along_axis(scores, labels[:, None].astype(np.int64), axis=1)
    is_lower_class = np.arange(scores.shape[1]) < labels[:, None]
    return ((scores > true_scores) | ((scores == true_scores) & is_lower_class)).sum(axis=1)


def confusion_matrix(labels: np.ndarray, predictions: np.ndarray, *, classes: int) -> np.ndarray:
    """The number of examples of class i that are predicted as class j.

    Args:
        labels: int (n,), the true classes.
        predictions: int (n,), the predicted classes.
        classes: C.

    Returns:
        int64 (C, C): a row for each true class, a column for each predicted class.

    Raises:
        ValueError: A class is out of range.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    _require_labels(labels, classes, "labels")
    _require_labels(predictions, classes, "predictions")
    return np.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)


def _require_labels(labels: np.ndarray, classes: int, noun: str) -> None:
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(f"expected {noun} between 0 and {classes - 1}; received: {labels.min()} to {labels.max()}")
