"""The losses that trainings minimise: one file, one loss. A task's own is the file of its name; `train: {loss: {name: NAME}}` chooses another one.

A loss's file defines

- `TASKS`: the tasks whose targets and outputs it takes;
- `IS_MEAN_OF_EXAMPLES`: whether the loss of a batch is the mean of those of its examples, so that a batch can be computed in parts;
- `PER_CLASS`: those keyword arguments of `build` that hold a number for each class;
- `TINY`: keyword arguments of `build` by which the loss is tried;
- `build`: the loss, as Keras has them: a `keras.losses.Loss`, or a function of targets and outputs that gives a number for each example,
  float (batch,). Its keyword-only arguments are the settings under `train.loss`, and their annotations the ranges.

What targets and outputs are says the task (`cnnkeras/tasks`): `encode_targets` and the file's first lines. If the task has
`soft_targets`, the loss takes these too: of a classifier class indices (batch,) as well as probabilities (batch, classes).

Reading a file does not import Keras, so that params.yaml is checked without it.
"""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from cnnkeras.by_name import Files

DEFINES = ("TASKS", "IS_MEAN_OF_EXAMPLES", "PER_CLASS", "TINY", "build")
NAME = "name"  # the key beside the arguments of `build` that names another loss than the task's

_files = Files(__name__, "a loss")
names, load = _files.names, _files.load


def chosen(settings: Mapping[str, Any], *, task: str) -> tuple[ModuleType, dict[str, Any]]:
    """The file of a loss and the arguments of its `build`, of the settings under `train.loss`: `{name: focal, gamma: 2}`.

    Raises:
        ValueError: There is no such loss.
    """
    arguments = dict(settings)
    return load(arguments.pop(NAME, task)), arguments
