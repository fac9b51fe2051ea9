"""`cnnkeras check-plugin`: whether plugins keep the contract of their kind, which the tests hold ours to as well.

A kind's file here defines `check(module)`, which raises a ValueError with what was expected and received.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import click

from cnnkeras.by_name import Files
from pipeline.runtime import paths, plugins
from pipeline.runtime.errors import InputError

_files = Files(__name__, "a kind of plugin")
names, load = _files.names, _files.load


def run(files: Sequence[Path]) -> None:
    """Check plugins, and print a line for each that is as it has to be.

    Args:
        files: Files or folders in the project's folder of plugins; none: all plugins.

    Raises:
        InputError: There is no such plugin, or one does not keep the contract.
    """
    known = list(plugins.every())
    for kind, name in [_named(file, known) for file in files] or known:
        module = f"{plugins.PACKAGES[kind]}.{name}"
        importlib.import_module(plugins.PACKAGES[kind])
        file = plugins.file_of(module)
        plugins.require_followable(file, file.read_text(encoding="utf-8"))
        shown = plugins.shown(file)
        try:
            require(kind, importlib.import_module(module))
        except InputError:
            raise
        except Exception as error:  # what a plugin's own code raises
            sentence = None if isinstance(error, ValueError) else plugins.said(error)
            raise InputError(sentence or f"{shown}: {' '.join(f'{error}'.split()) or type(error).__name__}") from error
        click.echo(f"{shown}: as {plugins.PACKAGES[kind]} has them")
    if not known:
        click.echo(f"no plugins: {paths.plugins() / 'README.md'} says what they are", err=True)


def require(kind: str, module: ModuleType) -> None:
    """Check a module, ours or a plugin, by the contract of its kind.

    Raises:
        ValueError: It does not keep it.
    """
    if not (module.__doc__ or "").strip():
        raise ValueError("expected a docstring that says what it is, and where that was published; received: none")
    load(kind).check(module)


def _named(file: Path, known: Sequence[tuple[str, str]]) -> tuple[str, str]:
    path = file.absolute()
    name = path.stem if path.name != "__init__.py" else path.parent.name
    folder = path.parent if path.name != "__init__.py" else path.parent.parent
    found = (folder.name, name)
    if found not in known or folder.parent.resolve() != paths.plugins().resolve():
        listed = ", ".join(f"plugins/{kind}/{each}" for kind, each in known) or "none"
        raise InputError(f"expected a plugin of this project ({listed}); received: {file}")
    return found
