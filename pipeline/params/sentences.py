"""Pydantic's errors as one sentence: where in the file, what was expected, what was received."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from pipeline.params.parsed import ParsedFile
from pipeline.runtime.entries import Arguments, arguments_schema

# Kinds of pydantic's errors that this file's readers would put otherwise.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number less than {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_type": "text",
    "too_long": "a length of at most {max_length}",
    "too_short": "a length of at least {min_length}",
    "tuple_type": "a list",
}


def validate(file: ParsedFile, location: tuple[str, ...], model: type[BaseModel], entry: Any) -> Any:
    """An entry of the file as `model`, or an `InputError` with the line, the key and what was expected."""
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        errors = [{**found, "loc": location + found["loc"]} for found in error.errors()]
        raise file.error(*_explain(errors, file.plain)) from error


def checked_arguments(
    file: ParsedFile, location: tuple[str, ...], function: Callable, entry: Any, *, reserved: Iterable[str] = ()
) -> Arguments:
    """Keyword arguments from the file, checked against a function's signature; those not given take its defaults."""
    schema = arguments_schema(function, reserved=reserved)
    return Arguments(dict(validate(file, location, schema, entry)))


def _explain(errors: Sequence[Mapping[str, Any]], plain: Any) -> tuple[tuple[Any, ...], str]:
    """Location in the file, and a sentence for the first of pydantic's errors.

    What may be one of several things has an error for each: they are put together, unless one of them lies deeper, where
    the entry is nearly right.
    """
    first = max(errors, key=lambda error: _is_below(error, errors[0], plain))
    inside = _in_file(first["loc"], plain)
    if first["type"] == "unknown_key":
        return (*inside, first["ctx"]["key"]), first["ctx"]["message"]
    if first["type"] in ("missing", "union_tag_not_found"):
        key = first["loc"][-1] if first["type"] == "missing" else first["ctx"]["discriminator"].strip("'")
        return inside, f"expected the key {key!r}; received: none"
    if first["type"] == "union_tag_invalid":
        return inside, f"expected name: {first['ctx']['expected_tags']}; received: {first['ctx']['tag']!r}"
    if "received" in first["msg"]:
        return inside, first["msg"].removeprefix("Value error, ")
    alternatives = [_expected(error) for error in errors if _in_file(error["loc"], plain) == inside]
    received = list(first["input"]) if isinstance(first["input"], tuple) else first["input"]
    return inside, f"expected {' or '.join(dict.fromkeys(alternatives))}; received: {received!r}"


def _is_below(error: Mapping[str, Any], other: Mapping[str, Any], plain: Any) -> int:
    """By how many keys an error lies below another's place in the file."""
    inside, outside = _in_file(error["loc"], plain), _in_file(other["loc"], plain)
    return len(inside) - len(outside) if inside[: len(outside)] == outside else 0


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return f"a mapping with the key {error['loc'][-1]!r}"
    words = _EXPECTED.get(error["type"])
    return words.format(**error.get("ctx", {})) if words else error["msg"].removeprefix("Input should be ")


def _in_file(location: tuple[Any, ...], plain: Any) -> tuple[Any, ...]:
    kept = []
    for part in location:
        try:
            plain = plain[part]
        except (KeyError, IndexError, TypeError):
            continue
        kept.append(part)
    return tuple(kept)
