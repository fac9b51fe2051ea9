"""Parts of files that are read by their offset, and the one temporary file for what an archive decompresses to."""

import errno
import io
import os
import tempfile
import weakref
from typing import BinaryIO

BLOCK_BYTES = 2**20


class Descriptor:
    """An open file, closed when nothing refers to it any more."""

    def __init__(self, number: int):
        self.number = number
        weakref.finalize(self, os.close, number)


class Section:
    """Bytes of a file from `start`. Each read says its offset, so several processes may read one open file."""

    __slots__ = ("_file", "_start", "size")

    def __init__(self, file: Descriptor, start: int, size: int):
        self._file, self._start, self.size = file, start, size

    def part(self, offset: int, size: int) -> bytes:
        """At most `size` bytes from `offset`."""
        return os.pread(self._file.number, max(0, min(size, self.size - offset)), self._start + offset)

    def read(self) -> bytes:
        """All bytes.

        Raises:
            EOFError: There are fewer.
        """
        data = self.part(0, self.size)
        if len(data) != self.size:
            raise EOFError(f"{len(data):,} of its {self.size:,} bytes")
        return data

    def within(self, offset: int, size: int) -> "Section":
        """A section of this one."""
        return Section(self._file, self._start + offset, size)

    def stream(self) -> BinaryIO:
        """The bytes as a file with a position of its own."""
        return io.BufferedReader(_Stream(self))


class _Stream(io.RawIOBase):
    def __init__(self, section: Section):
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


class Scratch:
    """A temporary file without a name, made when something is first written; the system removes it with the process."""

    def __init__(self):
        self._file: Descriptor | None = None
        self._size = 0

    def begin(self) -> None:
        """Make the file, if there is none yet."""
        if self._file is None:
            with tempfile.TemporaryFile(dir=temporary_folder()) as file:
                self._file = Descriptor(os.dup(file.fileno()))

    def write(self, block: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(block)
        while rest:
            written = os.pwrite(self._file.number, rest, self._size)
            self._size += written
            rest = rest[written:]

    def tell(self) -> int:
        """How many bytes it has."""
        return self._size

    def since(self, start: int) -> Section:
        """What was written from `start` on."""
        return Section(self._file, start, self._size - start)


def temporary_folder() -> str | None:
    """TMPDIR, or a folder on a disk: /tmp is in memory on many systems."""
    return os.environ.get("TMPDIR") or ("/var/tmp" if os.path.isdir("/var/tmp") else tempfile.gettempdir())  # noqa: PTH112
