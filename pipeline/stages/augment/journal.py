"""How far the packing of a dataset is: saved at the end of each shard, so that a run that was killed is continued by the next one."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import sources
from pipeline.formats.packed import SplitWriter
from pipeline.runtime.replacing import replacing
from pipeline.stages.augment.moments import Moments
from pipeline.stages.augment.packer import CHUNK, Chunk
from pipeline.stages.augment.report import Notes

# Examples, a multiple of CHUNK: what a killed run loses at most; enough for waiting for the disk not to matter.
SHARD = 1024
JOURNAL = "journal.json"


@dataclass
class Journal:
    """How far the writing of a dataset is, so that another run can continue it.

    Attributes:
        folder: Of the dataset.
        fingerprint: Of everything that its bytes depend on.
        writers: Of the splits.
        notes: What the dataset does not hold, so far.
        chunks: How many have been written.
        examples: How many those hold.
        moments: Of the training split so far.
        dropped: What was left out so far.
    """

    folder: Path
    fingerprint: str
    writers: dict[str, SplitWriter]
    notes: Notes
    chunks: int = 0
    examples: int = 0
    moments: Moments = field(default_factory=Moments)
    dropped: Counter = field(default_factory=Counter)

    @classmethod
    def open(cls, folder: Path, fingerprint: str, notes: Notes, image_shape: tuple[int, ...] | None) -> "Journal":
        """The journal of an earlier run, if that was the same and can be continued; a new one otherwise."""
        writers: dict[str, SplitWriter] = {}
        try:
            saved = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
            if saved["fingerprint"] == fingerprint:
                for split in sources.SPLITS:
                    writers[split] = SplitWriter(folder / split, saved["splits"][split], image_shape=image_shape)
                moments, dropped = Moments.restored(saved["moments"]), Counter(saved["dropped"])
                notes.restore(saved["notes"])
                return cls(folder, fingerprint, writers, notes, saved["chunks"], saved["examples"], moments, dropped)
        except (OSError, EOFError, ValueError, KeyError):
            # There is none, or what it names is not there.
            for writer in writers.values():
                writer.abandon()
        for split in sources.SPLITS:
            shutil.rmtree(folder / split, ignore_errors=True)
        writers = {split: SplitWriter(folder / split, image_shape=image_shape) for split in sources.SPLITS}
        return cls(folder, fingerprint, writers, notes)

    @contextmanager
    def left_on_failure(self) -> Iterator[None]:
        """When the block fails, leave what is written to the next run."""
        try:
            yield
        except BaseException:
            for writer in self.writers.values():
                writer.abandon()
            raise

    def add(self, chunk: Chunk) -> None:
        """Write a chunk; at the end of a shard, save how far everything is."""
        for row in chunk.rows:
            self.writers[chunk.split].append(row.id, fixed=row.fixed, ragged=row.ragged)
        if chunk.split == "train":
            self.moments += chunk.moments
        self.dropped += chunk.dropped
        self.notes.sizes[chunk.split] += chunk.sizes
        self.notes.skipped += chunk.skipped
        self.chunks += 1
        self.examples += chunk.examples
        if self.chunks % (SHARD // CHUNK) == 0:
            self._save()

    def _save(self) -> None:
        saved = {
            "fingerprint": self.fingerprint,
            "chunks": self.chunks,
            "examples": self.examples,
            "moments": self.moments.saved(),
            "dropped": self.dropped,
            "notes": self.notes.saved(),
            "splits": {split: writer.save() for split, writer in self.writers.items()},
        }
        with replacing(self.folder / JOURNAL) as partial:
            partial.write_text(json.dumps(saved), encoding="utf-8")

    def remove(self) -> None:
        """Forget it: the dataset is whole."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
