"""metrics.json: how good an experiment's predictions are.

Figures of merit first, as fractions, then what they were measured on and how, then rows per class and further tables. Numbers are
rounded to 6 decimals; null stands for what is not defined, such as the average precision of a class without objects.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.formats.json_values import json_value

DECIMALS = 6


def write_metrics(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file; keys stay in order."""
    file.write_text(json.dumps(rounded(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_metrics(file: Path) -> dict[str, Any]:
    """The content of the file."""
    return json.loads(file.read_text(encoding="utf-8"))


def rounded(value: Any) -> Any:
    """Numbers as files of results hold them, in nested mappings and sequences; None for one that is not finite."""
    return json_value(value, lambda number: round(number, DECIMALS))
