"""Puts entries at the ends of their sections of params.yaml. Nothing else of the text changes: comments, order, ends of lines."""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.commands.inspect.entries import as_yaml
from pipeline.params import load_params
from pipeline.params.parsed import ParsedFile
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

_INDENT = 2
_EMPTY = re.compile(r"^(\w+\s*:)\s*(?:\{\s*\}|null\b|~)")  # a section without an entry
_BY_HAND = "Paste the entries by hand"


def refuse_known_names(file: ParsedFile, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse entries whose names params.yaml has already.

    Raises:
        InputError: It has one; the message says the line.
    """
    for section, named in entries.items():
        for name in named:
            known = file.plain.get(section)
            if isinstance(known, Mapping) and name in known:
                raise file.error(
                    (section, name), f"expected a name that is new; received: {name!r}. Choose one by --name"
                )


def with_entries(text: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """A params file's text with entries added.

    Args:
        text: The params file, valid.
        entries: New entries by section and name.

    Raises:
        InputError: A section is written in a form that lines cannot be added to.
    """
    end = "\r\n" if "\r\n" in text else "\n"
    mark = text[: text.startswith("\ufeff")]
    lines = text.removeprefix(mark).removesuffix(end).split(end)
    for section in entries:
        _start(lines, section)
    for section, named in entries.items():
        start, last, indent = _start(lines, section), _start(lines, section), _INDENT
        if not lines[start].rstrip().endswith(":"):
            lines[start] = _EMPTY.sub(r"\1", lines[start])
        for number in range(start + 1, len(lines)):
            line = lines[number]
            if line.strip() and not line.startswith((" ", "#")):
                break
            if line.startswith(" ") and line.strip():
                if last == start and not line.lstrip().startswith("#"):
                    indent = len(line) - len(line.lstrip())
                last = number
        added = "".join(as_yaml({name: entry}, indent) for name, entry in named.items()).splitlines()
        lines[last + 1 : last + 1] = [*([""] if last > start else []), *added]
    return mark + end.join(lines) + end


def _start(lines: list[str], section: str) -> int:
    """Position of the line that a section begins with."""
    start = next((n for n, line in enumerate(lines) if re.match(rf"{section}\s*:", line)), None)
    if start is None:
        raise InputError(
            f"{paths.PARAMS}: expected the section `{section}:` at the start of a line; received: none. {_BY_HAND}"
        )
    if re.fullmatch(r"(#.*)?", _EMPTY.sub(r"\1", lines[start]).partition(":")[2].strip()) is None:
        raise InputError(
            f"{paths.PARAMS}:{start + 1}: {section}: expected an entry a line below it; received: {lines[start][:80]!r}. {_BY_HAND}"
        )
    return start


def checked(text: str, before: ParsedFile, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Check that a text is a valid params file that has the former content and the entries.

    Raises:
        InputError: It is not; nothing was written.
    """
    with tempfile.TemporaryDirectory(prefix="cnnkeras-") as folder:
        file = Path(folder) / paths.PARAMS
        file.write_bytes(text.encode())
        expected = {key: dict(value) if isinstance(value, Mapping) else value for key, value in before.plain.items()}
        for section, named in entries.items():
            expected[section] = {**(expected.get(section) or {}), **named}
        if ParsedFile(file).plain != expected:
            raise InputError(
                f"{paths.PARAMS}: expected a file that entries can be added to; received: another form. {_BY_HAND}"
            )
        load_params(file)


def write(text: str) -> None:
    """Replace params.yaml, whole or not at all."""
    file = paths.params_file().resolve()  # a link to it stays one
    with replacing(file) as partial:
        partial.write_bytes(text.encode())
        shutil.copymode(file, partial)
