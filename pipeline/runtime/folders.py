"""Folders and archives that lie on this disk, outside the project's own folders: their files, each with its size and SHA-256.

Nothing is copied. A file that was hashed before is not read again while its size, inode and times stay as they were (`digests.stamp`).
Links are followed nowhere: what they lead to may lie outside the folder. They are listed by name, as devices are, so that whoever needs
one is told. Hidden files and folders (`.git`) are no data.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.runtime import paths, progress
from pipeline.runtime.digests import Content, stamp
from pipeline.runtime.errors import InputError, first_reason
from pipeline.runtime.replacing import replacing

_BLOCK_BYTES = 2**20
_MIN_SHOWN_BYTES = 2**28  # less is hashed in about a second
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would wait for who writes to it


@dataclass(frozen=True)
class Listed:
    """What a folder holds, or that it is a file.

    Attributes:
        files: Contents by path below the folder, with forward slashes, sorted; of a file itself its own by "".
        links: Paths of links and devices.
    """

    files: Mapping[str, Content]
    links: tuple[str, ...] = ()

    @property
    def sha256(self) -> str:
        """A file's own checksum (hexadecimal); that of a folder covers the paths in it and their checksums."""
        if set(self.files) == {""}:
            return self.files[""].sha256
        names = [[name, content.sha256] for name, content in self.files.items()]
        return hashlib.sha256(json.dumps([names, self.links]).encode()).hexdigest()


def listed(place: Path, shown: str) -> Listed:
    """What a folder holds, or that it is a file.

    Args:
        place: The folder or file.
        shown: What messages call it.

    Raises:
        InputError: It is not there or cannot be read, or changes meanwhile.
    """
    try:
        files, links = _walk(place)
        before = {name: _stamp(place, name) for name in files}
        contents = _contents(place, shown, before)
        if _walk(place) != (files, links) or {name: _stamp(place, name) for name in files} != before:
            raise _changed(shown, "a change")
    except OSError as error:
        raise InputError(f"expected to read {shown}; received: {first_reason(error)}") from error
    return Listed(contents, tuple(links))


def digest(place: Path, shown: str) -> str | None:
    """SHA-256 (hexadecimal) of a folder's or a file's content; None if it is not there. Arguments and errors as of `listed`."""
    return listed(place, shown).sha256 if place.exists() else None


def open_file(place: Path, name: str) -> BinaryIO:
    """A file of a folder, opened to be read.

    Raises:
        OSError: It is not there, or is no file any more.
    """
    number = os.open(place / name, _OPEN if name else _OPEN & ~os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{name or place}: no file any more")
    return os.fdopen(number, "rb")


def _walk(place: Path) -> tuple[list[str], list[str]]:
    """Paths of the files, and of the links and devices, sorted."""
    if not place.is_dir():
        place.stat()
        if not place.is_file():
            raise OSError("neither a folder nor a file")
        return [""], []
    files, links = [], []
    for name, entry in _entries(place, ""):
        (files if entry.is_file(follow_symlinks=False) else links).append(name)
    return sorted(files), sorted(links)


def _entries(folder: Path | str, before: str) -> Iterator[tuple[str, os.DirEntry]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(entry.path, f"{before}{entry.name}/")
            else:
                yield before + entry.name, entry


def _stamp(place: Path, name: str) -> list[int]:
    return stamp(place / name)


def _contents(place: Path, shown: str, stamps: Mapping[str, list[int]]) -> dict[str, Content]:
    """Contents of the files with these stamps: those that are known, and the others hashed."""
    known = _read_known(place)
    fresh = {name: each for name, each in stamps.items() if known.get(name, [])[: len(each)] != each}
    total = sum(each[0] for each in fresh.values())
    if total < _MIN_SHOWN_BYTES:
        hashed = {name: _hashed(place, name, shown, each[0]) for name, each in fresh.items()}
    else:
        with progress.bar(f"reading {shown}", total, unit=progress.BYTES) as bar:
            hashed, done = {}, 0
            for number, (name, each) in enumerate(fresh.items(), start=1):
                hashed[name] = _hashed(place, name, shown, each[0])
                done += each[0]
                bar.update(done, f"{number:,}/{len(fresh):,} files")
    new = {name: [*each, hashed[name]] if name in hashed else known[name] for name, each in stamps.items()}
    if new != known:
        with suppress(OSError), replacing(_file(place)) as partial:  # where nothing may be written, all is read anew
            partial.write_text(json.dumps(new), encoding="utf-8")
    return {name: Content(entry[0], entry[-1]) for name, entry in new.items()}


def _hashed(place: Path, name: str, shown: str, size: int) -> str:
    found, length = hashlib.sha256(), 0
    with open_file(place, name) as stream:
        while block := stream.read(_BLOCK_BYTES):
            length += len(block)
            if length > size:
                break
            found.update(block)
    if length != size:
        raise _changed(shown, f"another length of {name or shown}")
    return found.hexdigest()


def _changed(shown: str, received: str) -> InputError:
    return InputError(
        f"{shown}: expected it to stay as it was while it was read; received: {received}. Wait for what writes there, and run it again"
    )


def _file(place: Path) -> Path:
    return paths.state() / "folders" / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:16]}.json"


def _read_known(place: Path) -> dict[str, list]:
    try:
        known = json.loads(_file(place).read_text(encoding="utf-8"))
        return known if isinstance(known, dict) else {}
    except (OSError, ValueError):
        return {}
