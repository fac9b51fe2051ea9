"""The transforms that params.yaml may name and their arguments, from transforms.json and the project's plugins: without albumentations, which takes a second.

The table is written by `write_transform_table`. When a transform is made, albumentations has the last word.
"""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator, create_model

from pipeline.images import transforms
from pipeline.runtime.entries import Entry, arguments_schema
from pipeline.runtime.errors import InputError

# A box of which a transform leaves less than this fraction in the image is dropped, unless params.yaml says otherwise: what remains
# shows too little of it.
MIN_VISIBLE_FRACTION = 0.25

TABLE = Path(__file__).with_name("transforms.json")

_BOUNDS: dict[str, Callable[[float], Any]] = {
    "minimum": Ge,
    "exclusiveMinimum": Gt,
    "maximum": Le,
    "exclusiveMaximum": Lt,
}
_SCALARS = {"number": float, "integer": int, "boolean": bool, "string": str, "null": None}


@cache
def table() -> dict[str, dict[str, Any]]:
    """Of each transform `arguments`, their JSON schemas by their names, and `required`, the names of those without a default."""
    return json.loads(TABLE.read_text(encoding="utf-8"))


def names() -> list[str]:
    """Names of all transforms that params.yaml may name, the project's own among them."""
    return sorted({*table(), *transforms.names()})


@cache
def arguments(transform: str) -> type[Entry]:
    """What a transform may be told.

    Raises:
        KeyError: There is no such transform.
        InputError: A plugin has the name of one of albumentations' transforms or of ours.
    """
    if transform in transforms.names():
        if transform in table():
            raise InputError(
                f"plugins/transforms/{transform}: expected a name that no transform of albumentations or of ours has; received: {transform}"
            )
        return arguments_schema(transforms.load(transform).build)
    entry = table()[transform]
    fields = {
        name: (_type(schema), ... if name in entry["required"] else None) for name, schema in entry["arguments"].items()
    }
    return create_model(transform, __base__=Entry, **fields)


def _type(schema: dict[str, Any]) -> Any:
    """The part of JSON schema that occurs in the table, as a type for pydantic."""
    if "anyOf" in schema:
        return Union[tuple(map(_type, schema["anyOf"]))]  # noqa: UP007 - the alternatives are known only here
    if "enum" in schema:
        return Literal[tuple(schema["enum"])]
    kind = schema.get("type")
    if kind == "array":
        parts = tuple(map(_type, schema.get("prefixItems", ())))
        items = tuple[parts] if parts else tuple[_type(schema.get("items", {})), ...]
        return Annotated[items, AfterValidator(_rising)] if schema.get("rising") else items
    if kind == "object":
        values = schema.get("additionalProperties")
        return dict[str, _type(values) if isinstance(values, dict) else Any]
    if kind not in _SCALARS:
        return Any
    bounds = tuple(bound(schema[name]) for name, bound in _BOUNDS.items() if name in schema)
    return Annotated[(_SCALARS[kind], *bounds)] if bounds else _SCALARS[kind]


def _rising(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"expected two limits, the lower first; received: {list(limits)}")
    return limits
