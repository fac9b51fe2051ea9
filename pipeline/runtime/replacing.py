"""Write beside, then rename: a reader sees the old file or the new one, never a part."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_path(final: Path) -> Path:
    """Where something is written before it takes its final path: beside it, with the same ending, ignored by git and DVC."""
    return final.with_name(f".partial-{final.name}")


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yields the path to write a file to; it replaces `final` when the block ends, and is removed when the block fails."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(final)
    try:
        yield partial
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
