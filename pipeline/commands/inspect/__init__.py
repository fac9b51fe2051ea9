"""`cnnkeras inspect`: says what a folder or an archive is, counts it, draws it, and suggests entries for params.yaml.

`kinds/` recognises, `counting.py` reads by the kind's own reader, `entries.py` suggests, `writing.py` adds to params.yaml. Nothing is
copied or unpacked, and no network is run.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import click
from pydantic import TypeAdapter, ValidationError

from pipeline import sources
from pipeline.commands.inspect import counting, kinds
from pipeline.commands.inspect.data import Data, Found, several
from pipeline.commands.inspect.entries import as_yaml, name_of, suggested
from pipeline.commands.inspect.writing import checked, refuse_known_names, with_entries, write
from pipeline.files.archives import Archives
from pipeline.files.image_files import by_ending
from pipeline.files.local import LocalFile, write_listing
from pipeline.params.parsed import ParsedFile
from pipeline.params.values import Name
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

FOLDER = "inspect"  # in the current folder


def run(path: str, *, name: str | None, task: str | None, output: Path | None, add: bool) -> None:
    """Inspect a folder or an archive.

    Args:
        path: Where it is, from the current folder.
        name: Of the entries; None: from the path.
        task: What the data are to be prepared for; None: the most telling of what they can be.
        output: File for the contact sheet; None: inspect/NAME.png in the current folder.
        add: Whether to add the entries to params.yaml.

    Raises:
        InputError: There is nothing at the path, no kind of source reads it, a name is taken, or params.yaml is wrong.
    """
    file = ParsedFile(paths.params_file())
    if not Path(path).exists():
        raise InputError(f"expected a folder or an archive; received: {path!r}, and nothing is there")
    name = _checked_name(name or name_of(str(Path(path).absolute())))
    text = paths.params_file().read_bytes().decode("utf-8")
    with tempfile.TemporaryDirectory(prefix="cnnkeras-") as folder:
        data = _opened(_as_entry(path), Path(folder))
        found = recognised(data)
        task = _task(found, task)
        kind = sources.load(found.kind)
        source = _source(kind, found, data.path)
        raw = Path(folder) / "raw"
        raw.mkdir()
        kind.fetch(source, raw, mirrors=[])
        counts = counting.count(kind, source, raw, task)
        classes = sources.class_names(source, raw)
        entries = suggested(found, counting.summary(counts), name=name, path=data.path, task=task, classes=len(classes))
        sheet = Path(FOLDER) / f"{name}.png" if output is None else output
        title, subtitle = f"{name} · {found.what}", "training split, as published"
        with replacing(sheet) as partial:
            partial.write_bytes(counting.draw(counts, classes, title=title, subtitle=subtitle))
    if add:
        refuse_known_names(file, entries)
        new = with_entries(text, entries)
        checked(new, file, entries)
    _say(path, found, counts, classes, sheet)
    if add:
        write(new)
        click.echo(
            f"added to {paths.PARAMS}: {', '.join(f'{section}.{key}' for section in entries for key in entries[section])}"
        )
    else:
        for section, named in entries.items():
            click.echo(f"\n{section}:\n" + "".join(as_yaml({key: entry}, 2) for key, entry in named.items()), nl=False)
        if known := [
            f"{part}.{key}" for part in entries for key in entries[part] if key in (file.plain.get(part) or ())
        ]:
            click.echo(f"\n{paths.PARAMS} has {', '.join(known)} already: --name calls these otherwise", err=True)
    click.echo(f"\nNext: {'' if add else '`--write` adds them; then '}`cnnkeras plan`, and `dvc repro`", err=True)


def _checked_name(name: str) -> str:
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        reason = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"--name: {reason}") from error


def _as_entry(path: str) -> str:
    """A path as params.yaml has it: from the project's folder, unless it was given as an absolute one."""
    if Path(path).is_absolute():
        return os.path.normpath(path)
    return PurePosixPath(os.path.relpath(path, paths.home())).as_posix()


def _opened(path: str, folder: Path) -> Data:
    file = LocalFile(path=path)
    write_listing(file, folder)
    return Data(path, paths.local(path), Archives([folder / file.name]))


def recognised(data: Data) -> Found:
    """What the data are.

    Raises:
        InputError: No kind of source reads them; the message says what there is.
    """
    for name in sorted(kinds.names(), key=lambda name: (kinds.load(name).RANK, name)):
        if found := kinds.load(name).recognise(data):
            return found
    endings = Counter(PurePosixPath(each).suffix.lower() for each in data.names)
    if not data.images:
        raise InputError(f"{data.path}: expected images; received: {by_ending(data.names) if endings else 'no files'}")
    listed = ", ".join(kinds.names())
    raise InputError(
        f"{data.path}: expected data of a kind that is known ({listed}); received: {len(data.images):,} images without labels "
        f"that are recognised, such as {several(data.images)}, and {by_ending(set(data.names) - set(data.images)) or 'nothing else'}. "
        "The simplest layout is a folder per class: cats/1.jpg, dogs/1.jpg"
    )


def _task(found: Found, task: str | None) -> str:
    if task is not None and task not in found.tasks:
        raise InputError(f"--task: expected {' or '.join(found.tasks)}, as {found.what} has; received: {task}")
    return task or found.tasks[0]


def _source(kind: Any, found: Found, path: str) -> Any:
    entry = {"kind": found.kind, **(found.files or {"files": [{"path": path}]}), **found.entry}
    try:
        return kind.Source.model_validate(entry)
    except ValueError as error:
        reason = str(error.errors(include_url=False)[0]["msg"] if hasattr(error, "errors") else error)
        raise InputError(
            f"{path}: expected {found.what} that a source of kind {found.kind} reads; received: {reason}"
        ) from error


def _say(path: str, found: Found, counts: counting.Counts, classes: Any, sheet: Path) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{path}: {found.what} (kind {found.kind})", style="bold")
    for line in counting.lines(counts, classes):
        console.print(f"  {line}")
    for sentence in [*found.odd, *counting.sentences(counts, classes)]:
        console.print(f"  odd: {sentence}")
    console.print(f"  drawn in {sheet}")
