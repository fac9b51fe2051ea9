"""Label maps against masks at the images' own size: IoU by VOC's rule, over one confusion matrix of all pixels."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.label_maps import decode_png
from cnnkeras.metrics import segmentation as metrics
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import beside, draw_mask
from pipeline.formats.packed import Split
from pipeline.formats.predictions import read_label_map, read_protocol
from pipeline.images.reading import read_image
from pipeline.stages.evaluate import Case, Evaluation

SIDE = 300


def evaluate(split: Split, classes: Sequence[str], predictions: Path, postprocess: Mapping[str, Any]) -> Evaluation:
    """Measure the predicted label maps against the masks of the split, pixel by pixel."""
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
        judged=(_Maps(split, predictions, which=1), _Maps(split, predictions, which=0)),
    )


def _how(protocol: list[str], postprocess: Mapping[str, Any]) -> list[str]:
    labels = "the arg-max"
    if greedy := postprocess.get("greedy"):
        labels = f"greedy label inference (threshold {greedy['threshold']:g}, min. fraction {greedy['min_fraction']:g})"
    seen = protocol or ["one pass over the whole image"]
    return [*seen[:-1], f"{seen[-1]}; scores brought to its own size ({postprocess['resize']}) before {labels}"]


def _label_maps(split: Split, predictions: Path, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The annotated and the predicted label map of an example, uint8 (H, W) each."""
    annotated = decode_png(np.asarray(split["original_masks"][index]).tobytes())
    return annotated, read_label_map(predictions, str(split["ids"][index]))


@dataclass(frozen=True)
class _Maps(Sequence):
    """The annotated (`which` 0) or the predicted (1) label maps of all examples, each read when it is asked for."""

    split: Split
    predictions: Path
    which: int

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return _label_maps(self.split, self.predictions, index)[self.which]


def _case(split: Split, classes: Sequence[str], predictions: Path, mean_iou: np.ndarray, index: int) -> Case:
    image = read_image(split["originals"][index], str(split["ids"][index]))
    drawn = [draw_mask(image, labels, classes, side=SIDE) for labels in _label_maps(split, predictions, index)]
    return Case(beside(drawn), f"{split['ids'][index]}   mean IoU {mean_iou[index]:.2f}")
