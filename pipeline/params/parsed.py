"""A params file parsed as YAML 1.2, which knows the line of each key."""

from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError


class ParsedFile:
    """A parsed params file that can say where a key is."""

    def __init__(self, path: Path):
        self.name = path.name if path.name == paths.PARAMS else str(path)
        try:
            self.tree = YAML(typ="rt").load(StringIO(path.read_text(encoding="utf-8")))
        except YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f":{mark.line + 1}" if mark else ""
            problem = getattr(error, "problem", None) or str(error).splitlines()[0]
            fix = ". Indent with spaces" if r"\t" in problem else ""
            raise InputError(f"{self.name}{where}: expected YAML; received: {problem}{fix}") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{self.name}: expected UTF-8 text; received: {error}") from error
        if not isinstance(self.tree, Mapping):
            raise InputError(
                f"{self.name}: expected a mapping with seed, sources, datasets and experiments; received: {self.tree!r}"
            )
        self.plain = _plain(self.tree)

    def line(self, location: tuple[Any, ...]) -> int | None:
        """Line of a key or of an item of a list, counted from 1; of the nearest above it if the file does not have it."""
        node, line = self.tree, None
        for key in location:
            try:
                line = node.lc.key(key)[0] + 1 if isinstance(node, Mapping) else node.lc.item(key)[0] + 1
                node = node[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                # Names that pydantic adds to a location (a union's member) are no keys of the file.
                continue
        return line

    def error(self, location: tuple[Any, ...], message: str) -> InputError:
        """A sentence with the file, the line and the key in front."""
        line = self.line(location)
        where = ".".join(str(part) for part in location)
        return InputError(f"{self.name}{f':{line}' if line else ''}: {where + ': ' if where else ''}{message}")


def _plain(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    if isinstance(node, bool) or node is None:
        return node
    # ruamel's scalars are subclasses that remember how they were written.
    return next((kind(node) for kind in (int, float, str) if isinstance(node, kind)), node)
