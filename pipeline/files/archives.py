"""Archives and folders read in place: members are bytes looked up by name. Nothing is unpacked, and no name in an archive becomes a path.

Any member of a .tar or a .zip can be read by itself. A compressed .tar must be decompressed up to that member. It is therefore
decompressed once, in one pass, into a temporary file without a name. The system removes that file when the process ends, even
by a kill, and no cache can become stale. Checkpoints inside the compressed stream would need no disk, but each read would then
decompress a megabyte or more. benchmarks/download.py measures the time for decompressing beside that for decoding the images.
"""

import bz2
import functools
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.files.folder_members import LIST_AGAIN, FolderMember, archive_in
from pipeline.files.local import ENDING, read_listing
from pipeline.files.sections import BLOCK_BYTES, Descriptor, Scratch, Section, temporary_folder
from pipeline.files.texts import normal_path
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError, lacks_room

_LINK = "a link or device. Put files in place of links; into archives by `tar --dereference --hard-dereference`, `zip` without `-y`"
_FIX = "If it is cut off, run `cnnkeras download` of its source again"

# An image is far smaller, and the largest annotation file, that of COCO's training images, has 449 MB; a member that claims
# more is broken or hostile.
MAX_MEMBER_BYTES = 512 * 2**20
MAX_MEMBERS = 2**24  # ImageNet's 21,841 classes have 14 million images
# A .tar that files were added to holds the former ones as well; the last one of a name counts.
MAX_REPEATS, REPEATS_PER_MEMBER = 1000, 4
# Images are compressed already, and text shrinks to a tenth; what grows by more, beyond a size that harms nobody, is a bomb.
# So is an archive of which everything together - it, the archives in it, those in them - grows by more.
MAX_RATIO, HARMLESS_BYTES = 200, 64 * 2**20
MAX_NESTING = 3

_SAYS_UTF8, _UNICODE_PATH = 0x800, 0x7075  # a flag and a field of an entry of a .zip
_NESTED = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_DECOMPRESSORS: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
# Formats that nothing here reads, by their first bytes.
_OTHERS = {
    b"Rar!": "a .rar",
    b"7z\xbc\xaf\x27\x1c": "a .7z",
    b"\x28\xb5\x2f\xfd": "one that is compressed by Zstandard (.zst)",
    b"\x04\x22\x4d\x18": "one that is compressed by LZ4",
    b"LZIP": "one that is compressed by lzip (.lz)",
    b"\x1f\x9d": "one that is compressed by compress (.Z)",
    b"\x1f\x8b": "one that is compressed twice",
}
# What the readers of the standard library raise where bytes are not as their format has them.
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError)
_DAMAGED += (ArithmeticError, LookupError, MemoryError, RuntimeError, ValueError)


class Archives(Mapping[str, bytes]):
    """The files inside several archives and folders, by name, as if these were one archive. Of two files with one name, the first counts.

    A folder on this disk is given by its listing (`files/local.py`), and its files are read where they lie. Archives are .tar, plain or compressed by gzip, bzip2 or xz, and .zip. Where a member is itself an archive, the files inside it
    are members in its place, with its name before theirs: `n01440764.tar/n01440764_10026.JPEG`. Links and devices are refused.
    Names are as `texts.normal_path` has them, whatever system packed the archive.
    Processes forked from this one may read as well.

    Attributes:
        refused: Names of links and devices; who lists files counts them among these, so that none is missed without a word.
        note_on_names: End of a sentence on a name that is not there.

    Raises:
        InputError: One is missing, damaged, of another kind, or a bomb.
    """

    def __init__(self, paths: Sequence[Path]):
        opened = [_open(path) for path in paths]
        self._members = ChainMap(*(each.members for each in opened))
        self.refused = frozenset().union(*(each.refused for each in opened)) - self._members.keys()
        self._described = ", ".join(each.name for each in opened)
        self.note_on_names = next((note for each in opened if (note := each.note_on_names())), "")

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
            received = _LINK if name in self.refused else "none of that name"
            raise InputError(f"{self._described}: expected a member {name}; received: {received}{self.note_on_names}")
        member = self._members[name]
        if member.size > MAX_MEMBER_BYTES:
            raise InputError(
                f"{self._described}: expected members of at most {MAX_MEMBER_BYTES:,} bytes; "
                f"received: {name} of {member.size:,}"
            )
        try:
            return member.read()
        except _DAMAGED as error:
            fix = LIST_AGAIN if isinstance(member, FolderMember) else _FIX
            raise InputError(f"{self._described}: expected to read {name}; received: {_said(error)}. {fix}") from error


