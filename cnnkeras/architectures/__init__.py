"""The networks: one file, one architecture, and the file's name is its name in params.yaml."""

from dataclasses import dataclass

from cnnkeras.by_name import Files


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


_files = Files(__name__, "an architecture")
names, load = _files.names, _files.load
