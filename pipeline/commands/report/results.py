"""The table of results: what every experiment reached, beside what was published, each with its own data and protocol."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cnnkeras import architectures, metrics
from cnnkeras.architectures import Published
from pipeline.backend import model_files
from pipeline.commands.report import comparable, figures
from pipeline.commands.report.files import MARK
from pipeline.formats.metrics import DECIMALS, by_seed_of, deviations_of, read_metrics
from pipeline.params import Dataset, Ensemble, Experiment, Params, PublishedResult, is_published
from pipeline.runtime import durations, paths
from pipeline.runtime.printable import printable
from pipeline.runtime.reading import read_object, reading
from pipeline.runtime.seals import Seals
from pipeline.sources import Task

NOTE = "A published number stands beside ours only where it was measured on the same test images by the same protocol. All numbers are fractions."
ELSEWHERE = "Published with other data or another protocol"
ELSEWHERE_NOTE = "What the authors of these architectures reached, on their data and by their protocols: not to be compared with ours."
Cell = list[tuple[str, bool]]  # lines of text, each with whether it is bold


@dataclass(frozen=True)
class Result:
    """An experiment or an ensemble with what is known of it; `metrics`, `parameters` and `timing` are None as long as there are none.

    `published` are the numbers of its architecture that may stand beside its own, `elsewhere` the others. `outdated` says what changed
    since the result was made, None if nothing did.
    """

    name: str
    experiment: Experiment | Ensemble
    dataset: Dataset
    published: Sequence[Published]
    elsewhere: Sequence[Published]
    metrics: dict[str, Any] | None
    parameters: int | None
    timing: dict[str, Any] | None
    outdated: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the files are there that DVC keeps: the figures and, unless it is an ensemble, the model."""
        has_model = self.parameters is not None or isinstance(self.experiment, Ensemble)
        return has_model and paths.figures(self.name).is_dir()

    @property
    def model(self) -> list[str]:
        """What it is, a line each."""
        if isinstance(self.experiment, Ensemble):
            return [f"{self.experiment.combine} of {' and '.join(self.experiment.members)}"]
        options = self.experiment.model
        words = [self.experiment.architecture]
        words += [f"variant {options['variant']}"] if "variant" in options else []
        words += [f"width {options['width']:g}"] if options.get("width", 1) != 1 else []
        lines = [", ".join(words)]
        if self.parameters is not None:
            lines.append(f"{self.parameters:,} parameters")
        return lines

    @property
    def cost(self) -> list[str]:
        """How long the training took here, and on what: for the terminal, as every run takes another time."""
        if self.timing is None:
            return []
        count = len(by_seed_of(self.metrics or {}))
        trained = f"{count} trainings" if count else "trained"
        return [f"{trained} in {durations.in_words(self.timing['seconds'])} on {self.timing['machine']}"]

    @property
    def scores(self) -> dict[str, str]:
        """The task's metrics as text, with the standard deviation over several seeds; none without a result."""
        if self.metrics is None:
            return {}
        spread = deviations_of(self.metrics)
        return {
            key: with_deviation(self.metrics[key], spread[key]) if key in spread else _number(self.metrics[key])
            for key in (*_compared(self.dataset.task), *self.further)
        }

    @property
    def further(self) -> list[str]:
        """Keys of the result's metrics beside the task's own."""
        keys = [key for named in self.experiment.evaluate.metrics for key in metrics.load(named["name"]).METRICS]
        return [key for key in keys if key in (self.metrics or {})]

    @property
    def each_seed(self) -> list[str]:
        """The first metric with each of several seeds, in a line; none for one training."""
        by_seed, key = by_seed_of(self.metrics or {}), _compared(self.dataset.task)[0]
        if not by_seed:
            return []
        values = ", ".join(_number(values[key]) for values in by_seed.values())
        return [
            f"mean ± standard deviation of {len(by_seed)} trainings, seeds {', '.join(map(str, by_seed))}: {values}"
        ]

    @property
    def data(self) -> str:
        """What the metrics were measured on."""
        size = None if isinstance(self.experiment, Ensemble) else self.experiment.input.size
        shape = f", input {' x '.join(map(str, size or self.dataset.size))}" if size or self.dataset.size else ""
        return f"{self.experiment.dataset}, test split, {self.metrics['examples']:,} examples{shape}"

    @property
    def protocol(self) -> list[str]:
        """How the metrics were measured, or how to measure them."""
        if self.metrics is None:
            stage = "evaluate_ensemble" if isinstance(self.experiment, Ensemble) else "evaluate"
            return [f"no result yet: run `dvc repro {stage}@{self.name}`"]
        before = [f"from before a change, {self.outdated}: run `cnnkeras repro`"] if self.outdated else []
        return [*self.each_seed, self.data, *self.metrics["protocol"], *self._seen, *before]

    @property
    def _seen(self) -> list[str]:
        """What the model saw, where the protocol does not say it: views, regions, several models."""
        is_plain = not isinstance(self.experiment, Ensemble) and not (
            self.experiment.predict.views or self.experiment.predict.regions
        )
        return [] if is_plain else ["; ".join(self.metrics["conditions"])]


