"""The two files that DVC writes in place, so that a kill can leave them cut or empty: dvc.lock and .dvc/tmp/rwlock.

DVC refuses every later command over either of them. A good dvc.lock is copied to .cnnkeras/dvc.lock whenever a stage starts, when
`cnnkeras plan` has read it and when `cnnkeras repro` ends. `repair` puts the copy back. The record of a stage that the copy lacks is not
lost: DVC keeps a record of each run in its cache as well, and takes the outputs from there instead of running the stage again.

`.dvc/tmp/rwlock` lists which DVC process reads or writes what at the moment; it means nothing once those processes have ended.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lazy_loader
from ruamel.yaml import YAML, YAMLError

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import flush, replacing

psutil = lazy_loader.load("psutil")  # every stage imports this module, few commands look at processes

_TAKES_DVC_SECONDS = 3.0  # DVC itself waits so long for its lock
# DVC's commands that run stages or move their outputs. Others, such as `dvc exp show`, only look.
_CHANGING = frozenset(("repro", "run", "commit", "checkout", "pull", "add", "remove", "move", "gc"))
_COMMANDS = frozenset(("dvc", "pipeline.commands.dvc_process"))
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)  # git's marks
_BLOCK = re.compile(r"^  (\S.*):$", re.MULTILINE)  # the line that begins a stage's record in dvc.lock


def repair() -> list[str]:
    """Repair what a kill has left cut; returns a sentence for each repaired file.

    Nothing is touched while DVC writes.

    Raises:
        InputError: .dvc/tmp/rwlock is unreadable while a DVC runs, or dvc.lock has conflicts of a merge.
    """
    with _dvc_stands_still() as is_still:
        if not is_still:
            return []
        return [sentence for sentence in (_repair_rwlock(), _repair_lock()) if sentence]


def keep() -> None:
    """Copy dvc.lock, if it is good, for `repair`."""
    text, copy = _text(_lock_file()), _text(_copy())
    if text in (None, copy) or _is_damaged(text, copy):
        return
    with suppress(OSError):  # where nothing may be written, git has the last version
        _copy().parent.mkdir(parents=True, exist_ok=True)
        # Stages that start at the same time each write a file of their own.
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=_copy().parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(_copy())


def order(labels: Iterable[str]) -> None:
    """Put the records in dvc.lock into an order, so that the file does not depend on which stage ended first.

    Args:
        labels: DVC's names of the stages in that order; others follow in alphabetical order.
    """
    with _dvc_stands_still() as is_still:
        text = _text(_lock_file())
        if not is_still or _stages(text) is None:
            return
        head, *parts = _BLOCK.split(text)
        blocks = dict(zip(parts[::2], parts[1::2], strict=True))
        if any(line and not line.startswith(" ") for block in blocks.values() for line in block.splitlines()):
            return  # sections other than the stages'
        positions = {label: position for position, label in enumerate(labels)}
        names = sorted(blocks, key=lambda name: (positions.get(name, len(positions)), name))
        ordered = head + "".join(f"  {name}:{blocks[name]}" for name in names)
        if ordered != text:
            _write(ordered)


def running() -> list[str]:
    """The DVC processes that run stages of this project or move outputs, as `process 4711 (dvc repro)`; this process' own ones not."""
    return [_in_words(pid, arguments) for pid, arguments in _others().items() if _CHANGING.intersection(arguments)]


def _in_words(pid: int, arguments: list[str]) -> str:
    return f"process {pid} (`{' '.join(['dvc', *arguments])}`)"


def _others() -> dict[int, list[str]]:
    """Arguments of all DVC processes of this project by their number, without this process' parents and children."""
    this = psutil.Process()
    own = {process.pid for process in (this, *this.parents(), *this.children(recursive=True))}
    found = {process.pid: _arguments(process) for process in psutil.process_iter() if process.pid not in own}
    return {pid: arguments for pid, arguments in found.items() if arguments}


def _arguments(process: psutil.Process) -> list[str]:
    """The arguments of a DVC process of this project; empty for any other process."""
    with suppress(psutil.Error, OSError):
        command = process.cmdline()
        positions = [position for position, part in enumerate(command[:3]) if Path(part).name in _COMMANDS]
        if not positions or process.status() == psutil.STATUS_ZOMBIE:
            return []
        if Path(process.cwd()).is_relative_to(paths.root()):
            return command[positions[0] + 1 :]
    return []


