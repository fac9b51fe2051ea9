"""Write to a temporary path, then rename: a reader sees the old file or the new one, never a part of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"  # begins the names of temporary paths


def partial_path(final: Path) -> Path:
    """Temporary path of a file or folder, in the same folder and with the same ending. Ignored by git and DVC."""
    return final.with_name(f"{PARTIAL}{final.name}")


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """Yields a temporary path for a file; the file replaces `final` when the block ends and is removed when the block fails."""
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(final)
    try:
        yield partial
        partial.replace(final)
    finally:
        partial.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Have the system write a file's content, or the names in a folder, to the disk; a rename alone does not survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file or a folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Put a file's content at a second path that does not exist yet: by a hard link if both are on one disk, otherwise by a copy.

    DVC may have put a symbolic link in place of the file (`cache.type symlink`): the link's target is what is linked.
    """
    try:
        target.hardlink_to(source.resolve())
    except OSError:
        shutil.copyfile(source, target)
