"""Label maps against masks at the pictures' own size: IoU by VOC's rule, over one confusion matrix of all pixels."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnkeras.metrics import segmentation as metrics
from cnnkeras.tasks.segmentation import decode_png
from pipeline import figures
from pipeline.drawing import beside, draw_mask
from pipeline.evaluations import Case, Evaluation
from pipeline.originals import read_picture
from pipeline.params import SegmentationPostprocess
from pipeline.records import Split

SIDE = 300


def evaluate(
    split: Split, classes: Sequence[str], predictions: Path, postprocess: SegmentationPostprocess
) -> Evaluation:
    """Measure `predictions/label_maps/ID.png` against the masks of the split, pixel by pixel."""
    names = ["background", *classes]
    confusion = np.zeros((len(names), len(names)), np.int64)
    mean_iou = np.zeros(len(split))
    for index in range(len(split)):
        counts = metrics.confusion_matrix(*_label_maps(split, predictions, index), classes=len(names))
        confusion += counts
        mean_iou[index] = metrics.evaluate(counts)["mean_iou"]
    columns = metrics.per_class(confusion)
    ranking = np.argsort(-mean_iou, kind="stable")
    return Evaluation(
        metrics=metrics.evaluate(confusion),
        headline="mean_iou",
        per_class=[
            {"class": name, **{key: values[label].item() for key, values in columns.items()}}
            for label, name in enumerate(names)
        ],
        shown_per_class=("iou", "intersection over union"),
        protocol="VOC mean intersection over union",
        conditions=[
            "one confusion matrix over all pixels of the split; background is a class, void is left out",
            f"one pass over the whole picture; scores brought to its own size ({postprocess.resize}) before the arg-max",
        ],
        unit="pictures",
        tables={},
        diagrams={
            "confusion_matrix.png": (
                "confusion matrix of pixels",
                functools.partial(figures.confusion_matrix, counts=confusion, classes=names),
            )
        },
        ranking=ranking[np.isfinite(mean_iou[ranking])],
        ranked_by="mean IoU of the picture's own classes",
        key="left: annotated (void in white), right: predicted",
        columns=3,
        show=functools.partial(_case, split, classes, predictions, mean_iou),
    )


def _label_maps(split: Split, predictions: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The annotated and the predicted label map of an example, uint8 (H, W) each."""
    predicted = (predictions / "label_maps" / f"{split['ids'][index]}.png").read_bytes()
    return decode_png(np.asarray(split["original_masks"][index]).tobytes()), decode_png(predicted)


def _case(split: Split, classes: Sequence[str], predictions: Path, mean_iou: np.ndarray, index: int) -> Case:
    picture = read_picture(split["originals"][index])
    drawn = [draw_mask(picture, labels, classes, side=SIDE) for labels in _label_maps(split, predictions, index)]
    return Case(beside(drawn), f"{split['ids'][index]}   mean IoU {mean_iou[index]:.2f}")
