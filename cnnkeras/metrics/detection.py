"""Average precision of detections by the rules of PASCAL VOC and of COCO, and the kinds of their errors, over a whole set of images.

VOC (VOCevaldet.m of the devkit): a class's detections are taken from the highest score down; each is compared with the
object of its class in its image that it overlaps most. At IoU >= .5 it is a hit if no detection before it had that
object, else wrong; below, it is wrong. If the object is difficult, the detection counts neither way, and difficult
objects are none to be found. VOC2007 averages the precision at 11 recalls, VOC2010 and later take the area under the
curve.

COCO (cocoeval.py of cocoapi): the same at each IoU of .5, .55, ... .95, except that a detection takes the object it
overlaps most *among those not yet taken*, an object that counts before one that does not: a difficult one, or a crowd. A
difficult object, too, can be taken only once. A crowd is many objects in one box: a detection overlaps it by the fraction
of the *detection's* area that lies in it, and any number of detections take it. At most 100 detections for each image
and class; precision at 101 recalls. VOC has no crowds: by its rule one is a difficult object.

Equal scores are taken by image, and then in the order given. A class without objects to be found has no average
precision: NaN, left out of the mean.

Errors (Hoiem et al. 2012, Diagnosing Error in Object Detectors; Redmon et al. 2016, section 4.2): of each class the N surest detections are looked at, N being the number of its objects. Each is

    correct       right class, IoU of at least .5, and no surer detection has that object
    localisation  right class, IoU above .1; or a second detection of one object
    similar       IoU above .1 with an object of a similar class
    other         IoU above .1 with an object of another class
    background    IoU of at most .1 with every object

the first that holds. As in PASCAL VOC's rule, detections of difficult objects are left out before the N are counted, and
difficult objects are none of the N; crowds are taken for difficult ones.

Departures from the paper: at IoU exactly .5, on which it says nothing, a detection is correct, as for the average precision.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkeras.boxes import Detections, Objects, covered_fraction, iou

TASKS = ("detection",)
METRICS = ("map_voc07", "map_voc10", "map_coco")

VOC_IOU = 0.5
# As in voc_eval.py (py-faster-rcnn@45e0da9): the floats .30000000000000004, .6000000000000001, .7000000000000001 are
# above .3, .6, .7, so that a recall of exactly 3/10 misses the fourth point. Every published 11-point number of that
# code has it.
VOC07_RECALLS = np.arange(0.0, 1.1, 0.1)
THRESHOLDS = np.arange(1001) / 1000
COCO_IOUS = np.linspace(0.5, 0.95, 10)
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
COCO_MOST_DETECTIONS = 100

WRONG, HIT, UNCOUNTED = 0, 1, 2

ERROR_KINDS = ("correct", "localisation", "similar", "other", "background")
BACKGROUND_IOU = 0.1


@dataclass(frozen=True)
class Curve:
    """Precision over recall of one class, after each detection that counts, from the highest score down.

    Attributes:
        objects: Objects to be found: the class's, without difficult ones and crowds.
        scores: (n,) descending.
        recall: (n,) hits so far / objects; NaN without objects.
        precision: (n,) hits so far / detections so far.
    """

    objects: int
    scores: np.ndarray
    recall: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class DetectionMetrics:
    """What a set of detections is worth.

    Attributes:
        means: `map_voc07`, `map_voc10` and `map_coco`, fractions: means over the classes that have objects.
        per_class: `ap_voc07`, `ap_voc10` and `ap_coco`, (C,) each, NaN for classes without objects.
        curves: For each class, at VOC's IoU by VOC's rule.
    """

    means: dict[str, float]
    per_class: dict[str, np.ndarray]
    curves: list[Curve]


def measure(predictions: Detections, truth: Objects, *, classes: int) -> dict[str, float]:
    """The means of `evaluate`."""
    return evaluate(predictions, truth, classes=classes).means


def evaluate(detections: Detections, objects: Objects, *, classes: int) -> DetectionMetrics:
    """Mean average precision by the three rules, with each class's own.

    Args:
        detections: Of the whole set.
        objects: Of the whole set, with boxes in the same unit.
        classes: C.

    Raises:
        ValueError: A label is out of range, or a score is NaN.
    """
    curves = precision_recall_curves(detections, objects, classes=classes)
    per_class = {
        "ap_voc07": np.array([average_precision_voc07(curve) for curve in curves]),
        "ap_voc10": np.array([average_precision_voc10(curve) for curve in curves]),
        "ap_coco": average_precisions_coco(detections, objects, classes=classes),
    }
    has_objects = np.array([curve.objects > 0 for curve in curves])
    means = {
        f"map_{name.removeprefix('ap_')}": float(values[has_objects].mean()) if has_objects.any() else float("nan")
        for name, values in per_class.items()
    }
    return DetectionMetrics(means, per_class, curves)


def precision_recall_curves(
    detections: Detections, objects: Objects, *, classes: int, iou_threshold: float = VOC_IOU
) -> list[Curve]:
    """Precision over recall of each class by VOC's rule (see the top of this file).

    Args, raises: as `evaluate`; `iou_threshold` is the least IoU of a hit.
    """
    _require(detections, objects, classes)
    outcomes = match_voc(detections, objects, iou_threshold=iou_threshold)
    to_find = np.bincount(objects.labels[~objects.is_uncounted], minlength=classes)
    curves = []
    for label, rows in enumerate(_rows_by_class(detections, classes)):
        rows = rows[outcomes[rows] != UNCOUNTED]
        hits = np.cumsum(outcomes[rows] == HIT)
        recall = hits / to_find[label] if to_find[label] else np.full(len(rows), np.nan)
        precision = hits / np.arange(1, len(rows) + 1)
        curves.append(Curve(int(to_find[label]), detections.scores[rows], recall, precision))
    return curves


def f1_over_thresholds(detections: Detections, objects: Objects, *, classes: int) -> np.ndarray:
    """F1 of the detections with a score of at least each of `THRESHOLDS`, by VOC's rule at VOC's IoU.

    F1 = 2 TP / (2 TP + FP + FN), where TP + FN is the number of objects to be found. A threshold changes nothing for the detections above it,
    as surer ones are matched first.

    Returns:
        float (1 + C, thresholds): over all classes, then of each class; NaN where there is neither an object nor a detection.

    Args, raises: as `evaluate`.
    """
    _require(detections, objects, classes)
    outcomes = match_voc(detections, objects, iou_threshold=VOC_IOU)
    to_find = np.bincount(objects.labels[~objects.is_uncounted], minlength=classes)
    hits, wrong = (
        np.stack(
            [
                _at_least(detections.scores[(outcomes == kind) & (detections.labels == label)])
                for label in range(classes)
            ]
        )
        for kind in (HIT, WRONG)
    )
    hits, wrong = (np.vstack([counts.sum(axis=0), counts]) for counts in (hits, wrong))
    denominators = hits + wrong + np.array([to_find.sum(), *to_find])[:, None]
    return np.divide(2 * hits, denominators, out=np.full(hits.shape, np.nan), where=denominators > 0)


def _at_least(scores: np.ndarray) -> np.ndarray:
    """How many scores are at least each of `THRESHOLDS`."""
    return len(scores) - np.searchsorted(np.sort(scores), THRESHOLDS, side="left")


def best_threshold(f1: np.ndarray) -> float:
    """The threshold with the highest F1, of equal ones the highest; `f1` is (thresholds,), of `THRESHOLDS`."""
    return float(THRESHOLDS[np.flatnonzero(f1 == np.nanmax(f1))[-1]])


def average_precision_voc07(curve: Curve) -> float:
    """Mean, over recalls 0, .1, ... 1, of the highest precision there or beyond (VOC2007); NaN without objects."""
    return _interpolated(curve, VOC07_RECALLS)


def average_precision_voc10(curve: Curve) -> float:
    """Area under the precision made monotone, over recall (VOC2010 and later); NaN without objects."""
    if not curve.objects:
        return float("nan")
    steps = np.diff(curve.recall, prepend=0.0)
    return float(np.sum(steps * _envelope(curve.precision)))


def average_precisions_coco(detections: Detections, objects: Objects, *, classes: int) -> np.ndarray:
    """Each class's average precision by COCO's rule, over IoU .5, .55, ... .95: (C,), NaN without objects.

    Args, raises: as `evaluate`.
    """
    _require(detections, objects, classes)
    allowed = np.flatnonzero(_ranks_in_image(detections, classes) < COCO_MOST_DETECTIONS)
    detections = detections[allowed]
    outcomes = match_coco(detections, objects, iou_thresholds=COCO_IOUS)
    to_find = np.bincount(objects.labels[~objects.is_uncounted], minlength=classes)
    averages = np.full(classes, np.nan)
    for label, rows in enumerate(_rows_by_class(detections, classes)):
        if not to_find[label]:
            continue
        hits = np.cumsum(outcomes[:, rows] == HIT, axis=1)
        counted = np.cumsum(outcomes[:, rows] != UNCOUNTED, axis=1)
        curves = [
            Curve(int(to_find[label]), detections.scores[rows], recall, precision)
            for recall, precision in zip(hits / to_find[label], hits / np.maximum(counted, 1), strict=True)
        ]
        averages[label] = np.mean([_interpolated(curve, COCO_RECALLS) for curve in curves])
    return averages


def match_voc(detections: Detections, objects: Objects, *, iou_threshold: float) -> np.ndarray:
    """What VOC's rule makes of each detection (see the top of this file): int8 (n,), `HIT`, `WRONG` or `UNCOUNTED`."""
    detection, object_, overlap = _overlapping_pairs(detections, objects, iou_threshold)
    best = np.lexsort((-overlap, detection))  # stable: of equal overlaps the first object
    best = best[np.flatnonzero(np.diff(detection[best], prepend=-1))]
    detection, object_ = detection[best], object_[best]
    outcomes = np.full(len(detections), WRONG, np.int8)
    is_uncounted = objects.is_uncounted[object_]
    outcomes[detection[is_uncounted]] = UNCOUNTED
    detection, object_ = detection[~is_uncounted], object_[~is_uncounted]
    by_score = np.argsort(-detections.scores[detection], kind="stable")
    first = np.unique(object_[by_score], return_index=True)[1]
    outcomes[detection[by_score[first]]] = HIT
    return outcomes


