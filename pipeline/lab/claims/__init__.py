"""The lecture's claims: one file each, found by its name (`claim: size` in params.yaml is `pipeline/lab/claims/size.py`).

A claim's file defines

- `class Settings(ClaimEntry)`: the keys of its entry under `lab:`;
- `measure(settings, *, seed)`: the measurement, as `Findings`. Equal arguments give equal numbers.

What is arithmetic or a definition is in `cnnkeras/`; a claim's file compares it with what happens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnkeras.by_name import Files
from pipeline.runtime.entries import Entry
from pipeline.runtime.paths import SCRATCH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Models(Entry):
    """Trained experiments that a claim looks into; `scratch` where it needs none."""

    classifier: str
    encoder: str
    segmenter: str
    detector: str


class ClaimEntry(Entry):
    """What every entry under `lab:` has; a claim adds its own keys.

    Attributes:
        claim: Its file.
        models: Those that it depends on, all four for any claim: dvc.yaml names them.
    """

    claim: str
    models: Models

    @property
    def trained_models(self) -> list[str]:
        """Names of the experiments whose models it looks into."""
        return [name for name in self.models.model_dump().values() if name != SCRATCH]


@dataclass(frozen=True)
class Findings:
    """What a measurement found.

    Attributes:
        claim: The lecture's statement.
        published: Numbers from the literature, by the names of `measured`; only those that there are.
        measured: Ours; the mean where there are several seeds.
        spread: Standard deviation over the seeds, by the names of `measured`; empty where nothing is random.
        holds: Whether the measurement agrees with the claim.
        paragraph: Measurement and verdict, as the report prints them after the claim.
        title: Heading of the figure.
        draw: Draws it.
    """

    claim: str
    published: Mapping[str, Any]
    measured: Mapping[str, Any]
    holds: bool
    paragraph: str
    title: str
    draw: "Callable[[Figure], None]"
    spread: Mapping[str, float] = field(default_factory=dict)


_files = Files(__name__, "a claim")
names, load = _files.names, _files.load
