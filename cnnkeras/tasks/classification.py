"""Classification: an image or a signal belongs to one of C classes. The model's outputs are C logits."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import lazy_loader
import numpy as np
from annotated_types import Gt

from cnnkeras import objectives
from cnnkeras.protocols.posteriors import probabilities

keras = lazy_loader.load("keras")

EXAMPLES = ("images", "objects")
OUTPUT_DTYPE = np.dtype(np.float32)
ANNOTATIONS = ("labels",)
METRICS = ("top1_accuracy", "top5_accuracy")
PROTOCOL = "views"
COMMON_KEYS = ("source", "task", "examples")


def encode_targets(labels: np.ndarray) -> np.ndarray:
    """The targets of the loss, int32 (n,): the class indices, unchanged."""
    return np.asarray(labels, np.int32)


def encode_examples(annotations: Mapping[str, Sequence[np.ndarray]], **_grid: object) -> np.ndarray:
    """The targets of some examples, int32 (n,): the column `labels`; a grid's seeds, shape and classes are not used."""
    return encode_targets(annotations["labels"])


def soft_targets(targets: np.ndarray, *, classes: int) -> np.ndarray:
    """The same targets as probabilities of the classes, float32 (n, classes): 1 for the class of an example."""
    return np.eye(classes, dtype=np.float32)[targets]


def tiny_batch(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Targets (4,) and outputs (4, 3) to try a loss by."""
    return encode_targets(generator.integers(0, 3, 4)), generator.normal(size=(4, 3)).astype(np.float32)


def tiny_predictions(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Probabilities (4, 3), labels (4,) and the number of classes, to try a metric by."""
    labels, outputs = tiny_batch(generator)
    return decode_outputs(outputs), labels, 3


def build_metrics() -> "list[keras.metrics.Metric]":
    """`top1_accuracy` and `top5_accuracy`, fractions; with five classes or fewer the latter is 1."""
    return objectives.top_k_accuracies()


def decode_outputs(outputs: np.ndarray) -> np.ndarray:
    """Class probabilities: softmax over the last axis.

    Args:
        outputs: float (n, C), logits.

    Returns:
        float32 (n, C); each row sums to 1.
    """
    return probabilities(outputs)


def postprocess(outputs: np.ndarray, *, top_k: Annotated[int, Gt(0)] = 5) -> tuple[np.ndarray, np.ndarray]:
    """Class probabilities float32 (n, C), and the `top_k` most probable classes of each example, int (n, min(top_k, C)).

    Args:
        outputs: float (n, C), logits.
        top_k: Number of classes to name for each example.
    """
    posteriors = decode_outputs(outputs)
    return posteriors, most_probable(posteriors, top_k)


def max_settings(*, classes: int) -> dict[str, int]:
    """The largest meaningful values of settings of `postprocess`: there are no more classes to name than there are."""
    return {"top_k": classes}


def describe_outputs(shape: tuple[int, ...], classes: int) -> dict[str, int]:  # noqa: ARG001 - as in the other tasks
    """Facts about outputs of this shape, to be stored with them: none."""
    return {}


def most_probable(posteriors: np.ndarray, k: int) -> np.ndarray:
    """The k most probable classes, most probable first; of equal probabilities the lower class index comes first.

    Args:
        posteriors: float (n, C).
        k: At least 1; more than C count as C.

    Returns:
        int (n, min(k, C)), class indices.
    """
    return np.argsort(-posteriors, axis=-1, kind="stable")[..., :k]
