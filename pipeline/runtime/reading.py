"""Files of results that may be damaged without a seal that tells."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.runtime import definition, paths
from pipeline.runtime.errors import InputError


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Have the block read a file of a result, or use what it read of one.

    Raises:
        InputError: The file is not as its stage writes it.
    """
    try:
        yield
    except InputError:  # of another file, in one line already
        raise
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        maker = definition.maker(file)
        received = " ".join(f"{type(error).__name__}, {error}".rstrip(", ").split())
        repair = "Run that again" if maker else "Delete it"
        raise InputError(
            f"{in_project(file)}: expected a file as {maker or 'its stage'} writes it; received: one that cannot be read "
            f"({received}). {repair}"
        ) from error


def read_object(file: Path) -> dict[str, Any]:
    """The JSON object that a file of a result holds.

    Raises:
        InputError: As `reading`.
    """
    with reading(file):
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"a JSON {type(content).__name__} in place of an object")
        return content


def in_project(path: Path) -> Path:
    """The path as it is below the project's folder; unchanged outside of it."""
    try:
        root = paths.root()
    except InputError:  # there is no project here
        return path
    return path.relative_to(root) if path.is_relative_to(root) else path
