"""SHA-256 of files and folders. A file that was hashed before is not read again while its size, inode and times stay as they were.

The time of the last change of the inode is among them. A program can set a file's other times, but not this one, so a file replaced by
another of equal size and time is noticed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from pipeline.runtime import paths
from pipeline.runtime.replacing import replacing


class Content(NamedTuple):
    """What is known of a file's content: its size in bytes and its SHA-256 (hexadecimal)."""

    size: int
    sha256: str


Listing = dict[str, Content]  # contents by path relative to the project's folder, with forward slashes, sorted


class Digests:
    """Contents of files, remembered from run to run in `.cnnkeras/`."""

    def __init__(self) -> None:
        self._root = paths.root()
        self._known = _read()
        self._new: dict[str, list] = {}

    def listing(self, path: Path, *, as_if: Path | None = None) -> Listing:
        """Contents of a file, or of all files below a folder; empty if there is neither.

        Args:
            path: The file or folder.
            as_if: Where it is going to be; None: where it is.
        """
        start, place = len(str(path)), self._name(as_if or path)
        return {f"{place}{str(file)[start:]}": self._content(file) for file in files_of(path)}

    def remember(self, listing: Listing) -> None:
        """Note the contents of files that are in place by now."""
        for name, content in listing.items():
            self._new[name] = [*stamp(self._root / name), *content]

    def save(self) -> None:
        """Save what was hashed for later runs. What a run beside this one saves at the same time may be lost; it is hashed again then."""
        if self._new:
            known = {name: entry for name, entry in (_read() | self._new).items() if (self._root / name).exists()}
            self._new = {}
            with suppress(OSError), replacing(_file()) as partial:  # where nothing may be written, all is read anew
                partial.write_text(json.dumps(known), encoding="utf-8")

    def _content(self, file: Path) -> Content:
        name, before = self._name(file), stamp(file)
        known = self._new.get(name) or self._known.get(name) or []
        if known[: len(before)] == before:
            return Content(*known[len(before) :])
        content = Content(before[0], sha256(file))
        if stamp(file) == before:
            self._new[name] = [*before, *content]
        return content

    def _name(self, file: Path) -> str:
        return str(file).removeprefix(f"{self._root}{os.sep}").replace(os.sep, "/")


def digest(listing: Mapping[str, Content], path: str) -> str | None:
    """SHA-256 (hexadecimal) of the part of a listing that is at or below `path`; None if there is no such part.

    That of a file is the file's own; that of a folder covers the names in it, relative to the folder, and their digests.
    """
    if path in listing:
        return listing[path].sha256
    part = below(listing, path)
    names = {PurePosixPath(name).relative_to(path).as_posix(): content.sha256 for name, content in part.items()}
    return hashlib.sha256(json.dumps(sorted(names.items())).encode()).hexdigest() if names else None


def below(listing: Mapping[str, Content], path: str) -> Listing:
    """The part of a listing that is at or below `path`."""
    return {name: content for name, content in listing.items() if name == path or name.startswith(f"{path}/")}


def join(listings: Iterable[Listing]) -> Listing:
    """Several listings as one."""
    return dict(sorted(item for listing in listings for item in listing.items()))


def sha256(file: Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """The file itself, or all files below a folder, sorted; empty if there is neither. Hidden files below a folder are no results."""
    if not path.is_dir():
        return [path] if path.is_file() else []
    found: list[str] = []
    for folder, folders, names in os.walk(path):  # many times as fast as pathlib
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(folder, name) for name in names if not name.startswith(".")]  # noqa: PTH118
    return [file for file in map(Path, sorted(found)) if file.is_file()]


def stamp(file: Path) -> list[int]:
    """Size, times and inode of a file: equal as long as nobody wrote to it."""
    stat = file.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _file() -> Path:
    return paths.state() / "digests.json"


def _read() -> dict[str, list]:
    try:
        known = json.loads(_file().read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        return {}
