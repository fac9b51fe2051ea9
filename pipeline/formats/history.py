"""history.csv: a row for every epoch of a training.

Columns: the epoch from 1, the learning rate of its last step, the losses, then the metrics in the order of their names. Six
significant digits, and no times, so that equal trainings give equal files.
"""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_FIRST = ("epoch", "learning_rate", "loss", "val_loss")


def start(file: Path) -> None:
    """Write the history of a model that was trained for no epoch: a header alone."""
    file.write_text(",".join(_FIRST) + "\n", encoding="utf-8")


def append(file: Path, epoch: int, values: Mapping[str, float]) -> None:
    """Add the row of an epoch, which counts from 1; the first one comes with a header."""
    names = (*_FIRST[1:], *sorted(values.keys() - set(_FIRST)))
    row = {"epoch": epoch} | {name: f"{values[name]:.6g}" for name in names}
    with file.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, row, lineterminator="\n")
        if epoch == 1:
            writer.writeheader()
        writer.writerow(row)


def read(file: Path) -> dict[str, np.ndarray]:
    """Columns by name, NaN where a field is empty; nothing if there is no epoch. A last line that is being written is left out."""
    return parse(file.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, np.ndarray]:
    """The same from the text of a history."""
    rows = list(csv.DictReader(line for line in text.splitlines(keepends=True) if line.endswith("\n")))
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}
