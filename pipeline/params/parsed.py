"""A params file parsed as YAML 1.2, with the line of each key."""

import hashlib
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.reader import ReaderError

from pipeline.params.composing import NotPlain, PlainComposer
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

# Recipes have up to 20,000 bytes; the names of ImageNet's 21,841 classes would have 400,000.
_MAX_BYTES = 4 * 2**20


class ParsedFile:
    """A parsed params file with the lines of its keys.

    Attributes:
        name: The file's name for messages: `params.yaml`, or the path of another file.
        plain: The content as dictionaries, lists, numbers and text.
        sha256: SHA-256 (hexadecimal) of the file's bytes.

    Raises:
        InputError: The file is too large, is not UTF-8 or no valid YAML, uses YAML that a params file may not, or is no mapping.
    """

    def __init__(self, path: Path):
        self.name = path.name if path.name == paths.PARAMS else str(path)
        self._tree = self._parse(self._read(path))
        if not isinstance(self._tree, Mapping):
            received = "an empty file" if self._tree is None else repr(_plain(self._tree))[:80]
            raise InputError(
                f"{self.name}: expected a mapping with seed, sources, datasets and experiments; received: {received}"
            )
        self.plain = _plain(self._tree)

    def line(self, location: tuple[Any, ...]) -> int | None:
        """Line of a key or list item, counted from 1. For a location that the file does not have: line of the nearest key above it."""
        node, line = self._tree, None
        for key in location:
            try:
                line = node.lc.key(key)[0] + 1 if isinstance(node, Mapping) else node.lc.item(key)[0] + 1
                node = node[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                # Names that pydantic adds to a location (a union's member) are no keys of the file. Values from a merge key get the
                # line of the entry with the merge key.
                continue
        return line

    def error(self, location: tuple[Any, ...], message: str) -> InputError:
        """An `InputError` whose message begins with the file, the line and the dotted key."""
        return self._error(self.line(location), location, message)

    def _error(self, line: int | None, location: tuple[Any, ...], message: str) -> InputError:
        key = ".".join(_printable(str(part)) for part in location)
        return InputError(f"{self.name}{f':{line}' if line else ''}: {key + ': ' if key else ''}{message}")

    def _read(self, path: Path) -> str:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise InputError(f"{self.name}: expected a file of at most {_MAX_BYTES >> 20} MiB; received: more")
        self.sha256 = hashlib.sha256(data).hexdigest()
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise self._error(line, (), f"expected UTF-8 text; received: the byte 0x{data[error.start]:02x}") from error

    def _parse(self, text: str) -> Any:
        yaml = YAML(typ="rt")
        yaml.Composer = PlainComposer
        try:
            return yaml.load(StringIO(text))
        except NotPlain as error:
            raise self._error(error.line, error.location, str(error)) from error
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            character = f"a character that text does not have, U+{ord(text[error.position]):04X}"
            raise self._error(line, (), f"expected YAML; received: {character}") from error
        except YAMLError as error:
            raise self._error(*_explain(error)) from error


def _explain(error: YAMLError) -> tuple[int | None, tuple[()], str]:
    """Line, location and message for a YAML error."""
    mark, begin = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    line = mark.line + 1 if mark else None
    if "could not find expected ':'" in problem and begin:
        # The error is noticed one line after the line that lacks the colon.
        return begin.line + 1, (), "expected YAML; received: a key without ': ' after it"
    if r"\t" in problem:
        fix = ". Indent with spaces"
    elif "<block end>" in problem:
        fix = ". Indent keys of one mapping alike"
    elif "mapping values are not allowed" in problem:
        fix = ". The line above may lack a ': '"
    elif begin and line and begin.line + 1 != line:
        fix = f", in what begins in line {begin.line + 1}"
    else:
        fix = ""
    return line, (), f"expected YAML; received: {problem}{fix}"


def _printable(key: str) -> str:
    """A key as text without line breaks and control characters."""
    return key if key.isprintable() else repr(key)[1:-1]


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    # ruamel's scalars are subclasses that remember how they were written.
    return next((kind(node) for kind in (int, float, str) if isinstance(node, kind)), node)
