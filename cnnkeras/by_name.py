"""Modules that params.yaml names: one file of a package, and the file's name is the module's."""

import difflib
import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType


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
            near = difflib.get_close_matches(name, known, n=1)
            fix = (
                f"; did you mean {near[0]!r}?"
                if near
                else f". Add {self.package.replace('.', '/')}/{name}.py to make one"
            )
            raise ValueError(f"expected {self.what} of {', '.join(known)}; received: {name!r}{fix}")
        return importlib.import_module(f"{self.package}.{name}")