def read(params: Params, seals: Seals) -> list[Result]:
    """Every experiment and ensemble, with what is known of it.

    Raises:
        InputError: A file of a result is damaged.
    """
    results = [_read(name, params, seals) for name in (*params.experiments, *params.ensembles)]
    for result in results:
        _require_readable(result)
    seals.save()
    return results


def _require_readable(result: Result) -> None:
    """Refuse metrics and times without what the report shows of them."""
    with reading(paths.timings(result.name)):
        len(result.cost)
    if result.metrics is not None:
        with reading(paths.metrics(result.name)):
            _section(result, paths.root())


def table(results: Sequence[Result]) -> Table:
    """The results for the terminal."""
    result = Table(title="Results", show_lines=True)
    for column in ("experiment", "ours", "published"):
        result.add_column(column, overflow="fold")
    for entry in results:
        name, *cells = _cells(entry)
        result.add_row(*map(_terminal_text, ([*name, *((line, False) for line in entry.cost)], *cells)))
    return result


def markdown(results: Sequence[Result], folder: Path) -> str:
    """The results as a Markdown file in `folder`, to which the links are relative."""
    lines = ["# Results", "", MARK, "", NOTE, "", *_row("experiment", "ours", "published")]
    lines.append("| --- | --- | --- |")
    for entry in results:
        name, *cells = _cells(entry)
        if entry.metrics is not None:
            name[0] = (f"[{entry.name}](#{entry.name})", True)
        lines += _row(*(_markdown_text(cell) for cell in (name, *cells)))
    for entry in results:
        if entry.metrics is not None:
            lines += ["", f"## {entry.name}", "", *_section(entry, folder)]
    return "\n".join([*lines, *_elsewhere(results)]) + "\n"


def _elsewhere(results: Sequence[Result]) -> list[str]:
    """A section of the published numbers that are of other data or by another protocol than ours, each once."""
    rows = dict.fromkeys(row for entry in results for row in entry.elsewhere)
    if not rows:
        return []
    columns = ("published", "value", "system", "data", "protocol", "source")
    lines = ["", f"## {ELSEWHERE}", "", ELSEWHERE_NOTE, "", *_row(*columns), "|" + " --- |" * len(columns)]
    for row in rows:
        lines += _row(row.metric, _number(row.value), row.system, row.data, row.protocol, row.source)
    return lines


def _terminal_text(cell: Cell) -> Text:
    return Text("\n").join(Text(printable(text), style="bold" if is_bold else "") for text, is_bold in cell)


def _markdown_text(cell: Cell) -> str:
    return "<br>".join(f"**{text}**" if is_bold else text for text, is_bold in cell)


