"""Pydantic's errors as one sentence with the location in the file, the expected and the received value."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from cnnkeras.by_name import nearest, unknown
from pipeline.params.parsed import ParsedFile
from pipeline.runtime.entries import Arguments, arguments_schema

Location = tuple[Any, ...]  # keys and positions that lead to a value

_MAX_SHOWN = 120  # characters of a received value
_ENTRY = 2  # number of keys that lead to an entry: its section and its name
_MISSING = ("missing", "union_tag_not_found")  # types of pydantic's errors
# Our words for the expected value, by the type of pydantic's error.
_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "int_type": "a whole number",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "text that is not empty",
    "string_type": "text",
    "too_long": "a length of at most {max_length}",
    "too_short": "a length of at least {min_length}",
    "tuple_type": "a list",
}


def validate(
    file: ParsedFile,
    location: Location,
    model: type[BaseModel],
    entry: Any,
    *,
    also_missing: Callable[[Mapping[str, Any], Location], Sequence[Location]] | None = None,
) -> Any:
    """An entry of the file as an object of the class `model`.

    Args:
        file: The file.
        location: Keys that lead to the entry.
        model: Class that the entry is validated by.
        entry: Content of the entry.
        also_missing: Called with the file's content and the location of an entry that lacks keys; returns the locations of further
            missing keys, which `model` does not know.

    Raises:
        InputError: The entry is not valid; the message has the line, the key, the expected and the received value.
    """
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        errors = [{**details, "loc": location + details["loc"]} for details in error.errors()]
        wrong, sentence = _explain(errors, file.plain, also_missing or (lambda _plain, _entry: ()))
        raise file.error(wrong, sentence) from error


def checked_arguments(
    file: ParsedFile, location: Location, function: Callable, entry: Any, *, reserved: Iterable[str] = ()
) -> Arguments:
    """Keyword arguments from the file, checked against a function's signature and completed by its defaults.

    Raises:
        InputError: As `validate`.
    """
    schema = arguments_schema(function, reserved=reserved)
    return Arguments(dict(validate(file, location, schema, entry)))


def _explain(errors: Sequence[Mapping[str, Any]], plain: Any, also_missing: Callable) -> tuple[Location, str]:
    """Location in the file and sentence for the first of pydantic's errors.

    For a value of a union pydantic has an error for each alternative. They are joined into one sentence, unless one of them is deeper
    in the file: then the value nearly fits that alternative. All missing keys of an entry are named in one sentence.
    """
    first = max(errors, key=lambda error: _is_below(error, errors[0], plain))
    inside = _in_file(first["loc"], plain)
    if first["type"] == "unknown_key":
        return (*inside, first["ctx"]["key"]), first["ctx"]["message"]
    if first["type"] in _MISSING:
        return _explain_missing(errors, inside, plain, also_missing)
    if first["type"] == "union_tag_invalid":
        names = [name.strip().strip("'") for name in first["ctx"]["expected_tags"].split(",")]
        return (*inside, "name"), unknown(first["ctx"]["tag"], names, "name")
    if "received" in first["msg"]:
        return _explain_own(first["msg"].removeprefix("Value error, "), inside, plain)
    alternatives = [_expected(error) for error in errors if _in_file(error["loc"], plain) == inside]
    fix = (
        nearest(first["input"], first["ctx"]["expected"].split("'"))
        if first["type"] == "literal_error" and isinstance(first["input"], str)
        else ""
    )
    if alternatives == [_EXPECTED["string_type"]] and isinstance(first["input"], int | float):
        fix = ". Put it in quotes"
    return inside, f"expected {_listed(dict.fromkeys(alternatives), 'or')}; received: {shown(first['input'])}{fix}"


def _explain_own(sentence: str, inside: Location, plain: Any) -> tuple[Location, str]:
    """Location and text of a sentence from one of our validators; the sentence may begin with a key of the entry."""
    key, colon, text = sentence.partition(": ")
    for part in inside:
        plain = plain[part]
    if colon and isinstance(plain, Mapping) and key in plain:
        return (*inside, key), text
    return inside, sentence


def shown(value: Any) -> str:
    """A received value as text, at most `_MAX_SHOWN` characters and three dots."""
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _explain_missing(
    errors: Sequence[Mapping[str, Any]], inside: Location, plain: Any, also_missing: Callable
) -> tuple[Location, str]:
    """Location and sentence for all missing keys of the entry that holds `inside`: of `datasets.NAME`, or of the whole file."""
    lacking = {}
    for error in errors:
        if error["type"] in _MISSING:
            key = error["loc"][-1] if error["type"] == "missing" else error["ctx"]["discriminator"].strip("'")
            above = _in_file(error["loc"][:-1] if error["type"] == "missing" else error["loc"], plain)
            if above[:_ENTRY] == inside[:_ENTRY]:
                lacking[(*above, key)] = None
    if len(inside) >= _ENTRY:
        lacking |= dict.fromkeys(also_missing(plain, inside[:_ENTRY]))
    shared = inside if all(location[: len(inside)] == inside for location in lacking) else inside[:_ENTRY]
    keys = [repr(".".join(map(str, location[len(shared) :]))) for location in lacking]
    return shared, f"expected the key{'s' * (len(keys) > 1)} {_listed(keys, 'and')}; received: none"


def _listed(parts: Iterable[str], last: str) -> str:
    *parts, end = parts
    return f"{', '.join(parts)} {last} {end}" if parts else end


def _is_below(error: Mapping[str, Any], other: Mapping[str, Any], plain: Any) -> int:
    """Number of keys by which an error's location is below the location of another; 0 if it is not below."""
    inside, outside = _in_file(error["loc"], plain), _in_file(other["loc"], plain)
    return len(inside) - len(outside) if inside[: len(outside)] == outside else 0


def _expected(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing":
        return f"a mapping with the key {error['loc'][-1]!r}"
    words = _EXPECTED.get(error["type"])
    bounds = {name: _as_number(bound) for name, bound in error.get("ctx", {}).items()}
    return words.format(**bounds) if words else error["msg"].removeprefix("Input should be ")


def _as_number(bound: Any) -> Any:
    """A bound in plain digits: 1,000,000, not 1e+06."""
    return f"{bound:,}".removesuffix(".0") if isinstance(bound, int | float) else bound


def _in_file(location: Location, plain: Any) -> Location:
    """A location of pydantic's without the parts that are no keys of the file, such as the names of a union's alternatives."""
    keys = []
    for part in location:
        try:
            plain = plain[part]
        except (KeyError, IndexError, TypeError):
            continue
        keys.append(part)
    return tuple(keys)
