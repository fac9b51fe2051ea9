"""The reports on the datasets, results/datasets/DATASET, as sections of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.commands.report.html.images import Image, image
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.reading import read_object, reading
from pipeline.runtime.seals import Seals


@dataclass(frozen=True)
class Section:
    """What the page says of a dataset.

    Attributes:
        name: Of the dataset.
        task: What its labels are prepared for.
        splits: Number of examples, by split.
        rows: Counts: a class, then its count in each split.
        notes: What occurs twice, was dropped, skipped or left out, a sentence each.
        skipped: What could not be read: a split and the reason.
        figure: Its report.png.
        outdated: What has changed since it was packed; None if nothing has.
    """

    name: str
    task: str
    splits: Mapping[str, int]
    rows: Sequence[Sequence[Any]]
    notes: Sequence[str]
    skipped: Sequence[tuple[str, str]]
    figure: Image | None
    outdated: str | None


def read(params: Params, seals: Seals) -> list[Section]:
    """The section of each dataset that has a report, those of params.yaml first.

    Raises:
        InputError: A report is damaged.
    """
    present = sorted(file.parent.name for file in paths.dataset_report("*").parent.glob("*/report.json"))
    first = [name for name in params.datasets if name in present]
    return [_read(name, seals) for name in dict.fromkeys([*first, *present])]


def _read(name: str, seals: Seals) -> Section:
    folder = paths.dataset_report(name)
    problem, file = seals.require_whole(folder), folder / "report.json"
    with reading(file):
        report = read_object(file)
        counts = [split.get("per_class", {}) for split in report["splits"].values()]
        classes = dict.fromkeys(label for split in counts for label in split)
        return Section(
            name=name,
            task=str(report["task"]),
            splits={split: int(content["examples"]) for split, content in report["splits"].items()},
            rows=[[label, *(count.get(label, 0) for count in counts)] for label in classes],
            notes=_notes(report),
            skipped=[(example["split"], example["reason"]) for example in report["skipped"]],
            figure=image(
                f"{name}: counts per class and split, sizes, and what a model could not learn", folder / "report.png"
            ),
            outdated=problem.text if problem else None,
        )


def _notes(report: Mapping[str, Any]) -> list[str]:
    twice, skipped = report["duplicates"], report["skipped"]
    within = sum(twice["within"].values())
    files = [f"{count:,} {ending}" for ending, count in report.get("left_out", {}).items()]
    return [
        f"Equal examples: {within:,} within a split, {twice['across']:,} in two splits.",
        *(f"Dropped: {count:,} {reason}." for reason, count in report["dropped"].items()),
        *([f"Could not be read and were skipped: {len(skipped):,}."] if skipped else []),
        *([f"Files that are no images: {', '.join(files)}."] if files else []),
    ]
