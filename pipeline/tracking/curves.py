"""A training's history as the points of its curves."""

import math
from collections.abc import Mapping
from pathlib import Path

from pipeline.formats import history

Points = Mapping[tuple[str, int], float]  # (metric, step) -> value


def read_curves(file: Path) -> dict[tuple[str, int], float]:
    """Finite values of a history file by (metric, epoch).

    The column `loss` becomes the metric `training/loss`, because metrics.json has columns' names too, such as `top1_accuracy`, for
    numbers measured on the test split.
    """
    columns = history.read(file)
    epochs = columns.pop("epoch", ())
    points = {
        (f"training/{name}", int(epoch)): float(value)
        for name, column in columns.items()
        for epoch, value in zip(epochs, column, strict=True)
    }
    return {point: value for point, value in points.items() if math.isfinite(value)}
