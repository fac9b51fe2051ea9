"""The source text of each of our modules as Python loaded it, recorded from the moment this module is imported.

A stage imports most of its code while it runs: Keras' part takes seconds. A file that is edited and restored in those seconds looks as
it did before, although the edit was loaded. So the guard compares the text that was loaded, not the file.

Python itself trusts a compiled file (`__pycache__`) if the source has the recorded length and time in whole seconds: two edits of one
length in one second run the code of the first. Here a compiled file has a number made from the source's text in place of its time.
"""

import hashlib
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = ("cnnkeras", __name__.partition(".")[0])  # the second one has another name where it is installed

TEXTS: dict[str, str] = {}  # by the module's name


class _Loader(SourceFileLoader):
    """Python's own loader, which records the text."""

    def path_stats(self, path: str) -> dict[str, Any]:
        """Number of the text, and length, which a compiled file must have to be used."""
        content = self.get_data(path)
        TEXTS[self.name] = content.decode("utf-8")
        number = int.from_bytes(hashlib.sha256(content).digest()[:4], "little")
        return {"mtime": number, "size": len(content)}

    def exec_module(self, module: ModuleType) -> None:
        """Run the module; what a plugin raises or lacks is one line that names its file."""
        try:
            super().exec_module(module)
        except Exception as error:
            from pipeline.runtime import plugins

            plugins.blame(self.name, error)
            raise
        if "plugins" in Path(self.path).parts:
            from pipeline.runtime import plugins

            plugins.require_defined(module)


class _Finder:
    """Finds our modules as the other finders do, and has them loaded by `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As in `importlib`."""
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec:
                if type(spec.loader) is SourceFileLoader:
                    spec.loader = _Loader(spec.loader.name, spec.loader.path)
                    _add_plugins(spec)
                return spec
        return None


def _add_plugins(spec: ModuleSpec) -> None:
    """Have a package that finds its files by name look into the project's folder of plugins, too."""
    if spec.submodule_search_locations is None or spec.name.partition(".")[2] == "":
        return
    if f"{__name__.rpartition('.')[0]}." in f"{spec.name}.":
        return  # what knows plugins
    from pipeline.runtime import plugins

    if found := plugins.place(spec.name, Path(spec.origin).parent):
        spec.submodule_search_locations.append(str(found))


if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.insert(0, _Finder())
