"""The code that a stage runs for an entry: its files, and a digest of each.

DVC does not follow imports. This module follows them from the stage's own module, those inside functions included. Of the files that
are found by name (`cnnkeras.by_name`), only those count that the entry names: its architecture, task, kind of source, format, claim,
optimizer. So an edit of `losses/detection.py` makes only the trainings of detectors stale, and a new file in `sources/` makes none.

    Code().dependencies("train", "yolo", values)  ->  {"cnnkeras/losses/detection.py": "5b0c...", ...}

A digest leaves out comments, docstrings and blank lines. They are cut out by their positions, so that every version of Python gives
the same digest. Files that cannot change any output are left out (`NEUTRAL`).

Files are read, not imported. tests/test_code.py runs every stage and compares these files with the modules that were imported.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from pipeline.runtime import definition, paths, plugins, source_text
from pipeline.runtime.loaded import PACKAGES
from pipeline.runtime.replacing import replacing
from pipeline.runtime.source_text import ANY, Source, hash_of, hash_of_text, read_source

SOURCES = Path(__file__).parents[2]  # the folder that holds the packages

# Modules and packages that cannot change the outputs of a stage, each with the commands of the stages whose outputs they can change.
NEUTRAL: dict[str, tuple[str, ...]] = {
    "cnnkeras.by_name": (),  # finds the file that params.yaml names
    "cnnkeras.objectives": ("train",),  # losses, and metrics that a task builds only for a training
    "pipeline.cli": (),
    "pipeline.runtime": (),  # how a command runs: locks, signals, workers, paths, the terminal
    "pipeline.params": (),  # DVC compares the values of params.yaml, `check` those that params.yaml leaves to a default
    "pipeline.tracking": ("log",),  # shows results that exist
    "pipeline.files.fetch": ("download",),
    "pipeline.files.addresses": ("download",),
    "pipeline.files.published": ("download",),  # names, checksums and addresses of files
    "pipeline.files.unusable": ("download",),
}
# Modules of neutral packages that decide a value which params.yaml does not have: the seed of a training, the shape of an output.
DECIDING = {"pipeline.params": "pipeline.params.whole"}

# Keys of params.yaml whose values name files or functions, and keys whose values name other entries, with the sections of those.
NAMING = frozenset(("kind", "architecture", "architectures", "task", "format", "claim", "name"))
KEYS_NAME = "augmentation"  # the keys of the mappings in this list name files or functions, as values do elsewhere
ONLY_NAMED = (f"{PACKAGES[1]}.images.transforms",)  # of these packages an entry that names no file loads none
REFERRING = {"dataset": ("datasets",), "source": ("sources",), "members": ("experiments", "ensembles")}


class Code:
    """The code of the packages, each file as it was when it was first looked at.

    Args:
        texts: Texts of modules, by their names, that count in place of their files.
    """

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._texts = texts or {}
        self._sources: dict[str, Source] = {}
        self._files: dict[str, Path | None] = {}
        self._neutral: dict[tuple[str, str], bool] = {}
        self._dependencies: dict[tuple[str, str], dict[str, str]] = {}
        self._known = _read_known()
        self._has_new = False

    def dependencies(self, stage: str, entry: str, values: Mapping[str, Any]) -> dict[str, str]:
        """Digests of the files that a stage runs for an entry, by their path below the project's folder, sorted by path.

        Args:
            stage: A key of dvc.yaml.
            entry: A key of the section of params.yaml that the stage is for.
            values: The content of params.yaml, without defaults; the same in every call.
        """
        if (stage, entry) not in self._dependencies:
            words = named_by(stage, entry, values)
            modules = self.closure(*_root(stage), words)
            found = {self._path(module): self._digest(module, taken, words) for module, taken in modules.items()}
            self._dependencies[stage, entry] = {path: digest for path, digest in sorted(found.items()) if digest}
        return dict(self._dependencies[stage, entry])

    def modules(self, stage: str, entry: str, values: Mapping[str, Any]) -> dict[str, set[str]]:
        """The modules that a stage may load for an entry, as `closure` returns them."""
        return self.closure(*_root(stage), named_by(stage, entry, values))

    def closure(self, root: str, command: str, words: Set[str]) -> dict[str, set[str]]:
        """Names of the modules that running `root` may load, `root` among them, each with its attributes that others use.

        Args:
            root: Name of a module.
            command: Command of a stage; it decides which modules are neutral.
            words: Names of files and functions. Of the files that a package finds by name, those in `words` are loaded; all of them,
                if none is in `words`.
        """
        waiting: list[tuple[str, Iterable[str]]] = [(root, ())]
        seen: dict[str, set[str]] = {}
        while waiting:
            module, taken = waiting.pop()
            if self.is_neutral(module, command):
                module = next((decides for package, decides in DECIDING.items() if _is_below(module, package)), "")
            if module in seen:
                seen[module].update(taken)
            elif module not in ("", *PACKAGES):
                seen[module] = set(taken)
                if module not in DECIDING.values():  # the modules that it imports are neutral
                    waiting += [*self._loaded(module, words), (module.rpartition(".")[0], ())]
        return seen

    def save(self) -> None:
        """Save the digests and imports of all files, by the hash of their text, for later runs."""
        if not self._has_new:
            return
        content = {key: asdict(source) for key, source in self._known.items()}
        with suppress(OSError), replacing(_known_file()) as partial:  # where nothing may be written, all is read anew
            partial.write_text(json.dumps(content), encoding="utf-8")
        for former in _known_file().parent.glob("code-*.json"):
            if former != _known_file():
                former.unlink(missing_ok=True)

    def _loaded(self, module: str, words: Set[str]) -> Iterator[tuple[str, Iterable[str]]]:
        """Modules that a module may load itself, each with the attributes that it uses of them."""
        source = self._source(module)
        if source.loads and source.finds_files:
            yield from self._found(module, words)
        if module == _LOADS_MODELS:
            yield from ((f"{package}.{name}", ()) for package, name in plugins.with_layers() if name in words)
        for imported, name in source.imports:
            if self._file(imported) is None:
                continue
            whole = f"{imported}.{name}" if name else imported
            if self._file(whole) is None:
                yield from self._taken(imported, {name}, words)
            else:
                yield from self._taken(whole, set(source.attributes.get(whole, ())), words)

    def _taken(self, module: str, attributes: Set[str], words: Set[str]) -> Iterator[tuple[str, Iterable[str]]]:
        """Modules that the use of a module's attributes loads."""
        yield module, attributes
        source = self._source(module)
        if source.finds_files and "load" in attributes:
            yield from self._found(module, words)
        if source.lazy:
            # A function of the package may use any of the lazy names.
            touched = attributes if attributes <= source.lazy.keys() else source.lazy
            yield from {(f"{module}.{source.lazy[name]}", ()) for name in touched}

    def _found(self, package: str, words: Set[str]) -> list[tuple[str, Iterable[str]]]:
        """The modules of a package that an entry names; all of them, if it names none."""
        names = plugins.names(self._file(package).parent)
        if own := plugins.folder(package):
            names |= plugins.names(own)
        named = names & words
        return [(f"{package}.{name}", ()) for name in (named if package in ONLY_NAMED else named or names)]

    def _digest(self, module: str, taken: Set[str], words: Set[str]) -> str:
        """Digest of a module's code. Of functions that are found by name, only those count that the entry names or other modules use."""
        source = self._source(module)
        chosen = source.functions.keys() & (words | taken) if ANY in taken else source.functions.keys()
        return hash_of([source.rest, *(source.functions[name] for name in sorted(chosen))])

    def is_neutral(self, module: str, command: str) -> bool:
        """Whether a module cannot change the outputs of the stages of a command."""
        if (module, command) not in self._neutral:
            neutral = any(_is_below(module, package) and command not in stages for package, stages in NEUTRAL.items())
            self._neutral[module, command] = neutral and module not in DECIDING.values()
        return self._neutral[module, command]

    def _source(self, module: str) -> Source:
        if module not in self._sources:
            file = self._file(module)
            text = self._texts.get(module) or file.read_text(encoding="utf-8")
            if file == plugins.file_of(module):
                plugins.require_followable(file, text)
            key = hash_of_text(text)
            if key not in self._known:
                self._known[key], self._has_new = _parsed(text), True
            self._sources[module] = self._known[key]
        return self._sources[module]

    def _path(self, module: str) -> str:
        if (file := self._file(module)) == plugins.file_of(module):
            return plugins.shown(file)
        path = module.replace(".", "/")
        return f"{path}/__init__.py" if self._file(module).name == "__init__.py" else f"{path}.py"

    def _file(self, module: str) -> Path | None:
        """The file of a module of `PACKAGES`; None if there is none."""
        if module not in self._files:
            path = SOURCES.joinpath(*module.split("."))
            candidates = (path / "__init__.py", path.with_suffix(".py")) if module.split(".")[0] in PACKAGES else ()
            ours = next((file for file in candidates if file.is_file()), None)
            self._files[module] = ours or (plugins.file_of(module) if candidates else None)
        return self._files[module]


