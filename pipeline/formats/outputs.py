"""A model's outputs for the test split, or an ensemble's, in the order of the split, before any post-processing.

    outputs.npy          (N, ...), in the task's precision; with views (N, views, C), with regions score maps end to end, (pixels, C + 1)
    outputs.offsets.npy  (N + 1,), where the score map of each image starts; only there where images have maps of their own size
    outputs.json         what the outputs are of
    val/                 the same for the validation split, with `predict: {validation: true}`

A stage that reads outputs need not know whether views were averaged or models combined.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.by_name import call
from cnnkeras.protocols import fits
from cnnkeras.protocols.posteriors import average_views
from pipeline.formats.columns import ColumnWriter, Ragged
from pipeline.formats.fitted import frames
from pipeline.formats.packed import Split
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

_VALUES, _OFFSETS, _FACTS = "outputs.npy", "outputs.offsets.npy", "outputs.json"


@dataclass(frozen=True)
class Facts:
    """What outputs are of.

    Attributes:
        experiment: Or ensemble.
        dataset: Whose test split.
        task: The dataset's.
        classes: Names in order, without background.
        views: How many views each protocol has; empty: an example has one output.
        models: Names of the experiments that an ensemble combines.
        protocol: What the model sees of an image, a sentence each; empty: the packed input, once.
        boxes_per_cell: Of a detector.
        fit: The function of `cnnkeras.protocols.fits` by which packed images became inputs, its arguments, and the inputs' `size`; empty: they
            were packed as inputs.
    """

    experiment: str
    dataset: str
    task: str
    classes: Sequence[str]
    views: Sequence[int] = ()
    models: Sequence[str] = ()
    protocol: Sequence[str] = ()
    boxes_per_cell: int | None = None
    fit: Mapping[str, Any] = field(default_factory=dict)

    def frames(self, split: Split) -> np.ndarray | None:
        """Where each image of the packed split lies in its input: float64 (N, 4), as `Fit.frame`; None if each fills it."""
        if not self.fit:
            return None
        fit = {key: value for key, value in self.fit.items() if key != "size"}
        return frames(split, call(fits, fit), self.fit["size"])


class OutputsWriter:
    """Writes the outputs into a folder, some rows at a time.

    Args:
        folder: It exists.
        facts: What the outputs are of.
        shape: Of one row.
    """

    def __init__(self, folder: Path, facts: Facts, shape: tuple[int, ...]):
        self._folder, self._facts = folder, facts
        self._values = ColumnWriter(folder / _VALUES, tasks.load(facts.task).OUTPUT_DTYPE, shape)

    def append(self, rows: np.ndarray) -> None:
        """Append (n, *shape)."""
        self._values.append(rows)

    def close(self, offsets: Sequence[int] | None = None) -> None:
        """Finish.

        Args:
            offsets: (N + 1,), where the rows of each example start; none: an example is a row.
        """
        self._values.close()
        if offsets is not None:
            np.save(self._folder / _OFFSETS, np.asarray(offsets, np.int64))
        facts = {key: value for key, value in asdict(self._facts).items() if value not in ((), [], None, {})}
        (self._folder / _FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Outputs:
    """The outputs that were read.

    Attributes:
        values: Of each example; of one with views the logits of their mean posterior.
        facts: What they are of.
    """

    values: np.ndarray | Ragged
    facts: Facts


def split_folder(folder: Path, split: str) -> Path:
    """Where the outputs for a split are, in the folder of a model's outputs: for `test` in it, for `val` in a folder of that name."""
    return folder if split == "test" else folder / split


def read_outputs(name: str, *, examples: int, classes: Sequence[str], part: str = "", split: str = "test") -> Outputs:
    """Outputs of an experiment or an ensemble, mapped into memory, after a look at whether they are numbers and of this test split.

    Args:
        name: Of the experiment or ensemble.
        examples: Number of examples of the test split.
        classes: Its class names in order, without background.
        part: Folder of a further seed's outputs; empty: the first one's.
        split: `test`, or `val`, whose outputs are in a folder of this name.

    Raises:
        InputError: They are not.
    """
    folder = split_folder(paths.outputs(name) / part, split)
    place = folder.relative_to(paths.root())
    values = np.load(folder / _VALUES, mmap_mode="r", allow_pickle=False)
    if (offsets := folder / _OFFSETS).is_file():
        values = Ragged(values, np.load(offsets, allow_pickle=False))
    facts = Facts(**json.loads((folder / _FACTS).read_text(encoding="utf-8")))
    if len(values) != examples or list(facts.classes) != list(classes):
        raise InputError(
            f"{place}: expected outputs for {examples} examples of the classes {', '.join(classes)}; "
            f"received: {len(values)} of {', '.join(facts.classes)}. Run `cnnkeras predict {name}` again"
        )
    for number, output in enumerate(values):
        if not np.isfinite(output).all():
            raise InputError(
                f"{place}/{_VALUES}: expected finite numbers; received: NaN or infinity for {split} example {number}. "
                f"The training has diverged: lower experiments.{name}.train.optimizer.learning_rate"
            )
    return Outputs(average_views(values, facts.views) if facts.views else values, facts)
