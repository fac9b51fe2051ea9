"""Files fetched by name from wherever they can be had, and kept only when their checksum is right."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO

import fsspec
import requests
from annotated_types import Ge
from pydantic import Field, field_validator

from pipeline import progress
from pipeline.entries import Entry
from pipeline.errors import InputError

BLOCK_BYTES = 2**20
CONNECT_SECONDS, READ_SECONDS = 10, 60

Checksum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class PublishedFile(Entry):
    """A file that a source is made of.

    Attributes:
        name: Its path below a mirror and below the source's folder, with forward slashes.
        urls: Addresses to try after the mirrors, in order: https, http, file, or any other that fsspec reads (s3, gs).
        sha256: Its checksum, or a list of those of accepted versions.
        size: Its length in bytes, where known.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: Checksum | tuple[Checksum, ...]
    size: Annotated[int, Ge(0)] | None = None

    @field_validator("name")
    @classmethod
    def _stays_below(cls, name: str) -> str:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or ".." in path.parts or "\\" in name:
            raise ValueError(f"expected a relative path without '..'; received: {name!r}")
        return name

    @property
    def accepted(self) -> tuple[str, ...]:
        """Checksums of the accepted versions."""
        return (self.sha256,) if isinstance(self.sha256, str) else self.sha256


class _UnusableError(Exception):
    """Why an address did not give the file."""


def fetch_files(files: Sequence[PublishedFile], folder: Path, *, mirrors: Sequence[str]) -> None:
    """Put each file at `folder / name`, from the first place that has it.

    Places are the mirrors (folders or URLs), then the file's own addresses, in order. A local place needs no network. A
    file that is not as published is never left behind.

    Raises:
        InputError: No place had a file with an accepted checksum; the message says what each place gave.
    """
    for file in files:
        with progress.bar(file.name, file.size, unit=progress.BYTES) as bar:
            _fetch_file(file, folder / file.name, mirrors, bar)


def _fetch_file(file: PublishedFile, target: Path, mirrors: Sequence[str], bar: progress.Bar) -> None:
    """Put one file at `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    failures = []
    for place in [*(f"{mirror.rstrip('/')}/{file.name}" for mirror in mirrors), *file.urls]:
        try:
            size = _copy(place, file, partial, bar)
        except _UnusableError as error:
            failures.append(f"{place}: {error}")
        else:
            partial.replace(target)
            bar.update(size, f"from {place}", total=size)
            return
        finally:
            partial.unlink(missing_ok=True)
    raise InputError(
        f"expected {file.name} with sha256 {' or '.join(file.accepted)}; "
        f"received: {'; '.join(failures) or 'no address'}. "
        "Check the addresses and the checksum in params.yaml, or set CNNKERAS_MIRROR to a folder or URL that has it"
    )


def _copy(place: str, file: PublishedFile, partial: Path, bar: progress.Bar) -> int:
    """Copy the file at `place` to `partial`, or say why not; returns its length in bytes."""
    digest, received = hashlib.sha256(), 0
    with _opened(place) as (stream, announced), partial.open("wb") as copy:
        while block := _read(stream):
            bar.update(received, total=file.size or announced)
            copy.write(block)
            digest.update(block)
            received += len(block)
            if file.size is not None and received > file.size:
                raise _UnusableError(f"more than the {file.size:,} bytes expected")
    if (announced is not None and received != announced) or (file.size is not None and received != file.size):
        raise _UnusableError(f"{received:,} bytes instead of {file.size if file.size is not None else announced:,}")
    if digest.hexdigest() not in file.accepted:
        raise _UnusableError(f"sha256 {digest.hexdigest()} ({received:,} bytes)")
    return received


def _read(stream: BinaryIO) -> bytes:
    try:
        return stream.read(BLOCK_BYTES)
    except Exception as error:  # the network libraries share no base class below this one
        raise _UnusableError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


def _opened(place: str) -> AbstractContextManager[tuple[BinaryIO, int | None]]:
    """A stream of the file's bytes, and its length where the place says it."""
    return _open_http(place) if place.startswith(("https://", "http://")) else _open_other(place)


@contextmanager
def _open_http(url: str) -> Iterator[tuple[BinaryIO, int | None]]:
    # As published: a server that compresses what it sends would otherwise hand over other bytes.
    try:
        response = requests.get(
            url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers={"Accept-Encoding": "identity"}
        )
        response.raise_for_status()
    except requests.RequestException as error:
        raise _UnusableError(_reason(error)) from error
    with response:
        length = response.headers.get("Content-Length", "")
        yield response.raw, int(length) if length.isdigit() else None


@contextmanager
def _open_other(place: str) -> Iterator[tuple[BinaryIO, int | None]]:
    try:
        filesystem, path = fsspec.core.url_to_fs(place)
        stream = filesystem.open(path, "rb")
        size = filesystem.size(path)
    except FileNotFoundError as error:
        raise _UnusableError("no such file") from error
    except (OSError, ValueError, ImportError) as error:
        raise _UnusableError(_reason(error)) from error
    with stream:
        yield stream, size
