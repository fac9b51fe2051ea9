"""The table of transforms, against albumentations itself: equal when written again, and no value refused that it takes."""

import inspect
import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from pipeline.images import transform_table
from pipeline.images.augmentation import transform, transform_names
from pipeline.images.write_transform_table import transforms, written
from pipeline.params.checks.transforms import with_tuples

VALUES = [0, 1, 2, 3, 10, -1, 0.5, 1.5, -0.5, 100.5, "text", True, None, [0, 1], [1, 2], [0.1, 0.5], [-0.5, 0.5], [3, 7], [2, 4], [5, 1], [1, 2, 3], ["a"], [], {}, {"x": 1}]  # fmt: skip


def constructed(name: str, arguments: dict[str, Any]) -> bool:
    """Whether albumentations makes the transform."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            transform(name)(**arguments)
    except Exception:  # whatever it is, the transform is not there
        return False
    return True


def accepted(name: str, arguments: dict[str, Any]) -> bool:
    """Whether the table does."""
    try:
        transform_table.arguments(name).model_validate(with_tuples(arguments))
    except ValidationError:
        return False
    return True


def test_the_table_is_what_would_be_written():
    """Otherwise run `python -m pipeline.images.write_transform_table`."""
    assert transform_table.TABLE.read_text(encoding="utf-8") == written(transforms())


@pytest.mark.parametrize("name", transform_names())
def test_the_table_refuses_nothing_that_albumentations_takes(name):
    """One argument at a time, each with values of every kind; the defaults; what it needs.

    On purpose stricter, as all of params.yaml is: true is no number, 1 is not true, and of two limits the lower is first.
    """
    needed = {"RandomSizedCrop": {"min_max_height": [4, 8], "size": [8, 8]}}.get(name, {})
    for argument in transform_table.table()[name]["required"]:
        needed.setdefault(argument, next((v for v in VALUES if accepted_alone(name, argument, v)), None))
    validated = transform(name).InitSchema.model_fields
    for argument, parameter in list(inspect.signature(transform(name).__init__).parameters.items())[1:]:
        if argument not in validated:
            continue  # albumentations looks at it when it is used
        for value in [*VALUES, *([] if parameter.default is parameter.empty else [parameter.default])]:
            arguments = {**needed, argument: value}
            stricter = value is True or value in ([5, 1], [1, 2, 3], ["a"]) or value in (0, 1) or value == [0, 1]
            if not accepted(name, arguments) and not stricter:
                assert not constructed(name, arguments), arguments


def accepted_alone(name: str, argument: str, value: Any) -> bool:
    """Whether the table has no objection to this argument's value."""
    try:
        transform_table.arguments(name).model_validate(with_tuples({argument: value}))
    except ValidationError as error:
        return all(found["type"] == "missing" for found in error.errors())
    return True
