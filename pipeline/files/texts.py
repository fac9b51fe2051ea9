"""Text and names as other systems write them: byte order marks, UTF-16, ends of lines, back slashes, decomposed letters."""

import codecs
import re
import unicodedata

from pipeline.runtime.errors import InputError

# UTF-32's mark of little-endian bytes begins with UTF-16's, so that it comes first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Without a mark: where the zeros are in the first characters, which are ASCII.
_ZEROS = ((b"\0\0\0.", "utf-32-be"), (b".\0\0\0", "utf-32-le"), (b"\0.", "utf-16-be"), (b".\0", "utf-16-le"))
_LINE_END = re.compile(r"\r\n|\r|\n")
_END_OF_FILE = "\x1a"  # DOS ends a text with it


def encoding_of(content: bytes) -> tuple[str | None, int]:
    """The Unicode encoding that the first bytes of a text show, None where they show none, and the length of its byte order mark."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return encoding, len(mark)
    for pattern, encoding in _ZEROS:
        start = content[: len(pattern)]
        if len(start) == len(pattern) and all((a == 0) == (b == 0) for a, b in zip(start, pattern, strict=True)):
            return encoding, 0
    return None, 0


def decode(content: bytes, where: str, *, declared: str = "utf-8") -> str:
    """The text of a file.

    Args:
        content: The file.
        where: Its name, for messages.
        declared: Its encoding, unless its first bytes show a Unicode one.

    Raises:
        InputError: It is in another encoding.
    """
    shown, start = encoding_of(content)
    encoding = shown or declared
    try:
        return content[start:].decode(encoding)
    except UnicodeError as error:
        raise InputError(
            f"{where}: expected text in {encoding.upper()}; received: bytes that are none ({_place(error)}). Save it as UTF-8"
        ) from error


def _place(error: UnicodeError) -> str:
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    return f"{error.object[error.start : error.start + 4].hex(' ')} at byte {error.start:,}"


def lines(content: bytes, where: str) -> list[str]:
    """The lines of a text that are not empty, without the space around them.

    Raises:
        InputError: It is no text in UTF-8, UTF-16 or UTF-32.
    """
    return [line for _, line in numbered_lines(content, where)]


def numbered_lines(content: bytes, where: str) -> list[tuple[int, str]]:
    """The same, each with its number in the file, from 1."""
    stripped = (line.strip().strip(_END_OF_FILE).strip() for line in _LINE_END.split(decode(content, where)))
    return [(number, line) for number, line in enumerate(stripped, start=1) if line]


def composed(text: str) -> str:
    """The text with each accented letter as one character, as nearly all systems write it; a Mac's names have two."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def normal_path(path: str) -> str:
    """A path as all paths are compared: with forward slashes, composed letters, and no `./` before it."""
    path = composed(path).replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path
