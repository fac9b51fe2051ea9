"""Detections against annotated objects: average precision by the VOC and COCO rules, precision over recall, cases."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.boxes import Detections, Objects, iou
from cnnkeras.metrics import detection as metrics
from cnnkeras.metrics.detection import ERROR_KINDS, count_errors
from cnnkeras.tasks.detection import displayed
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import INK, RIGHT, WRONG, beside, draw_boxes
from pipeline.formats.objects import read_objects
from pipeline.formats.packed import Split
from pipeline.formats.predictions import read_chosen, read_detections, read_protocol
from pipeline.images.reading import read_image
from pipeline.stages.evaluate import Case, Evaluation, Row

SIDE = 300
MOST_BOXES = 30  # drawn in an image: an untrained model finds thousands
CROWDS = "crowds: to COCO one takes any number of the detections that lie in it by that much of their own area; to VOC it is difficult"
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True)
class Matches:
    """How the detections that are shown meet the objects, by VOC's rule.

    Attributes:
        detections: Those of at least the display threshold; n rows.
        objects: All of them; m rows, by image.
        outcomes: int (n,), `HIT`, `WRONG` or `UNCOUNTED` (a difficult object or a crowd).
        found: int (n,), row of the object that a hit found; -1 for the others.
        overlaps: float (n,), IoU of a hit with its object; 0 for the others.
    """

    detections: Detections
    objects: Objects
    outcomes: np.ndarray
    found: np.ndarray
    overlaps: np.ndarray

    @functools.cached_property
    def is_missed(self) -> np.ndarray:
        """(m,) whether an object was to be found and was not."""
        missed = ~self.objects.is_uncounted
        missed[self.found[self.found >= 0]] = False
        return missed


def evaluate(
    split: Split,
    classes: Sequence[str],
    predictions: Path,
    postprocess: Mapping[str, Any],
    *,
    similar_classes: Sequence[Sequence[str]] = (),
) -> Evaluation:
    """Measure the predicted boxes, in original pixels, against the objects of the split.

    Beside the arguments of every task: `similar_classes`, groups of class names for the analysis of errors.
    """
    detections, objects = read_detections(predictions), read_objects(split)
    measured = metrics.evaluate(detections, objects, classes=len(classes))
    chosen = read_chosen(predictions)
    display = {key: {**postprocess, **chosen}.get(key) for key in ("display_threshold", "display_nms_iou")}
    f1_curves = metrics.f1_over_thresholds(
        displayed(detections, **{**display, "display_threshold": 0.0}), objects, classes=len(classes)
    )
    threshold = f"{display['display_threshold']:g}" + (" (best F1 on the validation split)" if chosen else "")
    matches = match(displayed(detections, **display), objects)
    f1, mean_iou = score_images(matches, len(split))
    similar = [[list(classes).index(name) for name in group] for group in similar_classes]
    errors = error_table(count_errors(detections, objects, classes=len(classes), similar=similar), classes)
    rows, table = class_rows(measured, classes), precision_table(measured.curves, classes)
    return Evaluation(
        metrics=measured.means,
        headline="map_voc07",
        per_class=rows,
        shown_per_class=("ap_voc07", "average precision (VOC 2007: 11 points, IoU ≥ 0.5)"),
        protocol="VOC 2007, VOC 2010 and COCO average precision",
        conditions=[
            "VOC: IoU of at least 0.5, objects marked difficult count neither way; COCO: mean over IoU 0.5 to 0.95",
            *read_protocol(predictions),
            *([CROWDS] if objects.is_crowd.any() else []),
            f"boxes of score above {postprocess['confidence_threshold']:g}, NMS per class at IoU {postprocess['nms_iou']:g}",
        ],
        unit="images",
        tables={"precision_recall": table},
        diagrams=_diagrams(rows, measured.curves, table, errors)
        | {
            "f1.png": (
                "F1 over the threshold of the score, IoU ≥ 0.5",
                functools.partial(
                    diagrams.f1,
                    thresholds=metrics.THRESHOLDS,
                    curves=dict(zip(classes, f1_curves[1:], strict=True)),
                    total=f1_curves[0],
                    marked=(display["display_threshold"], "drawn from " + threshold.replace(" (", "\n(")),
                ),
            )
        },
        ranking=np.lexsort((-mean_iou, -f1)),
        ranked_by="F1 (ties: mean IoU of what was found)",
        key=_key(objects, threshold, display["display_nms_iou"]),
        columns=3,
        show=functools.partial(_case, split, classes, matches, f1),
        judged=(detections, objects),
        analyses={"error_analysis": errors},
    )


def class_rows(measured: metrics.DetectionMetrics, classes: Sequence[str]) -> list[Row]:
    """Each class's average precisions, and how many objects it has."""
    return [
        {
            "class": name,
            **{key: float(values[label]) for key, values in measured.per_class.items()},
            "objects": curve.objects,
        }
        for label, (name, curve) in enumerate(zip(classes, measured.curves, strict=True))
    ]


def _diagrams(
    rows: Sequence[Row], curves: Sequence[metrics.Curve], table: Sequence[Row], errors: Sequence[Row]
) -> dict[str, tuple[str, Callable[..., None]]]:
    fractions = [(row["class"], [row[kind] for kind in ERROR_KINDS]) for row in errors]
    return {
        "precision_recall.png": (
            "precision and recall at IoU ≥ 0.5",
            functools.partial(_draw_curves, rows, curves, table),
        ),
        "errors.png": (
            "what the surest detections are, as many as there are objects",
            functools.partial(diagrams.fractions, fractions=fractions, kinds=ERROR_KINDS),
        ),
    }


