"""docs/kinds.md: all kinds of sources and their keys, of the docstrings of `pipeline/sources`."""

import inspect
from types import ModuleType

from pages_of_code.tables import of_entry, text
from pipeline import sources
from pipeline.files import classes
from pipeline.files.classes import Classified
from pipeline.files.local import LocalFile
from pipeline.files.published import PublishedFile
from pipeline.files.published_archives import PublishedArchives
from pipeline.files.splits import Splits
from pipeline.runtime.entries import Entry

_HEAD = """\
# Kinds of data

What `kind:` of an entry under `sources:` may be, the layout that each reads, and its keys. `cnnkeras inspect PATH` says which kind a folder or an archive is and prints
the entry. This page is made of the docstrings: `python -m pages_of_code`.

## What kinds have in common

Keys of every source:
"""


def page() -> str:
    """The page's text."""
    parts = [_HEAD, of_entry(sources.SourceEntry)]
    parts += ["\nOf kinds that are published as archives or lie in a folder, besides:\n", of_entry(PublishedArchives)]
    parts += ["\nA published file:\n", of_entry(PublishedFile)]
    parts += ["\nA folder or an archive on this disk; links in it are not followed:\n", of_entry(LocalFile)]
    parts += [f"\nOf kinds whose data say classes, besides:\n\n{of_entry(Classified)}\n\n{text(classes)}"]
    parts += ["\nKeys of `splits`:\n", of_entry(Splits)]
    return "\n".join([*parts, *map(_section, sources.names())])


def _section(name: str) -> str:
    kind = sources.load(name)
    first, _, rest = inspect.getdoc(kind).partition("\n")
    common = (sources.SourceEntry, PublishedArchives, Classified)
    parts = [f"\n## `{name}`\n\n{first}\n"]
    if rest.strip():
        parts.append(f"```text\n{rest.strip(chr(10))}\n```\n")
    parts.append(f"Tasks: {', '.join(kind.TASKS) or 'none'}.\n")
    parts.append(of_entry(kind.Source, without=common))
    inner = (
        f"\n`{each.__name__}`: {inspect.getdoc(each).splitlines()[0]}\n\n{of_entry(each)}" for each in _inner(kind)
    )
    return "\n".join([*parts, *inner])


def _inner(kind: ModuleType) -> list[type[Entry]]:
    """Entries in an entry of the kind, in the order of its file."""
    classes = [each for each in vars(kind).values() if inspect.isclass(each) and issubclass(each, Entry)]
    return [each for each in classes if each.__module__.startswith(kind.__name__) and each is not kind.Source]
