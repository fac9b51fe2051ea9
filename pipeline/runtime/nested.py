"""Nested mappings as pairs of a dotted key and a value."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def leaves(
    values: Mapping[str, Any] | Sequence[Any], prefix: str = "", *, into_lists: bool = False
) -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping: `train.epochs`, 4. Lists and empty mappings are values.

    Args:
        values: The mapping.
        prefix: Put before every key.
        into_lists: Enter lists that hold mappings or lists as well; their items have the keys 0, 1, ...
    """
    for key, value in values.items() if isinstance(values, Mapping) else enumerate(values):
        if (isinstance(value, Mapping) and value) or (into_lists and _is_nested(value)):
            yield from leaves(value, f"{prefix}{key}.", into_lists=into_lists)
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


def _is_nested(value: Any) -> bool:
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value)
