"""Puts the new outputs of a stage in the place of the former ones, all or none, also if the process is killed or the power fails.

Files cannot be replaced several at a time. So the new ones are complete and on the disk first; then a note says which path goes where
(`.cnnkeras/publishing/train@yolo.json`); then they are moved, and the note is deleted. A kill before the note leaves all former outputs,
and whoever finds a note moves what is left to move.
"""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.replacing import flush, remove, replacing
from pipeline.runtime.signals import signals_held


def publish(label: str, outputs: Mapping[Path, Path]) -> None:
    """Replace the former outputs of a stage by the new ones. Signals wait meanwhile.

    Args:
        label: DVC's name for the stage, whose lock this process holds.
        outputs: Final paths of the outputs, by the paths at which the new ones lie beside them.
    """
    for partial in outputs:
        for path in (partial, *(partial.rglob("*") if partial.is_dir() else ())):
            flush(path)
    moves = [[str(path.relative_to(paths.root())) for path in pair] for pair in outputs.items()]
    with signals_held():
        with replacing(_note(label)) as file:
            file.write_text(json.dumps(moves), encoding="utf-8")
            flush(file)
        flush(_note(label).parent)
        finish(label)


def finish(label: str) -> None:
    """Move what a killed run of a stage has not moved. The caller holds the stage's lock."""
    note = _note(label)
    if not note.is_file():
        return
    moves = [[paths.root() / path for path in pair] for pair in json.loads(note.read_text(encoding="utf-8"))]
    for partial, output in moves:
        former = output.with_name(f".partial-replaced-{output.name}")
        if partial.exists():
            remove(former)
            if output.is_dir():  # a folder, unlike a file, cannot be replaced in one step
                output.rename(former)
            partial.replace(output)
        remove(former)
    for folder in {output.parent for _, output in moves}:
        flush(folder)
    note.unlink()


def finish_others() -> None:
    """Move what killed runs of any stage have not moved; stages that run now are left alone."""
    for note in sorted(_note("any").parent.glob("[!.]*.json")):
        label = note.name.removesuffix(".json")
        with paths.lock(label).open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            finish(label)


def _note(label: str) -> Path:
    return paths.state() / "publishing" / f"{label}.json"
