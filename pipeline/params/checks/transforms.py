"""Checks of augmentation policies against the table of albumentations' and the papers' transforms and their arguments."""

from collections.abc import Mapping
from typing import Any

from cnnkeras.by_name import unknown
from pipeline.images import transform_table
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import validate
from pipeline.params.values import Transforms


def check_transforms(file: ParsedFile, location: tuple[str, ...], transforms: Transforms) -> None:
    """Refuse an unknown transform, an unknown argument, and a value that the argument cannot have."""
    known = transform_table.table()
    for position, transform in enumerate(transforms):
        for name, arguments in transform.items():
            key = (*location, position, name)
            if name not in known:
                raise file.error(key, unknown(name, known, "transform"))
            validate(file, key, transform_table.arguments(name), with_tuples(arguments))


def with_tuples(value: Any) -> Any:
    """A value with all lists as tuples, also inside mappings; `Entry` converts only lists that are not inside mappings."""
    if isinstance(value, Mapping):
        return {key: with_tuples(part) for key, part in value.items()}
    return tuple(map(with_tuples, value)) if isinstance(value, list | tuple) else value
