"""The networks: one file, one architecture, and the file's name is its name in params.yaml."""

import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Published:
    """One figure from the literature, with what it takes to compare it.

    Attributes:
        system: What was measured ("one CNN", "two networks, D and E").
        metric: A key of metrics.json (`top1_error`, `map_voc07`, `mean_iou`, ...).
        value: A fraction, 0..1.
        data: Data set and split.
        protocol: How it was tested: crops, scales, ensembles, rules.
        source: Paper and table.
    """

    system: str
    metric: str
    value: float
    data: str
    protocol: str
    source: str


def scaled(channels: float, width: float, least: int = 1) -> int:
    """Channels of a hidden layer at a reduced width: rounded (a half to the even number), and no fewer than `least`."""
    return max(least, round(channels * width))


def names() -> list[str]:
    """Names of the architectures, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """The architecture's module, with its tables and its `build`. Keras is imported when a network is built.

    Raises:
        ValueError: There is no such architecture.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        fix = f"Did you mean {near[0]!r}?" if near else f"Add cnnkeras/architectures/{name}.py to make one"
        raise ValueError(f"expected an architecture of {', '.join(known)}; received: {name!r}. {fix}")
    return importlib.import_module(f"{__name__}.{name}")
