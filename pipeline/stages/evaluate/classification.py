"""Evaluation of class probabilities: top-k accuracy, the confusion matrix, the best and worst examples."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.metrics import classification as metrics
from cnnkeras.protocols.fits import ONCE
from pipeline.drawing import diagrams
from pipeline.drawing.overlays import RIGHT, WRONG, draw_signal, fit
from pipeline.formats.packed import Split
from pipeline.formats.predictions import read_probabilities, read_protocol
from pipeline.stages.evaluate import Case, Evaluation

SIDE = 224  # pixels of the longer side of a drawn example


def evaluate(
    split: Split,
    classes: Sequence[str],
    predictions: Path,
    postprocess: Mapping[str, Any],  # noqa: ARG001 - as in the other tasks
) -> Evaluation:
    """Compare the predicted probabilities with the labels of the split; arguments as in `pipeline.stages.evaluate`."""
    probabilities = read_probabilities(predictions)
    labels = np.asarray(split["labels"])
    counts = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), classes=len(classes))
    accuracies = np.divide(
        counts.diagonal(), counts.sum(axis=1), out=np.full(len(classes), np.nan), where=counts.sum(axis=1) > 0
    )
    is_signal = split["inputs"].ndim == 3
    views = read_protocol(predictions)
    is_one = not views or views[0].startswith(ONCE)
    true_class_probabilities = probabilities[np.arange(len(labels)), labels]
    return Evaluation(
        metrics=metrics.evaluate(probabilities, labels),
        headline="top1_accuracy",
        per_class=[
            {"class": name, "top1_accuracy": accuracy, "examples": int(examples)}
            for name, accuracy, examples in zip(classes, accuracies, counts.sum(axis=1), strict=True)
        ],
        shown_per_class=("top1_accuracy", "top-1 accuracy"),
        protocol=f"top-k accuracy of {'one view' if is_one else 'combined posteriors'}",
        conditions=views
        or ["each example is seen once, as it is" if is_signal else "each image is seen once, whole and resized"],
        unit="signals" if is_signal else "images",
        tables={
            "confusion": [
                {
                    "actual": classes[actual],
                    "predicted": classes[predicted],
                    "actual_label": int(actual),  # the order of the classes, which their names do not say
                    "predicted_label": int(predicted),
                }
                for actual, predicted in zip(labels, probabilities.argmax(axis=1), strict=True)
            ]
        },
        diagrams={
            "confusion_matrix.png": (
                "confusion matrix",
                functools.partial(diagrams.confusion_matrix, counts=counts, classes=classes),
            )
        },
        ranking=np.argsort(-true_class_probabilities, kind="stable"),
        ranked_by="probability of the true class",
        key="caption: predicted class and its probability; true class and its probability; the example's id",
        columns=6,
        show=functools.partial(_case, split, classes, probabilities),
        judged=(probabilities, labels),
    )


def _case(split: Split, classes: Sequence[str], probabilities: np.ndarray, index: int) -> Case:
    truth, predicted = int(split["labels"][index]), int(probabilities[index].argmax())
    inputs = np.asarray(split["inputs"][index])
    image = draw_signal(inputs, side=SIDE) if inputs.ndim == 2 else fit(inputs, SIDE)
    caption = "\n".join(
        (
            f"{classes[predicted]} {probabilities[index, predicted]:.2f}",
            f"true: {classes[truth]} {probabilities[index, truth]:.2f}",
            str(split["ids"][index]),
        )
    )
    return Case(image, caption, RIGHT if truth == predicted else WRONG)
