"""A label map from score maps, a class at a time: the greedy inference of Prince, Understanding Deep Learning, section 10.5.3.

The book's figure 10.20 describes it for the deconvolution network, whose authors do something else (arg-max of the merged
scores, then a dense CRF). Repeat: take the class with most probability among the pixels that have no label yet; infer a
connected region from its probabilities; keep the region where the class dominates; stop when the evidence is too little.

The book leaves open, and we choose: the region is the 8-connected component of largest probability among the unlabelled
pixels whose probability is at least `threshold`; it dominates where no other class, background included, has more; evidence
is too little when a class's probability, summed over the unlabelled pixels, is below `min_fraction` of the image's pixels. What
is left is background.
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
    """Label map uint8 (H, W): 0 background, 1.. classes.

    Args:
        scores: float (H, W, C + 1) before softmax, background first.
        threshold: Smallest probability of a pixel of the region.
        min_fraction: Stop when no class has this fraction of the image's pixels as summed probability.
    """
    probabilities = softmax(scores)
    dominant = probabilities.argmax(axis=-1)
    labels = np.zeros(scores.shape[:2], np.uint8)
    is_open = np.ones(scores.shape[:2], bool)
    candidates = set(range(1, scores.shape[-1]))
    while candidates:
        mass = {label: float(probabilities[..., label][is_open].sum()) for label in candidates}
        label = max(candidates, key=lambda label: (mass[label], -label))
        if mass[label] < min_fraction * labels.size:
            break
        region = _largest_region(probabilities[..., label], is_open & (probabilities[..., label] >= threshold))
        kept = region & (dominant == label)
        labels[kept] = label
        is_open &= ~kept
        if not kept.any():
            candidates.discard(label)
    return labels


def _largest_region(probability: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The 8-connected component of a mask that holds most probability; of equal ones the first in reading order."""
    count, components = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    sums = np.bincount(components.ravel(), weights=probability.ravel(), minlength=count)
    return (components == 1 + sums[1:].argmax()) if count > 1 else np.zeros_like(mask)
