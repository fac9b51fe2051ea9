"""What a row of a packed dataset has beside its input: one file, one task, and the file's name is the task's.

A task's file defines

- `NEEDS_LABEL`: whether an example must have a class of its own;
- `columns(part, label, size)`: the annotations of a row at the dataset's size, as columns of equal shapes and as ragged ones;
- `original_columns(part)`: those at the original's size, ragged, which rows of val and test have as well;
- `draw(inputs, split, row, classes, *, side)` and `caption(split, row, classes)`: a row on the contact sheet;
- `UNIT`, `ONE`, `counts(rows, classes)`, `per_class(counts)` and `statistics(rows)`: what the dataset's report counts of each class, one
  of it, how many there are, how the report says that, and what else is worth knowing of a split;
- `nothing(counts)`: why a split has nothing to learn from or to measure, if so; `why_absent(counts, absent)`: the likely reason why
  classes have nothing in the training split, and the fix.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cnnkeras.by_name import Files
from pipeline.formats.packed import Split

_files = Files(__name__, "a task")
names, load = _files.names, _files.load


class PlainRows:
    """The rows of a split that are no augmented copies.

    Args:
        split: The split.
        versions: Rows of each example: itself and its copies.
    """

    def __init__(self, split: Split, versions: int):
        self.split, self.rows = split, range(0, len(split), versions)

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> Iterator[np.ndarray]:
        """A column's items."""
        column = self.split[name]
        return (np.asarray(column[row]) for row in self.rows)


def count(labels: Iterable[np.ndarray], names: Sequence[str]) -> dict[str, int]:
    """How often each name's label occurs, the labels being 0, 1, ..., and others that do not count."""
    counts = np.zeros(max(len(names), 256), np.int64)
    for each in labels:
        counts += np.bincount(each.ravel(), minlength=len(counts))
    return dict(zip(names, counts[: len(names)].tolist(), strict=True))