def _key(objects: Objects, threshold: str, display_nms_iou: float | None) -> str:
    """How to read a case."""
    suppressed = "" if display_nms_iou is None else f", NMS at IoU {display_nms_iou:g}"
    difficult = "; objects marked difficult count neither way" if objects.difficult.any() else ""
    return (
        "left: annotated, right: predicted with its score; dashed: missed (left), wrong (right) · shown and "
        f"counted: score ≥ {threshold}{suppressed}; found: right class, IoU ≥ {metrics.VOC_IOU:g}{difficult}"
    )


def error_table(counts: np.ndarray, classes: Sequence[str]) -> list[Row]:
    """Shares of the kinds of detections, the mean over the classes that have any first: Redmon et al. (2016), figure 4."""
    looked_at = counts.sum(axis=1)
    fractions = np.divide(counts, looked_at[:, None], out=np.full(counts.shape, np.nan), where=looked_at[:, None] > 0)
    mean = fractions[looked_at > 0].mean(axis=0) if looked_at.any() else fractions[0]
    rows = [("mean over classes", mean, looked_at.sum()), *zip(classes, fractions, looked_at, strict=True)]
    return [
        {"class": name, **dict(zip(ERROR_KINDS, map(float, values), strict=True)), "detections": int(count)}
        for name, values, count in rows
    ]


def match(detections: Detections, objects: Objects) -> Matches:
    """Match detections with objects, which come by image."""
    outcomes = metrics.match_voc(detections, objects, iou_threshold=metrics.VOC_IOU)
    found, overlaps = np.full(len(detections), -1), np.zeros(len(detections))
    for row in np.flatnonzero(outcomes == metrics.HIT):
        image = detections.images[row]
        start, stop = np.searchsorted(objects.images, (image, image + 1))
        overlap = iou(detections.boxes[row], objects.boxes[start:stop])
        overlap = np.where(objects.labels[start:stop] == detections.labels[row], overlap, -1)
        found[row], overlaps[row] = start + overlap.argmax(), overlap.max()
    return Matches(detections, objects, outcomes, found, overlaps)


def score_images(matches: Matches, total: int) -> tuple[np.ndarray, np.ndarray]:
    """F1 of each image (1: nothing to be found, nothing found) and the mean IoU of what was found (0: nothing)."""

    def count(images: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(images, weights, minlength=total)

    images = matches.detections.images
    hits = count(images[matches.outcomes == metrics.HIT])
    errors = count(images[matches.outcomes == metrics.WRONG]) + count(matches.objects.images[matches.is_missed])
    f1 = np.divide(2 * hits, 2 * hits + errors, out=np.ones(total), where=hits + errors > 0)
    return f1, count(images, matches.overlaps) / np.maximum(hits, 1)


def precision_table(curves: Sequence[metrics.Curve], classes: Sequence[str]) -> list[Row]:
    """Highest precision at 101 recalls or above: mean over the classes that have objects, and each class's."""
    columns = {}
    for name, curve in zip(classes, curves, strict=True):
        best_from_here = np.maximum.accumulate(np.append(curve.precision, 0.0)[::-1])[::-1]
        precision = best_from_here[np.searchsorted(curve.recall, RECALLS)]
        columns[name] = precision if curve.objects else np.full(len(RECALLS), np.nan)
    values = np.stack(list(columns.values()))
    present = ~np.isnan(values[:, 0])
    mean = values[present].mean(axis=0) if present.any() else values[0]
    return [
        {"recall": RECALLS[row], "precision": mean[row], **{name: values[row] for name, values in columns.items()}}
        for row in range(len(RECALLS))
    ]


def _draw_curves(
    rows: Sequence[Row], curves: Sequence[metrics.Curve], table: Sequence[Row], path: Path, **heading: str
) -> None:
    """Precision at every hit, from the surest on; detections between two hits only lower it."""
    drawn = {}
    for row, curve in zip(rows, curves, strict=True):
        is_hit = np.diff(curve.recall, prepend=0.0) > 0
        label = f"{row['class']} {row['ap_voc07']:.2f}" if curve.objects else f"{row['class']}: no objects"
        drawn[label] = (curve.recall[is_hit], curve.precision[is_hit])
    mean = np.array([row["recall"] for row in table]), np.array([row["precision"] for row in table])
    diagrams.precision_recall(path, drawn, mean, **heading)


def _case(split: Split, classes: Sequence[str], matches: Matches, f1: np.ndarray, index: int) -> Case:
    image = read_image(split["originals"][index], str(split["ids"][index]))
    objects, detections = matches.objects, matches.detections
    annotated, predicted = objects.images == index, detections.images == index
    is_wrong = (matches.outcomes == metrics.WRONG)[predicted]
    left = draw_boxes(
        image,
        objects.boxes[annotated],
        objects.labels[annotated],
        classes,
        dashed=matches.is_missed[annotated],
        side=SIDE,
    )
    shown = detections[predicted]
    surest = np.sort(np.argsort(-shown.scores, kind="stable")[:MOST_BOXES])
    drawn = shown[surest]
    right = draw_boxes(image, drawn.boxes, drawn.labels, classes, drawn.scores, dashed=is_wrong[surest], side=SIDE)
    overlaps = matches.overlaps[predicted & (matches.outcomes == metrics.HIT)]
    caption = f"{split['ids'][index]}   F1 {f1[index]:.2f}\n"
    caption += f"{len(overlaps)} found · {matches.is_missed[annotated].sum()} missed · {is_wrong.sum()} wrong"
    if len(overlaps):
        caption += f" · mean IoU {overlaps.mean():.2f}"
    if len(drawn) < len(shown):
        caption += f" · the surest {len(drawn)} drawn"
    color = RIGHT if f1[index] == 1 else WRONG if f1[index] == 0 else INK
    return Case(beside([left, right]), caption, color)