def _cells(entry: Result) -> tuple[Cell, Cell, Cell]:
    """An experiment's row of the first table: its first published number, and ours under the same name beside it."""
    first = entry.published[0] if entry.published else None
    keys = dict.fromkeys([*([first.metric] if first else []), _compared(entry.dataset.task)[0]])
    published: Cell = [("-", False)]
    if first:
        more = f" (and {len(entry.published) - 1} more)" if len(entry.published) > 1 else ""
        published = [(f"{first.metric} {_number(first.value)}", True)]
        published += [(line, False) for line in (first.system, first.data, f"{first.protocol}{more}")]
    return (
        [(entry.name, True), *((line, False) for line in entry.model)],
        [
            *((f"{key} {entry.scores[key]}", True) for key in keys if entry.scores),
            *((line, False) for line in entry.protocol),
        ],
        published,
    )


def _section(entry: Result, folder: Path) -> list[str]:
    """An experiment's numbers with their protocol, every published one with its own, and the figures."""
    all_numbers = os.path.relpath(paths.metrics(entry.name), folder)
    lines = [f"{'; '.join(entry.model)}.", ""]
    lines += [
        "; ".join([entry.data, *entry.metrics["protocol"], *entry.metrics["conditions"]])
        + f" ([all numbers]({all_numbers})).",
        "",
    ]
    lines += [*_row("ours", "value"), "| --- | --- |"]
    lines += [line for key, value in entry.scores.items() for line in _row(key, value)]
    for seed, values in by_seed_of(entry.metrics).items():
        lines += [line for key in entry.scores for line in _row(f"{key}, seed {seed}", _number(values[key]))]
    if entry.published:
        lines += ["", *_row("published", "value", "system", "data", "protocol", "source"), "|" + " --- |" * 6]
    for row in entry.published:
        lines += _row(row.metric, _number(row.value), row.system, row.data, row.protocol, row.source)
    for figure in figures.of_experiment(entry.name):
        lines += ["", f"![{entry.name}: {figure.stem.replace('_', ' ')}]({os.path.relpath(figure, folder)})"]
    return lines


def _row(*cells: str) -> list[str]:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return [f"| {' | '.join(escaped)} |"]


def _read(name: str, params: Params, seals: Seals) -> Result:
    experiment = params.measured(name)
    dataset = params.dataset(experiment.dataset)
    result, model, timing = paths.metrics(name), paths.model_file(name), paths.timings(name)
    rows = _published(params.first_experiment(name), dataset.task, experiment.published)
    beside, elsewhere = comparable.split(params, name, rows)
    changes = [change for change in map(seals.require_whole, (result, model, paths.figures(name))) if change]
    return Result(
        name=name,
        experiment=experiment,
        dataset=dataset,
        published=beside,
        elsewhere=elsewhere,
        metrics=read_metrics(result) if result.is_file() else None,
        parameters=model_files.count_parameters(model) if model.is_file() else None,
        timing=read_object(timing) if timing.is_file() else None,
        outdated=changes[0].text if changes else None,
    )


def _compared(task: Task) -> tuple[str, ...]:
    """What a published number must be to stand beside a task's own: YOLO's mAP says nothing of its pre-training as a classifier."""
    return metrics.load(task).METRICS


def _published(experiment: Experiment, task: Task, result: PublishedResult | None = None) -> list[Published]:
    """The architecture's published numbers for the task: the named result's alone, or all, those of its variant first."""
    rows = [row for row in architectures.load(experiment.architecture).PUBLISHED if row.metric in _compared(task)]
    if result is not None:
        return [row for row in rows if is_published(row, result)]
    variant = str(experiment.model.get("variant")).lower()
    return sorted(rows, key=lambda row: variant not in row.system.lower().split())


def with_deviation(mean: float | None, deviation: float | None) -> str:
    """A mean and its standard deviation, of which two digits are shown, and as many decimals of the mean; of 0 and of none three decimals."""
    if not mean or not deviation:
        return f"{_number(mean)} ± {_number(deviation)}"
    decimals = min(max(1 - int(f"{deviation:.1e}".partition("e")[2]), 0), DECIMALS)
    return f"{mean:.{decimals}f} ± {deviation:.{decimals}f}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
