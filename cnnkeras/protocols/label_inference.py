"""A label map from score maps, one class at a time: the greedy inference of Prince, Understanding Deep Learning, section 10.5.3.

The book's figure 10.20 describes it for the deconvolution network, whose authors use another method (arg-max of the merged
scores, then a dense CRF). Repeat: take the class with the greatest probability, summed over the pixels without a label; infer a
connected region from the class's probabilities; label the pixels of the region where the class dominates; stop when the evidence is
insufficient.

The book does not define three terms. Here the region is the 8-connected component with the greatest summed probability among the
unlabelled pixels whose probability is at least `threshold`. A class dominates a pixel if no other class, background included, is
more probable there. The evidence is insufficient when every class's summed probability is below `min_fraction` of the
number of the image's pixels. The pixels without a label are then background.
"""

from typing import Annotated

import lazy_loader
import numpy as np
from annotated_types import Ge, Gt, Le

from cnnkeras.protocols.posteriors import softmax

cv2 = lazy_loader.load("cv2")  # params.yaml is checked against these signatures, which need no OpenCV


def infer_greedily(
    scores: np.ndarray,
    *,
    threshold: Annotated[float, Ge(0), Le(1)] = 0.25,
    min_fraction: Annotated[float, Gt(0), Le(1)] = 0.01,
) -> np.ndarray:
    """Label map uint8 (H, W) by greedy inference (see the top of this file): 0 background, 1.. classes.

    Args:
        scores: float (H, W, C + 1) before softmax, background first.
        threshold: Minimum probability of the class in a pixel of a region.
        min_fraction: Stop when no class has a summed probability of this fraction of the number of the image's pixels.
    """
    probabilities = softmax(scores)
    dominant = probabilities.argmax(axis=-1)
    labels = np.zeros(scores.shape[:2], np.uint8)
    is_unlabelled = np.ones(scores.shape[:2], bool)
    candidates = set(range(1, scores.shape[-1]))
    while candidates:
        mass = {label: float(probabilities[..., label][is_unlabelled].sum()) for label in candidates}
        label = max(candidates, key=lambda label: (mass[label], -label))
        if mass[label] < min_fraction * labels.size:
            break
        region = _largest_region(probabilities[..., label], is_unlabelled & (probabilities[..., label] >= threshold))
        dominated = region & (dominant == label)
        labels[dominated] = label
        is_unlabelled &= ~dominated
        if not dominated.any():
            candidates.discard(label)
    return labels


def _largest_region(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 8-connected component of a mask with the greatest summed probability; of equal ones the first in reading order."""
    count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sums = np.bincount(components.ravel(), weights=probability.ravel(), minlength=count)
    return (components == 1 + sums[1:].argmax()) if count > 1 else np.zeros_like(mask)
