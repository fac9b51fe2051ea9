"""The reports on the datasets, results/datasets/DATASET, as sections of the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.commands.report.html.images import Image, image
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.seals import Seals


@dataclass(frozen=True)
class Section:
    """What the page says of a dataset.

    Attributes:
        name: Of the dataset.
        report: The content of its report.json.
        classes: Class names, in order.
        figure: Its report.png.
        outdated: What has changed since it was packed; None if nothing has.
    """

    name: str
    report: Mapping[str, Any]
    classes: Sequence[str]
    figure: Image | None
    outdated: str | None

    @property
    def rows(self) -> list[list[Any]]:
        """Rows of counts: a class, then its count in each split."""
        splits = self.report["splits"].values()
        return [[label, *(split.get("per_class", {}).get(label, 0) for split in splits)] for label in self.classes]

    @property
    def skipped(self) -> list[list[Any]]:
        """Rows of what could not be read."""
        return [list(example.values()) for example in self.report["skipped"]]

    @property
    def notes(self) -> list[str]:
        """What occurs twice, was dropped, skipped or left out, a sentence each."""
        twice, skipped = self.report["duplicates"], self.report["skipped"]
        within = sum(twice["within"].values())
        files = [f"{count:,} {ending}" for ending, count in self.report.get("left_out", {}).items()]
        return [
            f"Equal examples: {within:,} within a split, {twice['across']:,} in two splits.",
            *(f"Dropped: {count:,} {reason}." for reason, count in self.report["dropped"].items()),
            *([f"Could not be read and were skipped: {len(skipped):,}."] if skipped else []),
            *([f"Files that are no images: {', '.join(files)}."] if files else []),
        ]


def read(params: Params, seals: Seals) -> list[Section]:
    """The section of each dataset that has a report, those of params.yaml first.

    Raises:
        InputError: A report is damaged.
    """
    present = sorted(file.parent.name for file in paths.dataset_report("*").parent.glob("*/report.json"))
    names = [
        *(name for name in params.datasets if name in present),
        *(name for name in present if name not in params.datasets),
    ]
    return [_read(name, seals) for name in names]


def _read(name: str, seals: Seals) -> Section:
    folder = paths.dataset_report(name)
    problem = seals.require_whole(folder)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    classes = dict.fromkeys(label for split in report["splits"].values() for label in split.get("per_class", ()))
    drawn = image(f"{name}: counts per class and split, sizes, and what a model could not learn", folder / "report.png")
    return Section(name, report, list(classes), drawn, problem.text if problem else None)
