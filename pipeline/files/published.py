"""A file as its publisher describes it - name, addresses, checksums, length - and the check that bytes are that file."""

import hashlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Protocol

from annotated_types import Ge
from pydantic import BeforeValidator, Field, field_validator, model_validator

from pipeline.files.texts import composed
from pipeline.files.unusable import UnusableError
from pipeline.runtime.entries import Entry

_MAX_NAME_BYTES = 200  # a disk takes 255, and a part of a file has a longer name than the file


def _lower(checksum: Any) -> Any:
    """As this project writes checksums: Windows says them in capitals."""
    return checksum.strip().lower() if isinstance(checksum, str) else checksum


Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), BeforeValidator(_lower)]
Md5 = Annotated[str, Field(pattern="^[0-9a-f]{32}$"), BeforeValidator(_lower)]


class Named(Protocol):
    """A file with a name in its source's folder."""

    @property
    def name(self) -> str:
        """The name."""


class PublishedFile(Entry):
    """A file that a source is made of.

    Attributes:
        name: Its path below a mirror and below the source's folder, with forward slashes.
        urls: Addresses to try after the mirrors, in order: https, http, file, or any other that fsspec reads (s3, gs).
        sha256: Its checksum, or a list of those of accepted versions.
        md5: The same, for files whose publisher says no other. It finds damage, not malice.
        size: Its length in bytes, where known.
        login: Where to get it by hand, for files that are behind a login.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: Sha256 | tuple[Sha256, ...] = ()
    md5: Md5 | tuple[Md5, ...] = ()
    size: Annotated[int, Ge(0)] | None = None
    login: str | None = None

    @field_validator("name")
    @classmethod
    def _stays_below(cls, name: str) -> str:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"expected a relative path without '..'; received: {name!r}")
        if not name.isprintable() or max(len(part.encode()) for part in path.parts) > _MAX_NAME_BYTES:
            raise ValueError(
                f"expected names of at most {_MAX_NAME_BYTES} bytes without control characters; received: {name!r}"
            )
        return name

    @model_validator(mode="after")
    def _has_a_checksum(self) -> "PublishedFile":
        if not self.checksums:
            raise ValueError(f"expected sha256 (or md5) of {self.name}; received: neither")
        return self

    @property
    def checksums(self) -> dict[str, tuple[str, ...]]:
        """Accepted checksums, by algorithm."""
        stated = {"sha256": self.sha256, "md5": self.md5}
        return {name: (sums,) if isinstance(sums, str) else sums for name, sums in stated.items() if sums}

    def describe(self) -> str:
        """The file as it has to be."""
        sums = " and ".join(f"{name} {' or '.join(sums)}" for name, sums in self.checksums.items())
        return f"{self.name} with {sums}"


def distinct_files(files: Iterable[Named]) -> None:
    """Check that each file has a place of its own in its source's folder.

    Raises:
        ValueError: Two have one name, or one's name is the folder of another.
    """
    places: dict[PurePosixPath, str] = {}
    for file in files:
        place = PurePosixPath(composed(file.name))
        if place in places:
            raise ValueError(f"expected files of different names; received: {file.name} twice")
        places[place] = file.name
    for place, name in places.items():
        if folder := next((places[parent] for parent in place.parents if parent in places), None):
            raise ValueError(f"expected names of files; received: {folder}, which is a folder in {name}")


class WrongFileError(UnusableError):
    """The address gave another file, or not all of it."""


class Checked:
    """Length and checksums of a file's bytes as they come."""

    def __init__(self, file: PublishedFile):
        self.file, self.size = file, 0
        self.digests = {name: hashlib.new(name, usedforsecurity=False) for name in file.checksums}

    def update(self, block: bytes) -> None:
        """Take in the next bytes."""
        self.size += len(block)
        for digest in self.digests.values():
            digest.update(block)
        if self.file.size is not None and self.size > self.file.size:
            raise WrongFileError(f"more than the {self.file.size:,} bytes expected")

    def update_from(self, path: Path, size: int) -> None:
        """Take in the first bytes of a file."""
        with path.open("rb") as stream:
            while size and (block := stream.read(min(size, 2**20))):
                size -= len(block)
                self.update(block)

    def finish(self, announced: int | None = None) -> int:
        """The length, if everything is as published."""
        expected = self.file.size if self.file.size is not None else announced
        if expected is not None and self.size != expected:
            raise WrongFileError(f"{self.size:,} bytes instead of {expected:,}")
        for name, accepted in self.file.checksums.items():
            if (received := self.digests[name].hexdigest()) not in accepted:
                raise WrongFileError(f"{name} {received} ({self.size:,} bytes)")
        return self.size
