"""The lecture's claims: a file for each, found by its name (`claim: size` in params.yaml is `pipeline/lab/claims/size.py`).

A claim's file defines

- `class Settings(ClaimEntry)`: the keys of its entry under `lab:`;
- `measure(settings, *, seed)`: the measurement, as `Findings`. Equal arguments give equal numbers;
- if it examines models, `require_model(role, *, task, input_shape, classes)`: a ValueError for a model that cannot have that role.

Formulas and definitions are in `cnnkeras/`; a claim's file compares them with measurements.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

from cnnkeras.by_name import Files
from pipeline.runtime.entries import Entry
from pipeline.runtime.paths import SCRATCH

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Models(Entry):
    """Names of the trained experiments whose models a claim examines; `scratch` if it needs no model."""

    classifier: str
    encoder: str
    segmenter: str
    detector: str


class ClaimEntry(Entry):
    """Keys of every entry under `lab:`; a claim adds its own keys.

    Attributes:
        claim: Name of the claim's file.
        models: The experiments that the entry depends on. Every entry has all four keys, because dvc.yaml names them.
    """

    claim: str
    models: Models

    @property
    def trained_models(self) -> list[str]:
        """Names of the experiments whose models the claim examines."""
        return [name for name in self.models.model_dump().values() if name != SCRATCH]


@dataclass(frozen=True)
class Findings:
    """The result of a measurement.

    Attributes:
        claim: The lecture's statement.
        published: Published numbers, by the same names as in `measured`; names without a published number are missing.
        expected: Numbers that follow from a definition or a formula, by the same names.
        measured: Our numbers; means, if there are several seeds.
        holds: Whether the measurement agrees with the claim.
        paragraph: The measurement in words; the report prints it after the claim.
        title: Heading of the figure.
        draw: Function that draws on the figure.
        spread: Standard deviations over the seeds, by the same names as in `measured`; empty if nothing is random.

    Raises:
        TypeError: What should be a number is none, which no table could show.
    """

    claim: str
    published: Mapping[str, Any]
    measured: Mapping[str, Any]
    holds: bool
    paragraph: str
    title: str
    draw: "Callable[[Figure], None]"
    spread: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for kind in ("published", "expected", "measured", "spread"):
            for name, value in getattr(self, kind).items():
                if not isinstance(value, Real | None):
                    raise TypeError(f"expected numbers in `{kind}`; received: {name}: {value!r}")


DEFINES = ("Settings", "measure")

_files = Files(__name__, "a claim")
names, load = _files.names, _files.load
