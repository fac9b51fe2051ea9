"""The file numbers.json: the measured and published numbers of a claim, and the verdict."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pipeline.formats.json_values import json_value
from pipeline.lab.claims import Findings
from pipeline.runtime.reading import read_object, reading

DIGITS = 6  # significant digits of every number; further digits depend on the processor


@dataclass(frozen=True)
class Numbers:
    """The content of a numbers.json: fields of `Findings`, with numbers rounded to `DIGITS` and None for numbers that are not finite.

    `expected` stands there only if a number is expected.
    """

    claim: str
    published: Mapping[str, Any]
    measured: Mapping[str, Any]
    spread: Mapping[str, Any]
    holds: bool
    paragraph: str
    expected: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the claim holds, in words."""
        return "holds" if self.holds else "does not hold"


def write(file: Path, findings: Findings) -> None:
    """Write the findings of a claim as JSON."""
    content = {entry.name: json_value(getattr(findings, entry.name), _rounded) for entry in fields(Numbers)}
    if not content["expected"]:
        del content["expected"]
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read(file: Path) -> Numbers:
    """Read a file that `write` has written.

    Raises:
        InputError: The file is damaged.
    """
    with reading(file):
        return Numbers(**read_object(file))


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
