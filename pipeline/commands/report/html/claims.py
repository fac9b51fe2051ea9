"""A claim of the lecture as a section of the page."""

from dataclasses import dataclass
from typing import Any

from pipeline.commands.report.html.images import Image, image
from pipeline.lab.numbers import Numbers
from pipeline.runtime import paths
from pipeline.runtime.seals import Seals


@dataclass(frozen=True)
class Section:
    """What the page says of a claim.

    Attributes:
        name: Of the entry under `lab:`.
        numbers: The content of its numbers.json.
        figure: Its figure.
        outdated: What has changed since it was measured; None if nothing has.
    """

    name: str
    numbers: Numbers
    figure: Image | None
    outdated: str | None

    @property
    def columns(self) -> list[str]:
        """Heads of the table of numbers: what was measured, what somebody published and what a formula gives, where there is either."""
        return ["number", "measured", "spread", *self._others]

    @property
    def rows(self) -> list[list[Any]]:
        """Rows of the table of numbers."""
        numbers = self.numbers
        keys = dict.fromkeys([*numbers.measured, *numbers.published, *numbers.expected])
        columns = [numbers.measured, numbers.spread, *self._others.values()]
        return [[key.replace("_", " "), *(column.get(key) for column in columns)] for key in keys]

    @property
    def _others(self) -> dict[str, Any]:
        columns = {"published": self.numbers.published, "expected": self.numbers.expected}
        return {title: numbers for title, numbers in columns.items() if numbers}


def read(name: str, numbers: Numbers, seals: Seals) -> Section:
    """The section of a claim.

    Raises:
        InputError: Its figure is damaged.
    """
    files = (paths.claim_numbers(name), paths.claim_figure(name))
    problems = [problem.text for problem in map(seals.require_whole, files) if problem]
    figure = image(f"Figure: {numbers.claim}", paths.claim_figure(name), paths.small_figure(paths.LAB, name))
    return Section(name, numbers, figure, next(iter(problems), None))