def match_coco(detections: Detections, objects: Objects, *, iou_thresholds: np.ndarray) -> np.ndarray:
    """What COCO's rule makes of each detection at each of the ascending thresholds: int8 (thresholds, n)."""
    thresholds = np.asarray(iou_thresholds)[:, None]
    detection, object_, overlap = _overlapping_pairs(detections, objects, thresholds[0, 0], has_crowds=True)
    is_crowd, is_uncounted = objects.is_crowd, objects.is_uncounted
    classes = int(max(detections.labels.max(initial=0), objects.labels.max(initial=0))) + 1
    rank = _ranks_in_image(detections, classes)[detection]
    # Images and classes do not touch one another: the first detections of all are matched at once, then the second,
    # ... Within a detection the object to be preferred comes last; of equal overlaps cocoeval.py takes the later
    # object.
    order = np.lexsort((object_, overlap, ~is_uncounted[object_], detection, rank))
    detection, object_, overlap, rank = detection[order], object_[order], overlap[order], rank[order]
    outcomes = np.full((len(thresholds), len(detections)), WRONG, np.int8)
    is_taken = np.zeros((len(thresholds), len(objects)), bool)
    bounds = np.flatnonzero(np.diff(rank, prepend=-1, append=-1))
    for start, stop in itertools.pairwise(bounds):
        pairs = slice(start, stop)
        is_free = (overlap[pairs] >= thresholds) & ~is_taken[:, object_[pairs]]
        firsts = np.flatnonzero(np.diff(detection[pairs], prepend=-1))
        best = np.maximum.reduceat(np.where(is_free, np.arange(start, stop), -1), firsts, axis=1)
        threshold, column = np.nonzero(best >= 0)
        pair = best[threshold, column]
        is_taken[threshold, object_[pair]] = ~is_crowd[object_[pair]]
        outcomes[threshold, detection[pair]] = np.where(is_uncounted[object_[pair]], UNCOUNTED, HIT)
    return outcomes


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
        int (C, 5), columns as `ERROR_KINDS`; a row's sum is below N where there are fewer detections.
    """
    outcomes = match_voc(detections, objects, iou_threshold=VOC_IOU)
    to_find = np.bincount(objects.labels[~objects.is_uncounted], minlength=classes)
    alike = np.zeros((classes, classes), bool)
    for group in similar:
        alike[np.ix_(group, group)] = True
    by_image = np.argsort(objects.images, kind="stable")
    images = objects.images[by_image]
    order = np.lexsort((detections.images, -detections.scores))
    counts = np.zeros((classes, len(ERROR_KINDS)), np.int64)
    for label in range(classes):
        rows = order[(detections.labels[order] == label) & (outcomes[order] != UNCOUNTED)]
        for row in rows[: to_find[label]]:
            start, stop = np.searchsorted(images, (detections.images[row], detections.images[row] + 1))
            near = by_image[start:stop]
            near = near[iou(detections.boxes[row], objects.boxes[near]) > BACKGROUND_IOU]
            counts[label, _kind(outcomes[row] == HIT, objects.labels[near], label, alike)] += 1
    return counts


def _overlapping_pairs(
    detections: Detections, objects: Objects, least: float, *, has_crowds: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of detections and objects of one image and class that overlap, and their IoU; by detection, object.

    With `has_crowds`, a detection's overlap with a crowd is the covered fraction of the detection, not the IoU.
    """
    classes = int(max(detections.labels.max(initial=0), objects.labels.max(initial=0))) + 1
    keys = objects.images.astype(np.int64) * classes + objects.labels
    order = np.argsort(keys, kind="stable")
    wanted = detections.images.astype(np.int64) * classes + detections.labels
    starts = np.searchsorted(keys[order], wanted, side="left")
    counts = np.searchsorted(keys[order], wanted, side="right") - starts
    detection = np.repeat(np.arange(len(detections)), counts)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(counts) - counts, counts)
    object_ = order[np.repeat(starts, counts) + within]
    pair = detections.boxes[detection], objects.boxes[object_]
    overlap = iou(*pair)
    if has_crowds:
        overlap = np.where(objects.is_crowd[object_], covered_fraction(*pair), overlap)
    enough = overlap >= least
    return detection[enough], object_[enough], overlap[enough]