@contextmanager
def _dvc_stands_still() -> Iterator[bool]:
    """Hold the lock under which DVC reads and writes its files; yields False if DVC keeps it, if there is no DVC here, or in a read-only place."""
    folder = _rwlock_file().parent
    if not os.access(folder if folder.is_dir() else folder.parent, os.W_OK):
        yield False
        return
    folder.mkdir(exist_ok=True)
    deadline = time.monotonic() + _TAKES_DVC_SECONDS
    with (folder / "lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.05)
            else:
                yield True
                return


def _repair_rwlock() -> str:
    file = _rwlock_file()
    text = _text(file)
    holders = set() if text is None else _holders(text)
    if holders is not None and not any(map(psutil.pid_exists, holders)):
        return ""  # DVC itself passes over processes that are gone
    others = _others()
    if holders is None and others:
        raise InputError(
            f"{_name(file)}: expected DVC's list of what its processes read and write; received: a damaged file, while "
            f"{' and '.join(_in_words(*other) for other in others.items())} runs. End it, then run `cnnkeras plan`"
        )
    if others:
        return ""
    file.unlink()
    if holders is None:
        return f"{_name(file)} was damaged, by the end of a DVC that was writing it; removed: no DVC runs here"
    return f"{_name(file)} named process {min(holders)}, which is no DVC that runs here; removed"


def _holders(text: str) -> set[int] | None:
    """The processes that read or write something, by the text of an rwlock; None if it is none."""
    try:
        content = json.loads(text)
        written = list(content.get("write", {}).values())
        read = [holder for holders in content.get("read", {}).values() for holder in holders]
        return {int(holder["pid"]) for holder in (*written, *read)}
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _repair_lock() -> str:
    file, text, copy = _lock_file(), _text(_lock_file()), _text(_copy())
    if text in (None, copy) or not _is_damaged(text, copy):
        return ""
    if _CONFLICT.search(text):
        raise InputError(
            f"{_name(file)}: expected DVC's records; received: a conflict of a merge, which nobody has resolved. Take one side, "
            f"`git checkout --ours {_name(file)}`, and run `dvc repro`"
        )
    damaged = _copy().with_name(f"{file.name}.damaged")
    damaged.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, damaged)
    if copy is not None:
        _write(copy)
        source = f"as it was at {time.strftime('%H:%M:%S on %d %B', time.localtime(_copy().stat().st_mtime))}"
    elif _stages(committed := _committed()) is not None:
        _write(committed)
        source = "as git has it"
    else:
        file.unlink()
        source = "empty, as there is no copy"
    return (
        f"{_name(file)} was damaged, by the end of a DVC that was writing it; it is there again, {source}. What it lacks, "
        f"DVC takes from its cache, if it is there, without running it. The damaged file is {_name(damaged)}"
    )


def _is_damaged(text: str, copy: str | None) -> bool:
    return _stages(text) is None or (_is_cut(text, copy) and text != _committed())


def _stages(text: str | None) -> Mapping[str, Any] | None:
    """The records in the text of a dvc.lock; None if it is none that DVC can read, or has no end."""
    if text is None or not text.endswith("\n"):
        return None
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError:
        return None
    stages = content.get("stages") if isinstance(content, dict) and "schema" in content else None
    is_whole = isinstance(stages, dict) and all(
        isinstance(record, dict) and {"cmd", "outs"} <= record.keys() for record in stages.values()
    )
    return stages if is_whole else None


def _is_cut(text: str, copy: str | None) -> bool:
    """Whether the text lacks records at its end that the copy has: it was cut between two of them, and reads like a whole file."""
    names, known = _BLOCK.findall(text), _BLOCK.findall(copy or "")
    return len(names) < len(known) and names == known[: len(names)]


def _committed() -> str | None:
    """The text of dvc.lock in git's last commit; None if there is none."""
    with suppress(OSError):
        shown = subprocess.run(
            ["git", "show", f"HEAD:./{_lock_file().name}"], cwd=paths.root(), capture_output=True, check=False
        )
        return shown.stdout.decode("utf-8", "replace") if shown.returncode == 0 else None
    return None


def _write(text: str) -> None:
    with replacing(_lock_file()) as partial:
        partial.write_text(text, encoding="utf-8")
        flush(partial)


def _text(file: Path) -> str | None:
    """The text of a file; None if there is no file."""
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        return None


def _name(file: Path) -> str:
    return str(file.relative_to(paths.root()))


def _lock_file() -> Path:
    return paths.root() / "dvc.lock"


def _copy() -> Path:
    return paths.state() / "dvc.lock"


def _rwlock_file() -> Path:
    return paths.root() / ".dvc" / "tmp" / "rwlock"
