"""A training's history as the points of its curves."""

import hashlib
import json
import math
from collections.abc import Mapping

from pipeline.formats import history
from pipeline.tracking.times import Times

Points = Mapping[tuple[str, int], float]  # (metric, step) -> value
Dated = list[tuple[str, int, float, int]]  # metric, step, value, milliseconds since 1970


def read_curves(text: str) -> dict[tuple[str, int], float]:
    """Finite values of a history file, from its text, by (metric, epoch).

    The column `loss` becomes the metric `training/loss`, because metrics.json has columns' names too, such as `top1_accuracy`, for
    numbers measured on the test split.
    """
    columns = history.parse(text)
    epochs = columns.pop("epoch", ())
    points = {
        (f"training/{name}", int(epoch)): float(value)
        for name, column in columns.items()
        for epoch, value in zip(epochs, column, strict=True)
    }
    return {point: value for point, value in points.items() if math.isfinite(value)}


def dated(points: Points, times: Times) -> Dated:
    """Points with the time at which their epoch ended; one whose epoch has no time has the last time before it."""
    known = sorted(times.epochs.items())
    return [
        (metric, step, value, milliseconds(max((end for epoch, end in known if epoch <= step), default=times.start)))
        for (metric, step), value in points.items()
    ]


def milliseconds(seconds: float) -> int:
    """Seconds as MLflow counts them."""
    return round(seconds * 1000)


def digest(points: Dated) -> str:
    """The last epoch and a digest of points, whatever their times: `3 5b0c42d3a8f1e977`. Equal for equal trainings."""
    last = max((step for _, step, _, _ in points), default=0)
    content = json.dumps(sorted((metric, step, value) for metric, step, value, _ in points))
    return f"{last} {hashlib.sha256(content.encode()).hexdigest()[:16]}"
