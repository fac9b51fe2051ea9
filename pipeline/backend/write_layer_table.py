"""Writes layers.json: the names of every architecture's layers that have weights, for each variant and each of its switches.

What reads params.yaml must not take the seconds that importing Keras takes; it reads this table to say which patterns of
`initial_weights.layers` match no layer. Names depend on the task, the variant and what is true or false, on no size.

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

# Of the images that an outline is built for: the first that the architecture takes.
INPUT_SHAPES = ((40, 1), (64, 64, 3), (224, 224, 3), (448, 448, 3))
CLASSES = 3


def rows() -> dict[str, list[dict[str, Any]]]:
    """For each architecture a row for each task and options."""
    return {name: list(_rows(architectures.load(name))) for name in architectures.names()}


def written(table: dict[str, list[dict[str, Any]]]) -> str:
    """The table as the file has it: a line for each row."""
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
    """The options of `build` that are true or false, and none where they may be left to the variant."""
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
    TABLE.write_text(written(rows()), encoding="utf-8")
    print(TABLE)
