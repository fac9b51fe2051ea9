"""Writes transforms.json: the transforms of images that params.yaml may name, and the JSON schema of each of their arguments.

What reads params.yaml must not take the second that importing albumentations takes; it reads this table. The schemas come
from albumentations' own validation (`InitSchema`, a pydantic model of each class), with the bounds and orders that stand
there as functions put into words of JSON schema; what its other functions refuse shows when a transform is made.

Run `python -m pipeline.images.write_transform_table` after a change of albumentations or of paper_transforms.py.
"""

import inspect
import json
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

import annotated_types
from albumentations.core import pydantic as validators
from pydantic import AfterValidator, ConfigDict, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from pipeline.images.augmentation import transform, transform_names
from pipeline.images.transform_table import TABLE

# Of numbers or limits that may stand in any order, or equal one another.
_IN_ORDER = (validators.nondecreasing, validators.create_symmetric_range)
_JSON_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
_ARRAYS = ConfigDict(arbitrary_types_allowed=True)  # some take NumPy arrays
_COMPARISONS = (annotated_types.Ge, annotated_types.Gt, annotated_types.Le, annotated_types.Lt)


def transforms() -> dict[str, dict[str, Any]]:
    """Every transform's arguments: their schemas, in the order of the constructor, and which of them it cannot do without."""
    return {name: _arguments(transform(name)) for name in transform_names()}


def written(entries: dict[str, dict[str, Any]]) -> str:
    """The table as the file has it: a line for each argument."""
    return "{\n" + ",\n".join(f'"{name}": {_lines(entry)}' for name, entry in entries.items()) + "\n}\n"


def _lines(entry: dict[str, Any]) -> str:
    arguments = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps(schema)}" for name, schema in entry["arguments"].items()
    )
    return f'{{\n  "required": {json.dumps(entry["required"])},\n  "arguments": {{\n{arguments}\n  }}\n}}'


def _arguments(cls: type) -> dict[str, Any]:
    parameters = [parameter for name, parameter in inspect.signature(cls.__init__).parameters.items() if name != "self"]
    fields = cls.InitSchema.model_fields
    return {
        "required": [parameter.name for parameter in parameters if parameter.default is parameter.empty],
        "arguments": {
            parameter.name: _schema(
                fields[parameter.name].rebuild_annotation() if parameter.name in fields else parameter.annotation
            )
            for parameter in parameters
        },
    }


def _schema(annotation: Any) -> dict[str, Any]:
    """JSON schema of an argument; empty for what a file cannot hold, such as a function."""
    try:
        schema = TypeAdapter(annotation, config=_ARRAYS).json_schema()
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return {}
    metadata = list(_metadata(annotation))
    schema = _without_words(schema)
    for bound in metadata:
        _bound(schema, dict(_bounds(bound)))
    if any(bound.func in _IN_ORDER for bound in metadata if isinstance(bound, AfterValidator)):
        _in_order(schema)
    return schema


def _metadata(annotation: Any) -> Iterator[Any]:
    """What is said of an annotation's values, at any depth of its alternatives."""
    if typing.get_origin(annotation) is typing.Annotated:
        yield from annotation.__metadata__
        yield from _metadata(annotation.__origin__)
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for alternative in typing.get_args(annotation):
            yield from _metadata(alternative)


def _bounds(bound: Any) -> Iterator[tuple[str, float]]:
    """Bounds of each number, by their names in JSON schema."""
    if isinstance(bound, _COMPARISONS):
        name = type(bound).__name__.lower()
        yield _JSON_BOUNDS[name], getattr(bound, name)
    elif isinstance(bound, AfterValidator):
        if bound.func is validators.process_non_negative_range:
            yield "minimum", 0
        elif bound.func.__qualname__ == "check_range_bounds.<locals>.validator":
            told = dict(zip(bound.func.__code__.co_freevars, bound.func.__closure__, strict=True))
            least, most = told["min_val"].cell_contents, told["max_val"].cell_contents
            yield "minimum" if told["min_inclusive"].cell_contents else "exclusiveMinimum", least
            if most is not None:
                yield "maximum" if told["max_inclusive"].cell_contents else "exclusiveMaximum", most


def _without_words(schema: Any) -> Any:
    """A schema without titles, descriptions and defaults."""
    if isinstance(schema, dict):
        return {
            key: _without_words(value)
            for key, value in schema.items()
            if key not in ("title", "description", "default", "minItems", "maxItems") or "properties" in schema
        }
    if isinstance(schema, list):
        return [_without_words(part) for part in schema]
    # Python holds Ge(0) and Ge(0.0) for one annotation: which of them comes back depends on what was imported before.
    return int(schema) if isinstance(schema, float) and schema.is_integer() else schema


def _bound(schema: dict[str, Any], bounds: dict[str, float]) -> None:
    """Put bounds to every number in a schema."""
    if schema.get("type") in ("number", "integer"):
        schema.update({name: _without_words(value) for name, value in bounds.items() if name not in schema})
    for part in _parts(schema):
        _bound(part, bounds)


def _in_order(schema: dict[str, Any]) -> None:
    """Ask of every pair of numbers in a schema that it rises."""
    if len(schema.get("prefixItems", ())) == 2:
        schema["rising"] = True
    for part in _parts(schema):
        _in_order(part)


def _parts(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    return [
        *schema.get("anyOf", ()),
        *schema.get("prefixItems", ()),
        *(schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)),
    ]


if __name__ == "__main__":
    TABLE.write_text(written(transforms()), encoding="utf-8")
    print(f"{TABLE}: {len(transform_names())} transforms")
