"""Tables of the keys that params.yaml may have somewhere: each with its values, its default, and what a docstring says of it."""

import inspect
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from pipeline.params.values import MAX_COUNT
from pipeline.runtime.entries import Entry, arguments_schema

_ITEM = re.compile(r"^    (\w+): (.*)$")
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Departures from the paper):", re.MULTILINE)
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`"}


def of_entry(entry: type[Entry], *, without: Iterable[type[Entry]] = (), links: Mapping[str, str] | None = None) -> str:
    """Table of an entry's keys.

    Args:
        entry: The class; the descriptions are those of its docstring, and of those of the classes that it extends.
        without: Classes whose keys are left out, as another table has them.
        links: Headings of the page by the names of entries that have a table of their own.
    """
    skipped = {key for each in without for key in each.model_fields}
    said: dict[str, str] = {}
    for each in reversed(entry.__mro__):
        said |= described(each.__doc__, "Attributes")
    return _table(entry, said, skipped, links or {})


def of_function(function: Callable, *, reserved: Iterable[str] = ()) -> str:
    """Table of a function's keyword arguments, but for those that the caller supplies; a function in an argument has its own in the row."""
    return _table(arguments_schema(function, reserved=reserved), described(function.__doc__, "Args"), set(), {})


def described(docstring: str | None, section: str) -> dict[str, str]:
    """What a section of a docstring, `Args` or `Attributes`, says of each item."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(docstring or "").partition(f"{section}:\n")[2].splitlines():
        if match := _ITEM.match(line):
            name = match[1]
            found[name] = match[2]
        elif line.startswith("        ") and name:
            found[name] += f" {line.strip()}"
        elif line.strip():
            break
    return found


def text(documented: Any) -> str:
    """A docstring's paragraphs before its sections, each in one line; lines that are indented or a list stay as they are."""
    docstring = inspect.cleandoc(documented.__doc__ or "")
    if match := _SECTION.search(docstring):
        docstring = docstring[: match.start()]
    return "\n\n".join(map(_joined, filter(None, re.split(r"\n\s*\n", docstring.strip()))))


def anchor(heading: str) -> str:
    """The link that hosting pages and the site give to a heading."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _joined(paragraph: str) -> str:
    if re.search(r"^(\s{4}|- )", paragraph, re.MULTILINE):
        return paragraph
    return " ".join(map(str.strip, paragraph.splitlines()))


def _table(entry: type[Entry], said: Mapping[str, str], skipped: set[str], links: Mapping[str, str]) -> str:
    _, whole = models_json_schema([(entry, "validation")])
    definitions = whole["$defs"]
    properties = definitions[entry.__name__].get("properties", {})
    rows = ["| key | value | default | what |", "| --- | --- | --- | --- |"]
    for key, field in entry.model_fields.items():
        if key in skipped:
            continue
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        cells = (f"`{key}`", _values(properties[key], definitions, links), default, said.get(key, ""))
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows) if len(rows) > 2 else "No keys of its own."


def _default(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Entry):
        return "its defaults"
    return f"`{json.dumps(value, default=dict)}`"


def _values(schema: Mapping[str, Any], definitions: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """What a value may be, in words, of its JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[keys]({anchor(links[name])})" if name in links else _keys(definitions[name], definitions, links)
    if options := schema.get("oneOf") or schema.get("anyOf"):
        if all(named := [_function(option, definitions) for option in options]):
            return f"`name` and arguments: {', '.join(named)}"
        said = [_values(option, definitions, links) for option in options if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(said))
    if "enum" in schema or "const" in schema:
        chosen = schema.get("enum", [schema.get("const")])
        return ", ".join(f"`{each if isinstance(each, str) else json.dumps(each)}`" for each in chosen)
    if schema.get("type") == "array":
        return _list(schema, definitions, links)
    if schema.get("type") == "object":
        return "mapping"
    return f"{_TYPES[schema['type']]}{_range(schema)}" if "type" in schema else "anything"


def _function(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Link to the section of a function that a schema takes with its arguments; empty if it takes none."""
    properties = definitions.get(schema.get("$ref", "").rpartition("/")[2], {}).get("properties", {})
    name = properties.get("name", {}).get("const")
    return f"[`{name}`]({anchor(name)})" if name else ""


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], links: Mapping[str, str]) -> str:
    """An entry in an entry, or arguments in arguments: its keys, with their values if these are no lists or mappings."""
    values = {key: _values(value, definitions, links) for key, value in schema.get("properties", {}).items()}
    is_flat = not any(word in value for value in values.values() for word in ("mapping", "list", "`"))
    return f"mapping of {', '.join(f'`{key}` ({value})' if is_flat else f'`{key}`' for key, value in values.items())}"


def _list(schema: Mapping[str, Any], definitions: Mapping[str, Any], links: Mapping[str, str]) -> str:
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if "prefixItems" in schema:
        return f"list: {', '.join(_values(each, definitions, links) for each in schema['prefixItems'])}"
    if fewest and fewest == most:
        count = f" of {fewest}"
    elif most:
        count = f" of {fewest or 0} to {most}"
    else:
        count = f" of at least {fewest}" if fewest else ""
    return f"list{count}: {_values(schema.get('items', {}), definitions, links)}"


def _range(schema: Mapping[str, Any]) -> str:
    words = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "up to"}
    said = [f", {word} {schema[key]:,.10g}" for key, word in words.items() if schema.get(key, MAX_COUNT) != MAX_COUNT]
    return "".join(said)
