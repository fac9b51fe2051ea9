"""Opens the file at an address - http, https, a folder, or any other that fsspec reads - from its start or from an offset."""

import email.utils
import io
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import urljoin

import fsspec
import requests

from pipeline.files.unusable import StaleError, TransientError, UnusableError

CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0  # for an answer to begin, and for each further piece of it
BLOCK_BYTES = 2**20

# Errors that pass: time-outs, too many requests. (So do those from 500 on.)
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


@dataclass(frozen=True)
class Opened:
    """A file being read.

    Attributes:
        stream: Its bytes.
        offset: Where in the file they begin.
        total: Length of the whole file, where the address says it.
        validator: Names its version; None where a later read could not tell whether it is the same.
    """

    stream: BinaryIO
    offset: int
    total: int | None
    validator: str | None


def open_address(address: str, offset: int, validator: str | None) -> AbstractContextManager[Opened]:
    """Open a file.

    Args:
        address: A URL or a path.
        offset: Where to begin, if the file's version is still `validator`; it is read from the start otherwise.
        validator: Of an earlier `Opened`.

    Raises:
        UnusableError: It cannot be read.
    """
    opener = _open_http if address.startswith(("https://", "http://")) else _open_other
    return opener(address, offset, validator)


def read_block(stream: BinaryIO) -> bytes:
    """Some bytes, as soon as there are any; none at the end.

    Raises:
        TransientError: They did not come.
    """
    read = getattr(stream, "read1", stream.read)
    try:
        return read(BLOCK_BYTES)
    except Exception as error:  # the network libraries share no base class below this one
        raise TransientError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


class _Session(requests.Session):
    """Follows redirects, but from https to https alone."""

    def get_redirect_target(self, response: requests.Response) -> str | None:
        target = super().get_redirect_target(response)
        if target is not None:
            address = urljoin(response.url, target)
            if response.url.startswith("https://") and not address.startswith("https://"):
                response.close()
                raise UnusableError(f"expected a redirect to https; received: one to {address}")
        return target


@contextmanager
def _open_http(url: str, offset: int, validator: str | None) -> Iterator[Opened]:
    # As published: a server that compresses what it sends would otherwise hand over other bytes.
    headers = {"Accept-Encoding": "identity"}
    if offset and validator:
        headers |= {"Range": f"bytes={offset}-", "If-Range": validator}
    with _Session() as session:
        try:
            response = session.get(url, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS), headers=headers)
        except (requests.ConnectionError, requests.Timeout) as error:
            raise TransientError(_reason(error)) from error
        except requests.RequestException as error:
            raise UnusableError(_reason(error)) from error
        with response:
            yield _answer(response, offset)


def _answer(response: requests.Response, asked: int) -> Opened:
    """What a server's answer holds."""
    status = response.status_code
    offset, total = _content_range(response)
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        if total == asked:  # everything came, and the run ended before it was verified
            return Opened(io.BytesIO(), asked, total, _validator(response))
        raise StaleError(f"nothing after {asked:,} bytes")
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait = response.headers.get("Retry-After", "")
        raise TransientError(f"{status} {response.reason}", float(wait) if wait.isdigit() else 0.0)
    if status == HTTPStatus.PARTIAL_CONTENT:
        if offset != asked:
            raise StaleError(f"bytes from {offset} on instead of {asked:,}")
        return Opened(response.raw, offset, total, _validator(response))
    if status != HTTPStatus.OK:
        raise UnusableError(f"{status} {response.reason}")
    length = response.headers.get("Content-Length", "")
    return Opened(response.raw, 0, int(length) if length.isdigit() else None, _validator(response))


def _content_range(response: requests.Response) -> tuple[int | None, int | None]:
    """First byte and length of the whole, as the answer says them (RFC 9110, section 14.4)."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if not match:
        return None, None
    return tuple(int(number) if (number or "").isdigit() else None for number in match.groups())


def _validator(response: requests.Response) -> str | None:
    """What If-Range may name: a strong ETag, or else a date (RFC 9110, section 13.1.5)."""
    tag, date = response.headers.get("ETag", ""), response.headers.get("Last-Modified", "")
    if tag.startswith('"'):
        return tag
    return date if not tag and email.utils.parsedate_tz(date) else None


@contextmanager
def _open_other(address: str, offset: int, validator: str | None) -> Iterator[Opened]:
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
        stream = filesystem.open(path, "rb")
        size, version = filesystem.size(path), str(filesystem.ukey(path))
        if version != validator or (size is not None and offset > size):
            offset = 0
        stream.seek(offset)
    except FileNotFoundError as error:
        raise UnusableError("no such file") from error
    except (OSError, ValueError, ImportError) as error:
        raise UnusableError(_reason(error)) from error
    with stream:
        yield Opened(stream, offset, size, version)
