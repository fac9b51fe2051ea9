"""PASCAL VOC's segmentation measures (VOCevalseg.m of the devkit) and their companions (Long et al. 2015, section 5).

One confusion matrix is summed over the whole set and every measure is taken from it; a mean of the images' own IoUs
is another, higher number. "Classes" includes the background throughout.
"""

from collections.abc import Sequence

import numpy as np

from cnnkeras.label_maps import VOID

TASKS = ("segmentation",)
ERROR_KINDS = ()
METRICS = ("mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")


def measure(predictions: Sequence[np.ndarray], truth: Sequence[np.ndarray], *, classes: int) -> dict[str, float]:
    """`evaluate` of the matrix of all label maps, uint8 (H, W) each; `classes` without the background."""
    pairs = zip(truth, predictions, strict=True)
    empty = np.zeros((classes + 1, classes + 1), np.int64)
    return evaluate(sum((confusion_matrix(*maps, classes=classes + 1) for maps in pairs), empty))


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, *, classes: int) -> np.ndarray:
    """How many pixels of class i were taken for class j; add the matrices of all images.

    Args:
        truth: uint8 (...), 0 background, 1.., 255 void.
        prediction: uint8 (...) of the same shape, without 255.
        classes: C, background included, at most 255.

    Returns:
        int64 (C, C): true class, predicted class.

    Raises:
        ValueError: The shapes differ, or a label is out of range.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise ValueError(f"expected maps of one shape; received: truth {truth.shape} and prediction {prediction.shape}")
    if truth.dtype != np.uint8 or prediction.dtype != np.uint8:
        raise ValueError(f"expected uint8 label maps; received: {truth.dtype} and {prediction.dtype}")
    true_labels, predicted_labels, pixels = _counted_pairs(truth.ravel(), prediction.ravel())
    is_known = true_labels != VOID
    true_labels, predicted_labels, pixels = true_labels[is_known], predicted_labels[is_known], pixels[is_known]
    highest = true_labels.max(initial=0), predicted_labels.max(initial=0)
    if max(highest) >= classes:
        raise ValueError(
            f"expected labels below {classes}, and {VOID} in the truth only; "
            f"received: up to {highest[0]} in the truth, {highest[1]} in the prediction"
        )
    cells = true_labels.astype(np.int64) * classes + predicted_labels
    # Sums of float64 are exact up to 2^53 pixels.
    return np.bincount(cells, weights=pixels, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _counted_pairs(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of labels of maps (n,) and numbers of pixels that have them, (m,) each; a pair may come several times.

    Where most pixels are of the same pair as the one before, runs of equal pairs are counted, by their lengths: in half the time of
    counting pixel by pixel.
    """
    ends_run = truth[1:] != truth[:-1]
    ends_run |= prediction[1:] != prediction[:-1]
    if np.count_nonzero(ends_run) > len(truth) // 16:
        counts = np.bincount(np.left_shift(truth, 8, dtype=np.uint16) | prediction, minlength=1 << 16)
        pairs = np.flatnonzero(counts)
        return pairs >> 8, pairs & 0xFF, counts[pairs]
    last = np.append(np.flatnonzero(ends_run), len(truth) - 1)[: len(truth)]  # none in an empty map
    return truth[last], prediction[last], np.diff(last, prepend=-1)


def evaluate(confusion: np.ndarray) -> dict[str, float]:
    """`mean_iou`, `pixel_accuracy`, `mean_accuracy` and `frequency_weighted_iou`, fractions.

    With n_ij pixels of class i taken for class j, t_i = Σ_j n_ij and IoU_i = n_ii / (t_i + Σ_j n_ji - n_ii): mean_iou
    is the mean of the IoU_i, pixel_accuracy Σ n_ii / Σ t_i, mean_accuracy the mean of n_ii / t_i,
    frequency_weighted_iou Σ t_i IoU_i / Σ t_i. A class without true pixels is no part of mean_accuracy; one that was
    not predicted either, of mean_iou. NaN where nothing is left, and where only the background is left of a mean: it says nothing
    of the classes.

    Args:
        confusion: int (C, C), over the whole set.
    """
    classes = per_class(confusion)
    pixels = classes["pixels"]
    if not pixels.any():
        return dict.fromkeys(METRICS, float("nan"))
    return {
        "mean_iou": _mean_of_classes(classes["iou"]),
        "pixel_accuracy": float(confusion.diagonal().sum() / pixels.sum()),
        "mean_accuracy": _mean_of_classes(classes["accuracy"]),
        "frequency_weighted_iou": float(np.nansum(pixels * classes["iou"]) / pixels.sum())
        if pixels[1:].any()
        else np.nan,
    }


def _mean_of_classes(values: np.ndarray) -> float:
    """The mean over those that are there; NaN if that is the background alone."""
    return float(np.nanmean(values)) if np.isfinite(values[1:]).any() else np.nan


def per_class(confusion: np.ndarray) -> dict[str, np.ndarray]:
    """Each class's own `iou` and `accuracy` (NaN where there is nothing to divide by) and its true `pixels`: (C,) each.

    Args:
        confusion: int (C, C), over the whole set.
    """
    hits, pixels, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return {"iou": _ratio(hits, pixels + predicted - hits), "accuracy": _ratio(hits, pixels), "pixels": pixels}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
