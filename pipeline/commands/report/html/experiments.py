"""An experiment or an ensemble as a section of the page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnkeras.architectures import Published
from pipeline.backend import environment
from pipeline.commands.report.html import charts, lineage, runs
from pipeline.commands.report.html.charts import Chart
from pipeline.commands.report.html.images import Image, image
from pipeline.commands.report.html.lineage import Step
from pipeline.commands.report.html.runs import Run
from pipeline.commands.report.results import Result
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.reading import read_object, reading
from pipeline.runtime.seals import Seals

# Figures for people, in this order, with what they show; then all others.
_SHOWN = {
    "predictions": "test examples, evenly spaced and not selected, with what it predicts",
    "best": "the test examples that it does best on",
    "worst": "the test examples that it does worst on",
    "errors": "the kinds of its errors",
}


@dataclass(frozen=True)
class Section:
    """What the page says of an experiment or an ensemble.

    Attributes:
        result: Its numbers, as the results table has them.
        state: `current`, `outdated` or `none`.
        notes: What is to be said of that, a sentence each.
        runs: The result, and each of several trainings of it; none without metrics.
        charts: Its diagrams.
        figures: Its images for people.
        drawn: The figures that show what the diagrams do, by their kind, for a browser without scripts.
        settings: What it was made with, as text by key.
        made_by: The stages that made it.
        versions: Versions and machine of the training, as text by name.
        mlflow_run: Name of its MLflow run; None before it was logged.
    """

    result: Result
    state: str
    notes: Sequence[str] = ()
    runs: Sequence[Run] = ()
    charts: Sequence[Chart] = ()
    figures: Sequence[Image] = ()
    drawn: dict[str, Image] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    made_by: Sequence[Step] = ()
    versions: dict[str, str] = field(default_factory=dict)
    mlflow_run: str | None = None

    @property
    def name(self) -> str:
        """Of the experiment or the ensemble."""
        return self.result.name

    @property
    def headlines(self) -> list[str]:
        """The figures of merit that the overview shows: the one that a published number beside it has, and the task's first; none without a result."""
        first = [row.metric for row in self.result.published[:1]]
        return list(dict.fromkeys([*first, next(iter(self.result.scores))])) if self.runs else []

    @property
    def published(self) -> list[list[Any]]:
        """Rows of published numbers that may stand beside it."""
        return published(self.result.published)

    @property
    def steps(self) -> list[list[Any]]:
        """Rows of the stages that made it."""
        return [[step.label, step.files, step.digest, step.code] for step in self.made_by]


def published(numbers: Iterable[Published]) -> list[list[Any]]:
    """Rows of published numbers: metric, value, system, data, protocol, source."""
    return [
        [row.metric.replace("_", " "), row.value, row.system, row.data, row.protocol, row.source] for row in numbers
    ]


def read(params: Params, result: Result, seals: Seals) -> Section:
    """The section of a result.

    Raises:
        InputError: A file of the result is damaged.
    """
    name = result.name
    if result.metrics is None:
        return Section(result, "none", result.protocol)
    files = [paths.history(name), paths.figures(name), *charts.tables(name)]
    changes = [problem.text for problem in map(seals.require_whole, files) if problem]
    outdated = result.outdated or (changes[0] if changes else None)
    made_by = lineage.steps(paths.metrics(name), seals)
    settings, versions = lineage.settings(params, name, made_by), _versions(name)
    with reading(paths.metrics(name)):
        of_seeds = runs.read(params, result, settings, lineage.code(made_by), versions)
    drawn = list(charts.read(name, of_seeds))
    mlflow_run, logged_before = _mlflow_run(name, seals)
    notes = [f"From before a change: {outdated}. Run `cnnkeras repro`."] if outdated else []
    if logged_before and not outdated:
        notes.append(f"MLflow has an earlier result: {logged_before}. Run `cnnkeras log {name}`.")
    return Section(
        result=result,
        state="outdated" if outdated else "current",
        notes=notes,
        runs=of_seeds,
        charts=drawn,
        figures=_figures(name, besides=[chart.figure for chart in drawn]),
        drawn={chart.kind: shown for chart in drawn if (shown := _figure(name, chart.figure, chart.says))},
        settings=settings,
        made_by=made_by,
        versions=versions,
        mlflow_run=mlflow_run,
    )


def _figures(name: str, besides: Sequence[str]) -> list[Image]:
    folders = (paths.figures(name), paths.small_figures() / name)
    present = sorted({file.stem for folder in folders for file in folder.glob("*.png")})
    names = [*(stem for stem in _SHOWN if stem in present), *(stem for stem in present if stem not in _SHOWN)]
    found = (_figure(name, stem, _SHOWN.get(stem, stem.replace("_", " "))) for stem in names if stem not in besides)
    return [figure for figure in found if figure]


def _figure(name: str, stem: str, says: str) -> Image | None:
    return image(f"{name}: {says}", paths.figures(name) / f"{stem}.png", paths.small_figure(name, stem))


def _versions(name: str) -> dict[str, str]:
    recorded = environment.read(paths.environment(name), seal=paths.seal(f"train@{name}"))
    return {key: str(value) for values in recorded.values() for key, value in values.items()}


def _mlflow_run(name: str, seals: Seals) -> tuple[str | None, str | None]:
    """Name of the result's run in MLflow, and what has changed since it was logged."""
    file = paths.receipt(name)
    problem = seals.require_whole(file)
    if not file.is_file():
        return None, None
    with reading(file):
        run = read_object(file)["run_name"]
    return run, problem.text if problem else None
