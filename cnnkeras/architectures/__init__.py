"""The architectures: one file, one architecture, and the file's name is the architecture's name in params.yaml."""

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkeras.by_name import Files


@dataclass(frozen=True)
class Published:
    """A published result, with the facts needed to compare other results with it.

    Attributes:
        system: The measured system ("one CNN", "two networks, D and E").
        metric: A key of metrics.json (`top1_error`, `map_voc07`, `mean_iou`, ...).
        value: A fraction, 0..1.
        data: Data set and split.
        protocol: The test protocol: crops, scales, ensembles, rules.
        source: Paper and table.
        views: Names of the views of that protocol (`cnnkeras/protocols/views.py`); none: whole inputs at the model's size.
    """

    system: str
    metric: str
    value: float
    data: str
    protocol: str
    source: str
    views: tuple[str, ...] = ()


def scaled(channels: float, width: float, minimum: int = 1) -> int:
    """Channels of a hidden layer times `width`, rounded (a half to the even number), and at least `minimum`."""
    return max(minimum, round(channels * width))


def check_task(architecture: str, tasks: Sequence[str], task: str) -> None:
    """Refuse a dataset's task that is not one of an architecture's tasks.

    Raises:
        ValueError: It is not one of them.
    """
    if task not in tasks:
        raise ValueError(f"expected a task of {', '.join(tasks)} for {architecture}; received: {task!r}")


# What an architecture's file defines (CONTRIBUTING.md).
DEFINES = ("TASKS", "VARIANTS", "PARAMETERS", "PAPER_SHAPES", "TINY", "PUBLISHED", "output_shape", "build")

_files = Files(__name__, "an architecture")
names, load = _files.names, _files.load
