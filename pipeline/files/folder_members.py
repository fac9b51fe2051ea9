"""Files of a folder on this disk, read where they lie and refused if they are not as `download` listed them."""

import hashlib
import os
from pathlib import Path

from pipeline.files.sections import Descriptor, Section
from pipeline.runtime import folders
from pipeline.runtime.digests import Content
from pipeline.runtime.errors import InputError, first_reason

LIST_AGAIN = "Run `cnnkeras download` of its source again"


def archive_in(place: Path, name: str, size: int, shown: str) -> Section:
    """An archive in a folder, as it was listed.

    Raises:
        InputError: It is not there any more, or has another length.
    """
    try:
        with folders.open_file(place, name) as stream:
            if os.fstat(stream.fileno()).st_size == size:
                return Section(Descriptor(os.dup(stream.fileno())), 0, size)
    except OSError as error:
        raise InputError(
            f"expected to read {shown}{name and '/'}{name}; received: {first_reason(error)}. {LIST_AGAIN}"
        ) from error
    raise InputError(f"expected {shown}{name and '/'}{name} of {size:,} bytes; received: another length. {LIST_AGAIN}")


class FolderMember:
    """A file of a folder on this disk, which has to be as it was listed."""

    __slots__ = ("_content", "_name", "_place")

    def __init__(self, place: Path, name: str, content: Content):
        self._place, self._name, self._content = place, name, content

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return self._content.size

    def read(self) -> bytes:
        """All bytes.

        Raises:
            OSError: It is another file than the one that was listed, or none.
        """
        with folders.open_file(self._place, self._name) as stream:
            data = stream.read(self.size + 1)
        if hashlib.sha256(data).hexdigest() != self._content.sha256:
            raise OSError("a file that changed since `cnnkeras download` listed it")
        return data