def _rows_by_class(detections: Detections, classes: int) -> list[np.ndarray]:
    """Rows of each class's detections, from the highest score down."""
    order = np.lexsort((detections.images, -detections.scores, detections.labels))
    return np.split(order, np.searchsorted(detections.labels[order], np.arange(1, classes)))


def _ranks_in_image(detections: Detections, classes: int) -> np.ndarray:
    """How many detections of its image and class come before each."""
    groups = detections.images.astype(np.int64) * classes + detections.labels
    order = np.lexsort((-detections.scores, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return ranks


def _interpolated(curve: Curve, recalls: np.ndarray) -> float:
    """Mean, over `recalls`, of the highest precision there or beyond, 0 where that recall is never reached."""
    if not curve.objects:
        return float("nan")
    precision = np.append(_envelope(curve.precision), 0.0)
    return float(np.mean(precision[np.searchsorted(curve.recall, recalls, side="left")]))


def _envelope(precision: np.ndarray) -> np.ndarray:
    """The highest precision at each place or after it."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def _require(detections: Detections, objects: Objects, classes: int) -> None:
    for what, labels in (("detections", detections.labels), ("objects", objects.labels)):
        if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError(
                f"expected {what} of classes 0 to {classes - 1}; received: {labels.min()} to {labels.max()}"
            )
    if np.isnan(detections.scores).any():
        raise ValueError("expected scores that are numbers; received: NaN. The training may have diverged")


def _kind(is_hit: bool, near: np.ndarray, label: int, alike: np.ndarray) -> int:
    """Index into `ERROR_KINDS` of a detection of class `label` that touches objects of the classes `near`."""
    if is_hit:
        return 0
    if (near == label).any():
        return 1
    if alike[label, near].any():
        return 2
    return 3 if len(near) else 4
