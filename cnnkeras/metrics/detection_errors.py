"""What kinds of errors a detector makes (Hoiem et al. 2012, Diagnosing Error in Object Detectors; Redmon et al. 2016, section 4.2).

Of each class the N surest detections are looked at, N being the number of its objects. Each is

    correct       right class, IoU of at least .5, and no surer detection has that object
    localisation  right class, IoU above .1; or a second detection of one object
    similar       IoU above .1 with an object of a similar class
    other         IoU above .1 with an object of another class
    background    IoU of at most .1 with every object

the first that holds. As in PASCAL VOC's rule, detections of difficult objects are left out before the N are counted, and
difficult objects are none of the N.

Departures from the paper: at IoU exactly .5, on which it says nothing, a detection is correct, as for the average precision.
"""

from collections.abc import Sequence

import numpy as np

from cnnkeras.boxes import Detections, Objects, iou
from cnnkeras.metrics.detection import HIT, UNCOUNTED, VOC_IOU, match_voc

KINDS = ("correct", "localisation", "similar", "other", "background")
BACKGROUND_IOU = 0.1


def count_errors(
    detections: Detections, objects: Objects, *, classes: int, similar: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    """How many of each class's N surest detections are of which kind.

    Args:
        detections: Of the whole set.
        objects: Of the whole set, with boxes in the same unit.
        classes: C.
        similar: Groups of classes; two classes are similar if a group holds both.

    Returns:
        int (C, 5), columns as `KINDS`; a row's sum is below N where there are fewer detections.
    """
    outcomes = match_voc(detections, objects, iou_threshold=VOC_IOU)
    to_find = np.bincount(objects.labels[~objects.difficult], minlength=classes)
    alike = np.zeros((classes, classes), bool)
    for group in similar:
        alike[np.ix_(group, group)] = True
    by_image = np.argsort(objects.images, kind="stable")
    images = objects.images[by_image]
    order = np.lexsort((detections.images, -detections.scores))
    counts = np.zeros((classes, len(KINDS)), np.int64)
    for label in range(classes):
        rows = order[(detections.labels[order] == label) & (outcomes[order] != UNCOUNTED)]
        for row in rows[: to_find[label]]:
            start, stop = np.searchsorted(images, (detections.images[row], detections.images[row] + 1))
            near = by_image[start:stop]
            near = near[iou(detections.boxes[row], objects.boxes[near]) > BACKGROUND_IOU]
            counts[label, _kind(outcomes[row] == HIT, objects.labels[near], label, alike)] += 1
    return counts


def _kind(is_hit: bool, near: np.ndarray, label: int, alike: np.ndarray) -> int:
    """Index into `KINDS` of a detection of class `label` that touches objects of the classes `near`."""
    if is_hit:
        return 0
    if (near == label).any():
        return 1
    if alike[label, near].any():
        return 2
    return 3 if len(near) else 4