@dataclass
class _Opened:
    """The content of an archive or a folder, and of the archives in it, as far as it was listed.

    Attributes:
        path: The archive or folder.
        size: Its bytes.
        members: By name.
        refused: Names of links and devices.
        published: Names as the archive has them, where that is otherwise than ours.
        unread: One of them that is in no encoding that the archive names, as it was read; empty where there is none.
        repeats: How many members had the name of an earlier one.
        expanded: Bytes that everything which was decompressed or is to be decompressed has.
        scratch: Where what had to be decompressed is.
        shown: What messages call it, if not by its file's name.
    """

    path: str
    size: int
    members: "dict[str, Section | _ZipMember | FolderMember]" = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    published: dict[str, str] = field(default_factory=dict)
    unread: str = ""
    repeats: int = 0
    expanded: int = 0
    scratch: Scratch = field(default_factory=Scratch)
    shown: str = ""

    @property
    def name(self) -> str:
        """What messages call it: an archive's name, a folder's path in params.yaml."""
        return self.shown or Path(self.path).name

    def add(self, name: str, published: str, member: "Section | _ZipMember | FolderMember | None") -> None:
        """Take in a member, or a link or device (None)."""
        if name in self.members or name in self.refused:
            if self.published.get(name, name) != published:
                raise InputError(
                    f"{self.path}: expected names that differ by more than slashes and accents; "
                    f"received: {self.published.get(name, name)!r} and {published!r}"
                )
            self.repeats += 1
        if name != published:
            self.published[name] = published
        if member is None:
            self.refused.add(name)
        else:
            self.members[name] = member
        count = len(self.members) + len(self.refused)
        if count > MAX_MEMBERS:
            raise InputError(f"{self.path}: expected at most {MAX_MEMBERS:,} members; received: more")
        if self.repeats > MAX_REPEATS + REPEATS_PER_MEMBER * count:
            raise InputError(f"{self.path}: expected members of different names; received: {name!r} again and again")

    def expand(self, size: int) -> None:
        """Count bytes that something in the archive decompresses to."""
        self.expanded += size
        _refuse_bomb(self.expanded, self.size, self.path)

    def note_on_names(self) -> str:
        """End of a sentence on a name that is not there, where the archive's names may be the reason."""
        if not self.unread:
            return ""
        return (
            f". The names in {Path(self.path).name} are not in UTF-8: {self.unread!r} is one as it was read. "
            "Pack it again by a program that writes UTF-8"
        )


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
    if path.name.endswith(ENDING):
        return _opened_folder(path)
    opened = _Opened(str(path), size)
    whole = Section(Descriptor(os.open(path, os.O_RDONLY | os.O_CLOEXEC)), 0, size)
    _index(opened, whole, str(path), "", depth=0)
    return opened


def _opened_folder(listing: Path) -> _Opened:
    """The files of a folder on this disk, or the members of an archive, by the listing that `download` made."""
    shown, found = read_listing(listing)
    place = paths.local(shown)
    opened = _Opened(shown, sum(content.size for content in found.files.values()), shown=shown)
    for name, content in found.files.items():
        published = _tar_name(opened, name)
        if not name or name.lower().endswith(_NESTED):
            normal = normal_path(published)
            _index(
                opened,
                archive_in(place, name, content.size, shown),
                f"{shown}{name and ': '}{name}",
                f"{normal}/" if name else "",
                depth=bool(name),
            )
        else:
            opened.add(normal_path(published), published, FolderMember(place, name, content))
    for name in found.links:
        published = _tar_name(opened, name)
        opened.add(normal_path(published), published, None)
    return opened


def _index(opened: _Opened, packed: "Section | _ZipMember", described: str, folder: str, *, depth: int) -> None:
    """Add an archive's members to `opened`, their names below `folder`."""
    if depth > MAX_NESTING:
        raise InputError(f"{described}: expected archives nested {MAX_NESTING} deep at most; received: more")
    kind = "a .tar (plain, .gz, .bz2 or .xz) or a .zip"
    try:
        section = _unpacked(opened, packed, described)
        if other := next((name for magic, name in _OTHERS.items() if section.part(0, len(magic)) == magic), ""):
            raise InputError(f"{described}: expected {kind}; received: {other}. Pack its files again as one of these")
        # A .tar may end with a .zip, so that it too would pass for one.
        if not _is_tar(section) and zipfile.is_zipfile(section.stream()):
            kind, members = "a .zip", _zip_members(opened, section, described)
        else:
            members = _tar_members(opened, section)
        for published, member in members:
            name = normal_path(published)
            if member is not None and name.lower().endswith(_NESTED):
                _index(opened, member, f"{described}: {name}", f"{folder}{name}/", depth=depth + 1)
            else:
                opened.add(folder + name, folder + published.removeprefix("./"), member)
    except InputError:
        raise
    except _DAMAGED as error:
        if lacks_room(error):
            raise InputError(
                f"{described}: expected room in {temporary_folder()} to decompress it; received: {error}. "
                "Set TMPDIR to a folder on a disk with more"
            ) from error
        raise InputError(f"{described}: expected {kind}; received: {_said(error)}. {_FIX}") from error


