"""Missing keys that are required arguments of a function, so that one error names them together with an entry's other missing keys."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cnnkeras import architectures, losses, tasks
from pipeline.params.checks.architectures import BUILD_RESERVED
from pipeline.runtime.entries import arguments_schema


def missing_arguments(plain: Mapping[str, Any], entry: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Locations of an entry's missing keys below `model`, `train.loss` and `postprocess`.

    Args:
        plain: Content of the file, not validated.
        entry: Location of the entry. If its architecture or task is unknown, the arguments of its functions are not checked.
    """
    return [
        (*entry, *keys, name)
        for keys, function in _functions(plain, entry)
        if isinstance(arguments := _value(plain, (*entry, *keys)), Mapping)
        for name, field in arguments_schema(function, reserved=BUILD_RESERVED).model_fields.items()
        if field.is_required() and name not in arguments
    ]


def _functions(plain: Mapping[str, Any], entry: tuple[Any, ...]) -> Iterator[tuple[tuple[str, ...], Callable]]:
    """Keys of an entry that hold keyword arguments, each with the function that takes them."""
    architecture = _value(plain, (*entry, "architecture"))
    if architecture in architectures.names():
        yield ("model",), architectures.load(architecture).build
    task = _value(plain, ("datasets", _value(plain, (*entry, "dataset")), "task"))
    if task in tasks.names():
        named = _value(plain, (*entry, "train", "loss", losses.NAME)) or task
        if named in losses.names():
            yield ("train", "loss"), losses.load(named).build
        yield ("postprocess",), tasks.load(task).postprocess


def _value(plain: Any, location: tuple[Any, ...]) -> Any:
    """The value at a location; None if there is none."""
    for key in location:
        plain = plain.get(key) if isinstance(plain, Mapping) and isinstance(key, str) else None
    return plain
