"""Text that may be shown and kept: without secrets of addresses, and without characters that a terminal would obey.

An address (URL) may hold a password before its host and a token in its query: of every address in a text, `without_secrets` hides both. It is
called where a text is made that stays: an error, a tag or param in MLflow, a report, a file of the stage `check`.

Names of files, of archives' members and of classes come from others. Control characters in them could rewrite the screen or turn
the direction of the text. `streams` therefore stands between this program and the terminal: everything that a command, Python or a library prints
passes `printable`. Only `console.Console`, whose colours are control characters themselves, goes past it, and calls `printable` itself.
"""

import contextlib
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any, TextIO

HIDDEN = "***"

# An address ends at a blank, a quote or an angle bracket.
_ADDRESS = re.compile(r"""(?<![\w+.-])([a-zA-Z][\w+.-]*:)?//([^\s"'<>`]+)""")
# `alice:password@host` without a scheme; not DVC's `dvc.yaml:train@yolo`.
_USER = re.compile(r"""(?<![\w/.@%~+-])(?!\S*\.yaml:)[\w.%~+-]+:[^\s/@"'<>`]+@([\w\[][^\s"'<>`]*)""")
# What urllib3 says of an address whose host it names apart: `with url: /path?token=1 (Caused by ...)`, `broken by '...': /path?token=1`,
# `"GET /path?token=1 HTTP/1.1"`.
_PATH = re.compile(r"""((?:\burl: |': |"[A-Z]+ )/[^\s"'<>`?]*)\?[^\s"'<>`]*""")
# Control characters but tab and line feed; marks that turn the direction of a text or are invisible; halves of characters.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """A text for a terminal: `without_secrets` and `escaped`."""
    return escaped(without_secrets(text))


def escaped(text: str) -> str:
    r"""A text with `\x1b` and so on, as it is written here, in place of each character that a terminal would obey."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def without_secrets(text: str) -> str:
    """A text with the user part and the query of every address in it replaced by `***`: `https://***@host/file?***`."""
    if "//" in text:
        text = _ADDRESS.sub(lambda match: f"{match[1] or ''}//{_hide(match[2])}", text)
    if "?" in text:
        text = _PATH.sub(rf"\1?{HIDDEN}", text)
    return _USER.sub(lambda match: f"{HIDDEN}@{_hide(match[1])}", text) if "@" in text else text


def _hide(rest: str) -> str:
    """What follows the `//` of an address, without user part and query."""
    host = re.split("[/?#]", rest, maxsplit=1)[0]
    # A password may hold `/`, `?` or `#`, though it should not: what follows the colon is then no port.
    is_cut = "@" not in host and re.fullmatch(r"[^\[\]]*:\d*[^\d].*", host) and "@" in rest
    user, at, _ = (rest if is_cut else host).rpartition("@")
    rest = f"{HIDDEN}@{rest[len(user) + 1 :]}" if at else rest
    path, mark, query = rest.partition("?")
    if not mark or "#" in path:  # a question mark in a fragment begins no query
        return rest
    end = re.search(r"[).,;:\]}]*$", query)[0]  # the sentence's, not the address's
    return f"{path}?{HIDDEN}{end}"


class _Clean:
    """A stream that is written to as another one, in printable text."""

    def __init__(self, stream: TextIO):
        self.stream = stream

    def write(self, text: str) -> int:
        clean = printable(text)
        try:
            self.stream.write(clean)
        except UnicodeEncodeError:  # a terminal that knows few characters
            encoding = self.stream.encoding
            self.stream.write(clean.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def raw(stream: TextIO) -> TextIO:
    """The stream below the one that `streams` has put in its place."""
    return stream.stream if isinstance(stream, _Clean) else stream


@contextlib.contextmanager
def streams() -> Iterator[None]:
    """Have standard output and standard error take printable text only, while the block runs; and the traceback of a bug after it, too."""
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = map(_Clean, map(raw, former))
    sys.excepthook = _print_exception
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former


def _print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    _Clean(raw(sys.stderr)).write("".join(traceback.format_exception(kind, error, trace)))