def _said(error: BaseException) -> str:
    return "too little memory for it" if isinstance(error, MemoryError) else str(error) or type(error).__name__


def _is_tar(section: Section) -> bool:
    return section.part(257, 5) == b"ustar"


def _unpacked(opened: _Opened, packed: "Section | _ZipMember", described: str) -> Section:
    """An archive without its compression: where it lies, or in the temporary file."""
    with packed.stream() as stream:
        start = stream.read(6)
    decompress = next((opener for magic, opener in _DECOMPRESSORS.items() if start.startswith(magic)), None)
    if decompress is None and isinstance(packed, Section):
        return packed
    opened.scratch.begin()
    first, size = opened.scratch.tell(), 0
    with packed.stream() as stream, decompress(stream) if decompress else stream as content:
        while block := content.read(BLOCK_BYTES):
            size += len(block)
            _refuse_bomb(size, packed.size, described)
            if decompress:  # a .zip's own members were counted when it was listed
                opened.expand(len(block))
            opened.scratch.write(block)
    return opened.scratch.since(first)


def _refuse_bomb(size: int, packed: int, described: str) -> None:
    if size > max(HARMLESS_BYTES, MAX_RATIO * packed):
        raise InputError(
            f"{described}: expected at most {MAX_RATIO} times the {packed:,} bytes that it has; "
            f"received: {size:,} or more. It does not look like a data set"
        )


def _tar_members(opened: _Opened, section: Section) -> Iterator[tuple[str, Section | None]]:
    with tarfile.open(fileobj=section.stream(), mode="r:", encoding="utf-8") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # of a million images they would be gigabytes
            name = _tar_name(opened, member.name)
            if member.isreg() and not member.issparse():
                if member.size < 0:
                    raise tarfile.HeaderError(f"a member of {member.size:,} bytes")
                yield name, section.within(member.offset_data, member.size)
            elif not member.isdir():
                yield name, None
        # Python takes any damage after the first member for the end.
        if section.part(archive.offset, tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.HeaderError(f"no member at byte {archive.offset:,}")


def _tar_name(opened: _Opened, name: str) -> str:
    """A member's name: UTF-8, or else a letter for each byte, so that different names stay different."""
    if name.isascii():
        return name
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        opened.unread = raw.decode("latin-1")
        return opened.unread


class _ZipMember:
    """A member of a zip file."""

    __slots__ = ("_archive", "_info", "size")

    def __init__(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo):
        self._archive, self._info, self.size = archive, info, info.file_size

    def read(self) -> bytes:
        """All bytes. Asked for all at once, Python's reader would decompress whatever is there and then cut it to its size."""
        step = (
            2**12 if self._info.compress_type == zipfile.ZIP_LZMA else BLOCK_BYTES
        )  # of LZMA it bounds what is read, not what it makes
        with self.stream() as stream:
            return b"".join(iter(lambda: stream.read(step), b""))

    def stream(self) -> BinaryIO:
        """The bytes as a file."""
        return self._archive.open(self._info)


def _zip_members(opened: _Opened, section: Section, described: str) -> Iterator[tuple[str, _ZipMember | None]]:
    archive = zipfile.ZipFile(section.stream())
    size = sum(info.file_size for info in archive.infolist())
    _refuse_bomb(size, section.size, described)
    opened.expand(size)
    for info in archive.infolist():
        name = _zip_name(opened, info)
        if name.endswith(("/", "\\")):
            continue
        _refuse_bomb(info.file_size, info.compress_size, f"{described}: {name}")
        if (
            info.compress_type == zipfile.ZIP_BZIP2
        ):  # 200 bytes may be a gigabyte, and Python's reader makes all of it at once
            raise InputError(
                f"{described}: expected members that are stored or compressed by deflate; received: {name}, by bzip2. Pack it again"
            )
        mode = info.external_attr >> 16  # as Unix stores it, 0 elsewhere
        yield name, _ZipMember(archive, info) if stat.S_IFMT(mode) in (0, stat.S_IFREG) else None


def _zip_name(opened: _Opened, info: zipfile.ZipInfo) -> str:
    """A member's name: UTF-8 where the entry says so or where it is that, as a Mac's; else DOS' code page 437, as the format has it."""
    if info.flag_bits & _SAYS_UTF8 or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437")
    if stated := _stated_name(info.extra, raw):
        return stated
    try:
        return raw.decode()
    except UnicodeDecodeError:
        opened.unread = info.filename
        return info.filename


def _stated_name(extra: bytes, raw: bytes) -> str | None:
    """The name in UTF-8 that a field of the entry states for the name in another encoding (APPNOTE.TXT, 4.6.9)."""
    while len(extra) >= 4:  # two numbers of two bytes
        kind, size = struct.unpack("<HH", extra[:4])
        value, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == _UNICODE_PATH and value[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
            return value[5:].decode()
    return None
