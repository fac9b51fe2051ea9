"""Archives read in place: members are bytes looked up by name. None is unpacked, and no member's name becomes a path."""

import functools
import os
import tarfile
import weakref
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.errors import InputError

_FIX = "If it is cut off, run `cnnkeras download` of its source again"

# A picture or annotation is far smaller; a member that claims more is broken or hostile.
LARGEST_MEMBER_BYTES = 256 * 2**20


class Archives(Mapping[str, bytes]):
    """The files inside some .tar and .zip archives, by name, as if they were one archive; the first with a name gives it.

    Only regular files count: links and devices are left out. Random access is one read: a compressed .tar is refused.
    """

    def __init__(self, paths: Sequence[Path]):
        self._members: dict[str, _Tar | _Zip] = {}
        for path in paths:
            archive = _open(path)
            for name in archive.members:
                self._members.setdefault(name, archive)
        self._described = ", ".join(path.name for path in paths)

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def __getitem__(self, name: str) -> bytes:
        """Bytes of a member.

        Raises:
            InputError: There is no such member, it is damaged, or larger than `LARGEST_MEMBER_BYTES`.
        """
        if name not in self._members:
            raise InputError(f"{self._described}: expected a member {name}; received: none of that name")
        return self._members[name].read(name)


def _open(path: Path) -> "_Tar | _Zip":
    if not path.is_file():
        raise InputError(
            f"expected an archive at {path}; received: no such file. Run `cnnkeras download {path.parent.name}`"
        )
    status = path.stat()
    return _opened(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _opened(path: Path, _size: int, _changed: int) -> "_Tar | _Zip":
    """The archive as it is now; a dataset's splits share the list of its members, which takes a second to read."""
    if zipfile.is_zipfile(path):
        return _Zip(path)
    try:
        return _Tar(path)
    except tarfile.TarError as error:
        raise InputError(f"{path}: expected an uncompressed .tar or a .zip; received: {error}. {_FIX}") from error


def _checked_size(path: Path, name: str, size: int) -> int:
    if size > LARGEST_MEMBER_BYTES:
        raise InputError(
            f"{path}: expected members of at most {LARGEST_MEMBER_BYTES:,} bytes; received: {name} of {size:,}"
        )
    return size


class _Tar:
    """Where each member's bytes lie. Reads name their place, so processes may share the file."""

    def __init__(self, path: Path):
        self._path = path
        with tarfile.open(path, "r:") as archive:
            self.members = {
                m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isreg() and not m.issparse()
            }
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)

    def read(self, name: str) -> bytes:
        offset, size = self.members[name]
        _checked_size(self._path, name, size)
        data = os.pread(self._file.fileno(), size, offset)
        if len(data) != size:
            raise InputError(f"{self._path}: expected {size:,} bytes of {name}; received: {len(data):,}. {_FIX}")
        return data


class _Zip:
    """A zip file's members. `ZipFile` reads at the file's one position, so each process opens its own."""

    def __init__(self, path: Path):
        self._path, self._process = path, os.getpid()
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise InputError(f"{path}: expected a .zip; received: {error}. {_FIX}") from error
        self.members = {info.filename: info for info in self._archive.infolist() if not info.is_dir()}

    def read(self, name: str) -> bytes:
        info = self.members[name]
        _checked_size(self._path, name, info.file_size)
        if self._process != os.getpid():
            self._archive, self._process = zipfile.ZipFile(self._path), os.getpid()
        try:
            return self._archive.read(info)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError) as error:
            raise InputError(f"{self._path}: expected to read {name}; received: {error}. {_FIX}") from error
