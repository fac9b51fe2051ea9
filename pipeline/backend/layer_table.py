"""The names of every architecture's layers that have weights, from layers.json: without Keras, which takes seconds.

The table is written by `pipeline/backend/write_layer_table.py`. A layer is copied from one model to another when a training
starts, which has the last word.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("layers.json")


@cache
def table() -> dict[str, list[dict[str, Any]]]:
    """For each architecture a row for each task and options, with the names of the layers."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def layers(architecture: str, task: str, options: Mapping[str, Any]) -> list[str] | None:
    """Names of the layers of a model, in its order; None for an architecture that is not in the table."""
    for row in table().get(architecture, ()):
        if row["task"] == task and all(options.get(name) == value for name, value in row["options"].items()):
            return row["layers"]
    return None
