"""Modules that params.yaml names: one file of a package, and the file's name is the module's; what a misspelt name may mean."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType

# More names than these are no help beside the nearest one.
_MOST_LISTED = 30


def nearest(received: str, known: Iterable[str]) -> str:
    """End of a sentence that asks for the nearest of the known names; empty if none is near."""
    found = difflib.get_close_matches(str(received), [str(name) for name in known], n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def unknown(received: str, known: Iterable[str], what: str) -> str:
    """Sentence for a name that is not one of the known ones, with the nearest."""
    known = sorted(known)
    hint = nearest(received, known)
    listed = "" if hint and len(known) > _MOST_LISTED else f" (known: {', '.join(known) or 'none'})"
    return f"unknown {what} {received!r}{hint}{listed}"


@dataclass(frozen=True)
class Files:
    """The modules of a package, found by their names.

    Attributes:
        package: Its full name; it is imported already.
        what: What one of its modules is, with the article: "an architecture".
    """

    package: str
    what: str

    def names(self) -> list[str]:
        """Names of the modules, in alphabetical order."""
        return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__))

    def load(self, name: str) -> ModuleType:
        """The module of a name.

        Raises:
            ValueError: There is no such module.
        """
        known = self.names()
        if name not in known:
            fix = nearest(name, known) or f". Add {self.package.replace('.', '/')}/{name}.py to make one"
            raise ValueError(f"expected {self.what} of {', '.join(known)}; received: {name!r}{fix}")
        return importlib.import_module(f"{self.package}.{name}")
