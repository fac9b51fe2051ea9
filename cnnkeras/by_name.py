"""Modules that params.yaml names: each is a file of a package, named after it. Suggestions for misspelt names."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

# Where a nearest name is suggested, a list of more names than this is no help beside it.
_MAX_LISTED = 30


def nearest(received: str, known: Iterable[str]) -> str:
    """End of a sentence that suggests the nearest of the known names (`; did you mean 'x'?`); empty if none is near."""
    matches = difflib.get_close_matches(str(received), [str(name) for name in known], n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def unknown(received: str, known: Iterable[str], noun: str) -> str:
    """Sentence that a name, of the kind of thing that `noun` names, is unknown; with the nearest name, or a list of all."""
    known = sorted(known)
    hint = nearest(received, known)
    listed = "" if hint and len(known) > _MAX_LISTED else f" (known: {', '.join(known) or 'none'})"
    return f"unknown {noun} {received!r}{hint}{listed}"


def call(module: ModuleType, named: Mapping[str, Any]) -> Any:
    """Call the function of a module that a mapping names, `{"name": "letterbox", "fill": 0}`, with the rest as its arguments."""
    arguments = dict(named)
    return getattr(module, arguments.pop("name"))(**arguments)


@dataclass(frozen=True)
class Files:
    """The modules of a package, loaded by name.

    Attributes:
        package: The package's full name; it is imported already.
        noun: A word for one of its modules, with the article: "an architecture".
    """

    package: str
    noun: str

    def names(self) -> list[str]:
        """Names of the modules, in alphabetical order."""
        return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__))

    def load(self, name: str) -> ModuleType:
        """Import the module of this name.

        Raises:
            ValueError: The package has no such module; the message lists those that it has.
        """
        known = self.names()
        if name not in known:
            fix = nearest(name, known) or f". Add {self.package.replace('.', '/')}/{name}.py to make one"
            raise ValueError(f"expected {self.noun} of {', '.join(known)}; received: {name!r}{fix}")
        return importlib.import_module(f"{self.package}.{name}")
