"""Files of results that may be damaged without a seal that tells."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.runtime import definition, paths
from pipeline.runtime.errors import InputError


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Have the block read a file of a result.

    Raises:
        InputError: The file is not as its stage writes it.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        maker = definition.maker(file) or "its stage"
        received = f"{type(error).__name__}, {error}".rstrip(", ")
        raise InputError(
            f"{file.relative_to(paths.root())}: expected a file as {maker} writes it; received: one that cannot be read ({received}). "
            "Run that again"
        ) from error
