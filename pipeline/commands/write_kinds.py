"""Writes docs/kinds.md, the page of all kinds of sources and their keys, from the docstrings of `pipeline/sources`: `python -m pipeline.commands.write_kinds`."""

import inspect
import re
from pathlib import Path
from types import ModuleType

from pipeline import sources
from pipeline.files.local import LocalFile
from pipeline.files.published import PublishedFile
from pipeline.files.published_archives import PublishedArchives
from pipeline.files.splits import Splits
from pipeline.runtime.entries import Entry

PAGE = Path(__file__).parents[2] / "docs" / "kinds.md"
_ATTRIBUTE = re.compile(r"^    (\w+): (.*)$")
_HEAD = """\
# Kinds of data

What `kind:` of an entry under `sources:` may be, the layout that each reads, and its keys. `cnnkeras inspect PATH` says which kind a folder or an archive is and prints
the entry. This page is made of the docstrings: `python -m pipeline.commands.write_kinds`.

## What kinds have in common

Keys of every source:
"""


def page() -> str:
    """The page's text."""
    parts = [_HEAD, _table(sources.SourceEntry, ())]
    parts += ["\nOf kinds that are published as archives or lie in a folder, besides:\n", _table(PublishedArchives, ())]
    parts += ["\nA published file:\n", _table(PublishedFile, ())]
    parts += ["\nA folder or an archive on this disk; links in it are not followed:\n", _table(LocalFile, ())]
    parts += ["\nKeys of `splits`:\n", _table(Splits, ())]
    return "\n".join([*parts, *map(_section, sources.names())])


def _section(name: str) -> str:
    kind = sources.load(name)
    first, _, rest = inspect.getdoc(kind).partition("\n")
    common = (sources.SourceEntry, PublishedArchives)
    parts = [f"\n## `{name}`\n\n{first}\n"]
    if rest.strip():
        parts.append(f"```text\n{rest.strip(chr(10))}\n```\n")
    parts.append(f"Tasks: {', '.join(kind.TASKS) or 'none'}.\n")
    parts.append(_table(kind.Source, common))
    inner = (
        f"\n`{each.__name__}`: {inspect.getdoc(each).splitlines()[0]}\n\n{_table(each, ())}" for each in _inner(kind)
    )
    return "\n".join([*parts, *inner])


def _inner(kind: ModuleType) -> list[type[Entry]]:
    """Entries in an entry of the kind, in the order of its file."""
    classes = [each for each in vars(kind).values() if inspect.isclass(each) and issubclass(each, Entry)]
    return [each for each in classes if each.__module__.startswith(kind.__name__) and each is not kind.Source]


def _table(entry: type[Entry], without: tuple[type[Entry], ...]) -> str:
    """Keys of an entry, each with what its class' docstring says of it, but for those of other classes."""
    skipped = {key for each in without for key in each.model_fields if key != "kind"} | ({"kind"} if without else set())
    said = {key: text for each in reversed(entry.__mro__) for key, text in _attributes(each).items()}
    rows = ["| key | may be left out | what |", "| --- | --- | --- |"]
    for key, field in entry.model_fields.items():
        if key not in skipped:
            rows.append(
                f"| `{key}` | {'' if field.is_required() else 'yes'} | {said.get(key, '').replace('|', chr(92) + '|')} |"
            )
    return "\n".join(rows) if len(rows) > 2 else "No keys of its own."


def _attributes(entry: type) -> dict[str, str]:
    """What the section `Attributes` of a class' docstring says, by attribute."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.cleandoc(entry.__doc__ or "").partition("Attributes:\n")[2]).splitlines():
        if match := _ATTRIBUTE.match(line):
            name = match[1]
            found[name] = match[2]
        elif line.startswith("        ") and name:
            found[name] += f" {line.strip()}"
    return found


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
