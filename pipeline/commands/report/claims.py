"""results/lab/README.md: for each claim of the lecture a paragraph - claim, measurement, verdict - with its figure."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.commands.report import figures
from pipeline.commands.report.files import MARK
from pipeline.lab import numbers
from pipeline.lab.numbers import Numbers
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.reading import reading
from pipeline.runtime.seals import Seals

NOTE = (
    f"{MARK} Each claim is an entry under `lab:` in params.yaml, measured by `dvc repro lab@NAME`; its numbers, with "
    "the spread over seeds, what somebody published and what a formula gives (expected), are in NAME/numbers.json. The verdict is computed "
    "from them."
)


def read(params: Params, seals: Seals) -> dict[str, Numbers]:
    """The numbers of each entry that has some, by its name; entries of other params files, such as a recipe, come last.

    Raises:
        InputError: Some are damaged.
    """
    present = sorted(file.parent.name for file in paths.claim_numbers("*").parents[1].glob("*/numbers.json"))
    names = [*(name for name in params.lab if name in present), *(name for name in present if name not in params.lab)]
    for name in names:
        seals.require_whole(paths.claim_numbers(name))
    return {name: _read(paths.claim_numbers(name)) for name in names}


def _read(file: Path) -> Numbers:
    """The numbers of an entry, of which the report can show all."""
    claim = numbers.read(file)
    with reading(file):
        _table(claim)
    return claim


def markdown(claims: Mapping[str, Numbers]) -> str:
    """The report's text."""
    lines = ["# The lecture as a lab", "", NOTE, "", "| claim | verdict |", "| --- | --- |"]
    lines += [f"| [{name}](#{name}): {claim.claim} | {claim.verdict} |" for name, claim in claims.items()]
    for name, claim in claims.items():
        lines += ["", f"## {name}", "", f"{claim.claim} {claim.paragraph} **The claim {claim.verdict}.**"]
        lines += ["", *_table(claim)]
        if figure := figures.of_claim(name):
            lines += ["", f"![{name}]({os.path.relpath(figure, paths.lab_report().parent)})"]
    return "\n".join(lines) + "\n"


def _table(claim: Numbers) -> list[str]:
    """What was measured, beside what somebody published and what a formula gives, where there is either."""
    others = {"published": claim.published, "expected": claim.expected}
    others = {title: numbers for title, numbers in others.items() if numbers}
    rows = [f"| {' | '.join(('number', 'measured', *others))} |", "|" + " --- |" * (2 + len(others))]
    for name in dict.fromkeys([*claim.measured, *claim.published, *claim.expected]):
        spread = "" if claim.spread.get(name) is None else f" ± {_text(claim.spread[name])}"
        cells = [name.replace("_", " "), f"{_text(claim.measured.get(name))}{spread}"]
        rows.append(f"| {' | '.join([*cells, *(_text(numbers.get(name)) for numbers in others.values())])} |")
    return rows


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