_parsed = cache(read_source)
_LOADS_MODELS = (
    "pipeline.backend.model_files"  # which imports an architecture with layers of its own (`cnnkeras/keras_file.py`)
)


def file_of(path: str) -> Path:
    """The file of a path that `dependencies` names: ours, or a plugin of the project."""
    return (paths.root() if path.startswith(f"{paths.plugins().name}/") else SOURCES) / path


def _root(stage: str) -> tuple[str, str]:
    """The module and the command of a stage."""
    command = definition.command(stage)
    return f"pipeline.stages.{command.replace('-', '_')}", command


def named_by(stage: str, entry: str, values: Mapping[str, Any]) -> frozenset[str]:
    """Names of files and functions in an entry of params.yaml and in the entries that it refers to."""
    return frozenset(_words(values, definition.lookup(values, f"{definition.stages()[stage]}.{entry}")))


def _words(values: Mapping[str, Any], entry: Any, key: str = "") -> Iterator[str]:
    """Names of files and functions in an entry of params.yaml and in the entries that it refers to."""
    if isinstance(entry, Mapping):
        for inner, value in entry.items():
            if key == KEYS_NAME:
                yield str(inner)
            yield from _words(values, value, str(inner))
    elif isinstance(entry, list | tuple):
        for value in entry:
            yield from _words(values, value, key)
    elif isinstance(entry, str) and key in NAMING:
        yield entry
    elif isinstance(entry, str):
        for section in REFERRING.get(key, ()):
            yield from _words(values, (values.get(section) or {}).get(entry))


def _is_below(module: str, package: str) -> bool:
    """Whether a module is a package or in it."""
    return f"{module}.".startswith(f"{package}.")


def _known_file() -> Path:
    """What was read of files before; its name changes with the code that reads them, so that it always means the same."""
    code = Path(source_text.__file__).read_text(encoding="utf-8")
    return paths.state() / f"code-{hash_of_text(code)}.json"


def _read_known() -> dict[str, Source]:
    try:
        content = json.loads(_known_file().read_text(encoding="utf-8"))
        return {key: Source(**source) for key, source in content.items()}
    except (OSError, ValueError, TypeError):
        return {}
