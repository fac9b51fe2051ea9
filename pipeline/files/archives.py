"""Archives read in place: members are bytes looked up by name. Nothing is unpacked, and no member's name becomes a path.

Any member of a .tar or a .zip can be read by itself. A compressed .tar must be decompressed up to that member. It is therefore
decompressed once, in one pass, into a temporary file without a name. The system removes that file when the process ends, even
by a kill, and no cache can become stale. Checkpoints inside the compressed stream would need no disk, but each read would then
decompress a megabyte or more. benchmarks/download.py measures the time for decompressing beside that for decoding the images.
"""

import bz2
import errno
import functools
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.runtime.errors import InputError, lacks_room

_FIX = "If it is cut off, run `cnnkeras download` of its source again"

# An image is far smaller, and the largest annotation file, that of COCO's training images, has 449 MB; a member that claims
# more is broken or hostile.
MAX_MEMBER_BYTES = 512 * 2**20
MAX_MEMBERS = 2**24  # ImageNet's 21,841 classes have 14 million images
# Images are compressed already, and text shrinks to a tenth; what grows by more, beyond a size that harms nobody, is a bomb.
MAX_RATIO, HARMLESS_BYTES = 200, 64 * 2**20
MAX_NESTING = 3

_NESTED = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError)
_DAMAGED += (zlib.error, lzma.LZMAError)  # `OSError` is gzip's and bz2's own
_BLOCK_BYTES = 2**20


class Archives(Mapping[str, bytes]):
    """The files inside several archives, by name, as if these were one archive. Of two files with one name, the first counts.

    Archives are .tar, plain or compressed by gzip, bzip2 or xz, and .zip. Where a member is itself an archive, the files inside it
    are members in its place, with its name before theirs: `n01440764.tar/n01440764_10026.JPEG`. Links and devices are refused.
    Processes forked from this one may read as well.

    Raises:
        InputError: One is missing, damaged, of another kind, or a bomb.
    """

    def __init__(self, paths: Sequence[Path]):
        opened = [_open(path) for path in paths]
        self._members = ChainMap(*(each.members for each in opened))
        self._refused = frozenset().union(*(each.refused for each in opened))
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
            InputError: There is no such member, it is damaged, or larger than `MAX_MEMBER_BYTES`.
        """
        if name not in self._members:
            received = "a link or device" if name in self._refused else "none of that name"
            raise InputError(f"{self._described}: expected a member {name}; received: {received}")
        member = self._members[name]
        if member.size > MAX_MEMBER_BYTES:
            raise InputError(
                f"{self._described}: expected members of at most {MAX_MEMBER_BYTES:,} bytes; "
                f"received: {name} of {member.size:,}"
            )
        try:
            return member.read()
        except _DAMAGED as error:
            raise InputError(f"{self._described}: expected to read {name}; received: {error}. {_FIX}") from error


@dataclass
class _Opened:
    """The content of an archive and of the archives in it: members by name, and the names of links and devices."""

    members: "dict[str, _Section | _ZipMember]" = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)


def _open(path: Path) -> _Opened:
    if not path.is_file():
        raise InputError(
            f"expected an archive at {path}; received: no such file. Run `cnnkeras download {path.parent.name}`"
        )
    status = path.stat()
    return _opened(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _opened(path: Path, size: int, _changed: int) -> _Opened:
    """The archive, opened once for all splits of a dataset: listing its members takes a while. A changed file is opened anew."""
    opened = _Opened()
    _index(opened, _Section(_Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), 0, size), str(path), "", depth=0)
    return opened


def _index(opened: _Opened, section: "_Section", described: str, folder: str, *, depth: int) -> None:
    """Add an archive's members to `opened`, their names below `folder`."""
    if depth > MAX_NESTING:
        raise InputError(f"{described}: expected archives nested {MAX_NESTING} deep at most; received: more")
    kind = "a .tar (plain, .gz, .bz2 or .xz) or a .zip"
    try:
        if decompress := _decompressor(section):
            section = _decompressed(section, decompress, described)
        # A .tar may end with a .zip, so that it too would pass for one.
        if not _is_tar(section) and zipfile.is_zipfile(section.stream()):
            kind, members = "a .zip", _zip_members(section, described)
        else:
            members = _tar_members(section)
        for name, member in members:
            name = folder + name.removeprefix("./")
            if member is None:
                opened.refused.add(name)
            elif name.lower().endswith(_NESTED):
                _index(opened, member.section(), f"{described}: {name}", f"{name}/", depth=depth + 1)
            else:
                opened.members[name] = member
            if len(opened.members) + len(opened.refused) > MAX_MEMBERS:
                raise InputError(f"{described}: expected at most {MAX_MEMBERS:,} members; received: more")
    except _DAMAGED as error:
        if lacks_room(error):
            raise InputError(
                f"{described}: expected room in {_temporary_folder()} to decompress it; received: {error}. "
                "Set TMPDIR to a folder on a disk with more"
            ) from error
        raise InputError(f"{described}: expected {kind}; received: {error}. {_FIX}") from error


