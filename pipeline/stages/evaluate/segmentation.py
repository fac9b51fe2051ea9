"""Label maps against masks at the images' own size: IoU by VOC's rule, over one confusion matrix of all pixels."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnkeras.label_maps import decode_png
from cnnkeras.metrics import segmentation as metrics
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import beside, draw_mask
from pipeline.formats.packed import Split
from pipeline.images.reading import read_image
from pipeline.params import SegmentationPostprocess
from pipeline.stages.evaluate import Case, Evaluation, read_protocol

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
            *_how(read_protocol(predictions), postprocess),
        ],
        unit="images",
        tables={},
        diagrams={
            "confusion_matrix.png": (
                "confusion matrix of pixels",
                functools.partial(diagrams.confusion_matrix, counts=confusion, classes=names),
            )
        },
        ranking=ranking[np.isfinite(mean_iou[ranking])],
        ranked_by="mean IoU of the image's own classes",
        key="left: annotated (void in white), right: predicted",
        columns=3,
        show=functools.partial(_case, split, classes, predictions, mean_iou),
    )


def _how(protocol: list[str], postprocess: SegmentationPostprocess) -> list[str]:
    labels = "the arg-max"
    if postprocess.greedy:
        labels = f"greedy label inference (threshold {postprocess.greedy.threshold:g}, least share {postprocess.greedy.least_share:g})"
    seen = protocol or ["one pass over the whole image"]
    return [*seen[:-1], f"{seen[-1]}; scores brought to its own size ({postprocess.resize}) before {labels}"]


def _label_maps(split: Split, predictions: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The annotated and the predicted label map of an example, uint8 (H, W) each."""
    predicted = (predictions / "label_maps" / f"{split['ids'][index]}.png").read_bytes()
    return decode_png(np.asarray(split["original_masks"][index]).tobytes()), decode_png(predicted)


def _case(split: Split, classes: Sequence[str], predictions: Path, mean_iou: np.ndarray, index: int) -> Case:
    image = read_image(split["originals"][index])
    drawn = [draw_mask(image, labels, classes, side=SIDE) for labels in _label_maps(split, predictions, index)]
    return Case(beside(drawn), f"{split['ids'][index]}   mean IoU {mean_iou[index]:.2f}")
