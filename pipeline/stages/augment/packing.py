"""Writes a dataset's splits, by worker processes, from where an earlier run was ended."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.formats.packed import Index
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import bar
from pipeline.runtime.workers import ordered_map
from pipeline.stages.augment.journal import Journal
from pipeline.stages.augment.packer import CHUNK, VERSIONS, Chunk, Packer
from pipeline.stages.augment.report import Notes


def pack(packer: Packer, folder: Path, *, workers: int, state: str = "", notes: Notes | None = None) -> Index:
    """Write a dataset's splits and their index into `folder`, from where an earlier run of the same `state` was ended.

    Args:
        packer: What to write.
        folder: Where.
        workers: Processes.
        state: Names everything that the bytes depend on besides the packer's entries.
        notes: Takes what the dataset does not hold.

    Raises:
        InputError: An example is not as it has to be, or a split has none.
    """
    notes = Notes() if notes is None else notes
    journal = Journal.open(folder, f"{state} {packer.fingerprint()}", notes, packer.encoded)
    _write(packer, journal, workers)
    journal.remove()
    splits = {split: writer.close() for split, writer in journal.writers.items()}
    _require_examples(packer, splits, notes)
    mean, std = journal.moments.mean_and_std()
    index = Index(
        task=packer.dataset.task,
        classes=packer.classes,
        shape=packer.dataset.packed_shape,
        mean=mean,
        std=std,
        splits=splits,
        dropped=dict(sorted((journal.dropped + packer.dropped).items())),
        versions={package: importlib.metadata.version(package) for package in VERSIONS},
    )
    index.write(folder)
    return index


def _write(packer: Packer, journal: Journal, workers: int) -> None:
    """Write the chunks that the journal does not have yet."""
    chunks = [
        (split, start, min(start + CHUNK, len(examples)))
        for split, examples in packer.splits.items()
        for start in range(0, len(examples), CHUNK)
    ]
    prepared = ordered_map(
        _prepare, chunks[journal.chunks :], workers=workers, initializer=_set_packer, arguments=(packer,)
    )
    progress = bar(f"augment {packer.name}", sum(map(len, packer.splits.values())), unit="examples")
    with journal.left_on_failure(), prepared as results, progress as shown:
        shown.begin(journal.examples)
        for chunk in results:
            journal.add(chunk)
            shown.update(journal.examples)


def _require_examples(packer: Packer, splits: Mapping[str, Any], notes: Notes) -> None:
    for split, entry in splits.items():
        if not entry["examples"]:
            raise InputError(
                f"{packer.where}: expected examples in the split {split!r}; received: none"
                + (f". Skipped: {notes.skipped[0]['reason']}, ..." if notes.skipped else "")
            )


_packer: Packer


def _set_packer(packer: Packer) -> None:
    global _packer
    _packer = packer


def _prepare(chunk: tuple[str, int, int]) -> Chunk:
    return _packer.prepare(*chunk)
