"""What two results are compared by: settings, code, versions, figures of merit, rows per class and curves.

A run is an experiment, an ensemble, or one of several trainings of an experiment.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pipeline.commands.report.results import Result
from pipeline.formats import history
from pipeline.formats.json_values import json_value
from pipeline.formats.metrics import by_seed_of, deviations_of
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.reading import reading

Curves = dict[str, list[float | None]]


@dataclass(frozen=True)
class Run:
    """A result, or one of several trainings of it.

    Attributes:
        id: `yolo`, or `yolo@2` for the training with seed 2.
        title: For people.
        settings: Of params.yaml, as text by key.
        numbers: Figures of merit; None for one that is not defined.
        deviations: Their standard deviations over several trainings.
        per_class: Rows of metrics.json, of the first training alone.
        curves: Columns of history.csv.
        code: Digests by path.
        versions: Of libraries, by name; the processor too.
    """

    id: str
    title: str
    settings: Mapping[str, str]
    numbers: Mapping[str, float | None]
    deviations: Mapping[str, float | None] = field(default_factory=dict)
    per_class: list[dict[str, Any]] = field(default_factory=list)
    curves: Curves = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """The run for the page's script."""
        return asdict(self)


def read(
    params: Params, result: Result, settings: Mapping[str, str], code: Mapping[str, str], versions: Mapping[str, str]
) -> list[Run]:
    """The run of a result that has metrics; with several seeds also that of each."""
    metrics, name = result.metrics, result.name
    by_seed, made = by_seed_of(metrics), {"code": code, "versions": versions}
    mean = f"{name}, mean of {len(by_seed)} seeds"
    first = Run(
        id=name,
        title=mean if by_seed else name,
        settings=settings,
        numbers={key: metrics[key] for key in result.scores},
        deviations=deviations_of(metrics),
        per_class=metrics["per_class"],
        curves={} if by_seed else curves(paths.history(name)),
        **made,
    )
    histories = {repeat.seed: paths.history(name, repeat.folder) for repeat in params.repeats(name)}
    shared = {key: value for key, value in settings.items() if key not in ("seed", "seeds", "train.seed")}
    each = [
        Run(
            id=f"{name}@{seed}",
            title=f"{name}, seed {seed}",
            settings={**shared, "seed": str(seed)},
            numbers=numbers,
            curves=curves(histories[seed]) if seed in histories else {},
            **made,
        )
        for seed, numbers in by_seed.items()
    ]
    return [first, *each]


def curves(file: Path) -> Curves:
    """Columns of a history by name, None where a field is empty; nothing without the file or of a model that was not trained."""
    if not file.is_file():
        return {}
    with reading(file):
        columns = {
            name: json_value(column.tolist(), lambda number: number) for name, column in history.read(file).items()
        }
        return columns | {"epoch": [int(epoch) for epoch in columns["epoch"]]} if columns else {}
