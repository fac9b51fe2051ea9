"""The names of every architecture's layers with weights, read from layers.json: Keras, whose import takes seconds, is not needed.

The table is written by `pipeline/backend/write_layer_table.py`. It serves early checks of params.yaml; the final check is at the start of a
training, when layers are copied from one model to another.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("layers.json")


@cache
def table() -> dict[str, list[dict[str, Any]]]:
    """For each architecture the rows of layers.json: `task`, `options`, and `layers`, the names of the layers."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def layers(architecture: str, task: str, options: Mapping[str, Any]) -> list[str] | None:
    """Names of a model's layers with weights, in the model's order; None for an architecture that is not in the table."""
    for row in table().get(architecture, ()):
        if row["task"] == task and all(options.get(name) == value for name, value in row["options"].items()):
            return row["layers"]
    return None