def _is_tar(section: "_Section") -> bool:
    return section.part(257, 5) == b"ustar"


def _decompressor(section: "_Section") -> Callable[[BinaryIO], BinaryIO] | None:
    start = section.part(0, 6)
    return next((opener for magic, opener in _DECOMPRESSORS.items() if start.startswith(magic)), None)


def _decompressed(section: "_Section", decompress: Callable[[BinaryIO], BinaryIO], described: str) -> "_Section":
    """The content of a compressed archive, in a temporary file without a name."""
    size = 0
    with tempfile.TemporaryFile(dir=_temporary_folder()) as copy, decompress(section.stream()) as stream:
        while block := stream.read(_BLOCK_BYTES):
            size += len(block)
            _refuse_bomb(size, section.size, described)
            copy.write(block)
        copy.flush()
        return _Section(_Descriptor(os.dup(copy.fileno())), 0, size)


def _temporary_folder() -> str | None:
    """TMPDIR, or a folder on a disk: /tmp is in memory on many systems."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir())  # noqa: PTH112


def _refuse_bomb(size: int, packed: int, described: str) -> None:
    if size > max(HARMLESS_BYTES, MAX_RATIO * packed):
        raise InputError(
            f"{described}: expected at most {MAX_RATIO} times the {packed:,} bytes that it has; "
            f"received: {size:,} or more. It does not look like a data set"
        )


class _Descriptor:
    """An open file, closed when nothing refers to it any more."""

    def __init__(self, number: int):
        self.number = number
        weakref.finalize(self, os.close, number)


class _Section:
    """Bytes of a file from `start`. Each read says its offset, so several processes may read one open file."""

    __slots__ = ("_file", "_start", "size")

    def __init__(self, file: _Descriptor, start: int, size: int):
        self._file, self._start, self.size = file, start, size

    def part(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`."""
        return os.pread(self._file.number, max(0, min(size, self.size - offset)), self._start + offset)

    def read(self) -> bytes:
        data = self.part(0, self.size)
        if len(data) != self.size:
            raise EOFError(f"{len(data):,} of its {self.size:,} bytes")
        return data

    def section(self) -> "_Section":
        return self

    def within(self, offset: int, size: int) -> "_Section":
        """A section of this one."""
        return _Section(self._file, self._start + offset, size)

    def stream(self) -> BinaryIO:
        """The bytes as a file with a position of its own."""
        return io.BufferedReader(_Stream(self))


class _Stream(io.RawIOBase):
    def __init__(self, section: _Section):
        self._section, self._position = section, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._section.size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "negative position")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        data = self._section.part(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


def _tar_members(section: _Section) -> Iterator[tuple[str, _Section | None]]:
    with tarfile.open(fileobj=section.stream(), mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # of a million images they would be gigabytes
            if member.isreg() and not member.issparse():
                yield member.name, section.within(member.offset_data, member.size)
            elif not member.isdir():
                yield member.name, None


class _ZipMember:
    """A member of a zip file."""

    __slots__ = ("_archive", "_info", "size")

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo):
        self._archive, self._info, self.size = archive, info, info.file_size

    def read(self) -> bytes:
        return self._archive.read(self._info)

    def section(self) -> _Section:
        """The member, decompressed, to be read as an archive."""
        with tempfile.TemporaryFile(dir=_temporary_folder()) as copy, self._archive.open(self._info) as stream:
            shutil.copyfileobj(stream, copy, _BLOCK_BYTES)
            copy.flush()
            return _Section(_Descriptor(os.dup(copy.fileno())), 0, self.size)


def _zip_members(section: _Section, described: str) -> Iterator[tuple[str, _ZipMember | None]]:
    archive = zipfile.ZipFile(section.stream())
    _refuse_bomb(sum(info.file_size for info in archive.infolist()), section.size, described)
    for info in archive.infolist():
        if info.is_dir():
            continue
        _refuse_bomb(info.file_size, info.compress_size, f"{described}: {info.filename}")
        mode = info.external_attr >> 16  # as Unix stores it, 0 elsewhere
        yield info.filename, _ZipMember(archive, info) if stat.S_IFMT(mode) in (0, stat.S_IFREG) else None
