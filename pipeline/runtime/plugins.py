"""Plugins: modules of the user's project that are found by name beside ours.

    plugins/architectures/mobilenet.py  ->  `architecture: mobilenet`, the module cnnkeras.architectures.mobilenet

The project's folder of a kind becomes one more place of the package that finds this kind's files (`cnnkeras.by_name.Files`), from the
moment that the package is imported, in every process (`runtime/loaded.py`). So a plugin is listed, loaded, digested and recorded as ours
are. Ours come first, and a plugin may not have the name of one. A name of params.yaml is compared with the names of files and never made
a path, so that params.yaml alone runs nothing.
"""

import ast
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

_STAGES = __name__.partition(".")[0]
PACKAGES = {  # by the kind, which is the folder's name
    "architectures": "cnnkeras.architectures",
    "claims": f"{_STAGES}.lab.claims",
    "losses": "cnnkeras.losses",
    "metrics": "cnnkeras.metrics",
    "sources": f"{_STAGES}.sources",
    "transforms": f"{_STAGES}.images.transforms",
    "weights": "cnnkeras.weights",
}
_KINDS = {package: kind for kind, package in PACKAGES.items()}


def folder(package: str) -> Path | None:
    """The folder of this project with plugins for a package; None if there is none, or no project."""
    try:
        found = paths.plugins() / _KINDS[package] if package in _KINDS else None
    except InputError:
        return None
    return found if found and found.is_dir() else None


def place(package: str, own: Path) -> Path | None:
    """The same, for the package to look into, after the folder `own` with our files.

    Raises:
        InputError: One of the plugins has the name of one of ours.
    """
    found = folder(package)
    for name in names(found) if found else ():
        if (own / f"{name}.py").is_file() or (own / name / "__init__.py").is_file():
            raise InputError(
                f"{shown(found / name)}: expected a name that none of ours has; received: {name}. Call it otherwise"
            )
    return found


def names(folder: Path) -> set[str]:
    """Names of the modules in a folder: files and packages."""
    found = {file.stem for file in folder.glob("*.py")} | {file.parent.name for file in folder.glob("*/__init__.py")}
    return found - {"__init__"}


def file_of(module: str) -> Path | None:
    """The file of a module that is a plugin or part of one; None if it is none."""
    for package in PACKAGES.values():
        if module.startswith(f"{package}.") and (found := folder(package)):
            path = found.joinpath(*module.removeprefix(f"{package}.").split("."))
            return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)
    return None


def with_layers() -> Iterator[tuple[str, str]]:
    """(package, name) of the plugins that may define layers, which whoever loads a model runs."""
    package = PACKAGES["architectures"]
    if found := folder(package):
        yield from ((package, name) for name in sorted(names(found)))


def below(library: str) -> Iterator[tuple[Path, str]]:
    """The files of all plugins for the packages of a library, each with the path that it would have in the library."""
    for package in PACKAGES.values():
        if package.startswith(f"{library}.") and (found := folder(package)):
            for file in sorted(found.rglob("*.py")):
                yield file, f"{package.replace('.', '/')}/{file.relative_to(found).as_posix()}"


def every() -> Iterator[tuple[str, str]]:
    """(kind, name) of every plugin of this project.

    Raises:
        InputError: A folder in plugins/ is of no kind that there is.
    """
    folders = sorted(paths.plugins().glob("*/")) if paths.plugins().is_dir() else []
    for each in folders:
        if each.name not in PACKAGES and any(each.rglob("*.py")):
            raise InputError(f"{shown(each)}: expected a folder of {', '.join(PACKAGES)}; received: {each.name}")
        yield from ((each.name, name) for name in sorted(names(each)) if each.name in PACKAGES)


def blame(module: str, error: Exception) -> None:
    """Say in one line what a plugin raised when it was imported; nothing, if the module is none.

    Raises:
        InputError: The module is a plugin.
    """
    if file_of(module) is None or isinstance(error, InputError):
        return
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{shown(Path(error.filename))}:{error.lineno}"
    else:
        place = _place(error) or f"{shown(file_of(module))}:1"
    raise InputError(f"{place}: expected a plugin that can be imported; received: {_received(error)}") from error


def require_defined(module: ModuleType) -> None:
    """Refuse a plugin without one of the names that the files of its package define (`DEFINES`); other modules pass.

    Raises:
        InputError: It lacks one.
    """
    package, _, name = module.__name__.rpartition(".")
    if package not in _KINDS or not name or (file := file_of(module.__name__)) is None:
        return
    expected = sys.modules[package].DEFINES
    if missing := [each for each in expected if not hasattr(module, each)]:
        raise InputError(f"{shown(file)}: expected {', '.join(expected)}; received: none of {', '.join(missing)}")


def said(error: BaseException) -> str | None:
    """One line for an error that a plugin's code raised while it ran; None if no plugin did."""
    while error is not None and not isinstance(error, InputError):
        if place := _place(error):
            return f"{place}: expected a plugin that runs; received: {_received(error)}"
        error = error.__cause__
    return None


def _place(error: BaseException) -> str | None:
    """The file and the line of a plugin's code from which an error came; None if no plugin's code ran."""
    try:
        own = f"{paths.plugins().resolve()}{os.sep}"
    except InputError:  # no project
        return None
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if os.path.realpath(frame.filename).startswith(own)
    ]
    return f"{shown(Path(frames[-1].filename))}:{frames[-1].lineno}" if frames else None


def _received(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def shown(file: Path) -> str:
    """A path below the project's folder."""
    return file.resolve().relative_to(paths.root().resolve()).as_posix()


def require_followable(file: Path, text: str) -> None:
    """Refuse a plugin whose code digests would miss: they follow the full names of modules.

    Raises:
        InputError: It has a relative import, or is no Python.
    """
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError as error:
        raise InputError(f"{shown(file)}:{error.lineno}: expected Python; received: {error.msg}") from error
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.level:
            raise InputError(
                f"{shown(file)}:{node.lineno}: expected imports by full names, such as `from cnnkeras.architectures import vgg`; "
                "received: one that begins with a dot, which digests of code do not follow"
            )
