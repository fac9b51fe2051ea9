"""Writes layers.json: the names of every architecture's layers with weights, for each task, variant and value of its boolean options.

The check of params.yaml reads this table to find patterns of `initial_weights.layers` that match no layer, as importing Keras would take
seconds. The names depend on the task, the variant and the boolean options, not on sizes.

Run `python -m pipeline.backend.write_layer_table` after a change of an architecture.
"""

import inspect
import itertools
import json
import typing
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from cnnkeras import architectures
from pipeline.backend.layer_table import TABLE

# An outline is built for the first of these shapes that the architecture takes.
INPUT_SHAPES = ((40, 1), (64, 64, 3), (224, 224, 3), (448, 448, 3))
CLASSES = 3


def rows() -> dict[str, list[dict[str, Any]]]:
    """For each architecture a row for each task and combination of options: `task`, `options`, `layers`."""
    return {name: list(_rows(architectures.load(name))) for name in architectures.names()}


def to_json(table: dict[str, list[dict[str, Any]]]) -> str:
    """The table as JSON, with a line for each row."""
    parts = (
        f'"{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in entries) + "\n]"
        for name, entries in table.items()
    )
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _rows(architecture: ModuleType) -> Iterator[dict[str, Any]]:
    switches = _switches(architecture)
    for task in architecture.TASKS:
        for variant, *values in itertools.product(architecture.VARIANTS, *switches.values()):
            options = {"variant": variant, **dict(zip(switches, values, strict=True))}
            yield {"task": task, "options": options, "layers": _layers(architecture, task, options)}


def _switches(architecture: ModuleType) -> dict[str, list[bool | None]]:
    """The boolean options of `build` with their values; None is one of them if the variant has a default."""
    switches = {}
    for name, parameter in inspect.signature(architecture.build).parameters.items():
        kinds = {parameter.annotation, *typing.get_args(parameter.annotation)}
        if bool in kinds:
            switches[name] = [*([None] if type(None) in kinds else []), False, True]
    return switches


def _layers(architecture: ModuleType, task: str, options: dict[str, Any]) -> list[str]:
    from cnnkeras.summary import build_outline  # imports Keras

    for input_shape in INPUT_SHAPES:
        try:
            output_shape = architecture.output_shape(task=task, classes=CLASSES, input_shape=input_shape, **options)
        except ValueError:
            continue
        model = build_outline(architecture.build, input_shape=input_shape, output_shape=output_shape, **options)
        return [layer.name for layer in model.layers if layer.weights]
    raise ValueError(f"expected an input shape that {architecture.__name__} takes; received: none in INPUT_SHAPES")


if __name__ == "__main__":
    TABLE.write_text(to_json(rows()), encoding="utf-8")
    print(TABLE)
