"""Keys that an entry lacks because a function needs them: named together with those that every entry has."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cnnkeras import architectures, tasks
from pipeline.params.checks.networks import BUILD_RESERVED
from pipeline.runtime.entries import arguments_schema


def missing_arguments(plain: Mapping[str, Any], entry: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Locations of the keys that an entry of a file lacks below `model`, `train.loss` and `postprocess`, as far as can be told."""
    return [
        (*entry, *keys, name)
        for keys, function in _functions(plain, entry)
        if isinstance(given := _value(plain, (*entry, *keys)), Mapping)
        for name, field in arguments_schema(function, reserved=BUILD_RESERVED).model_fields.items()
        if field.is_required() and name not in given
    ]


def _functions(plain: Mapping[str, Any], entry: tuple[Any, ...]) -> Iterator[tuple[tuple[str, ...], Callable]]:
    """Where an entry gives keyword arguments, and to which functions."""
    architecture = _value(plain, (*entry, "architecture"))
    if architecture in architectures.names():
        yield ("model",), architectures.load(architecture).build
    task = _value(plain, ("datasets", _value(plain, (*entry, "dataset")), "task"))
    if task in tasks.names():
        yield ("train", "loss"), tasks.load(task).build_loss
        yield ("postprocess",), tasks.load(task).postprocess


def _value(plain: Any, location: tuple[Any, ...]) -> Any:
    """What stands there; None if nothing does."""
    for key in location:
        plain = plain.get(key) if isinstance(plain, Mapping) and isinstance(key, str) else None
    return plain
