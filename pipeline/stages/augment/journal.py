"""The journal of a packing: saved after each shard, so that the next run continues a run that was killed."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import sources
from pipeline.formats.packed import Encoded, SplitWriter
from pipeline.runtime.replacing import replacing
from pipeline.stages.augment.moments import Moments
from pipeline.stages.augment.packer import CHUNK, Chunk
from pipeline.stages.augment.report import Notes

# Examples between two saves, a multiple of CHUNK: a killed run loses at most these; large enough that saving costs no time.
SHARD = 1024
JOURNAL = "journal.json"


@dataclass
class Journal:
    """The progress of a packing, and everything that another run needs to continue it.

    Attributes:
        folder: Folder of the dataset.
        fingerprint: Digest of everything that the dataset's bytes depend on.
        writers: A writer for each split.
        notes: Sizes of images, and skipped examples, so far.
        chunks: Number of chunks written so far.
        examples: Number of examples in those chunks.
        moments: Moments of the training inputs so far.
        dropped: Counts of dropped annotations so far, by reason.
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
    def open(cls, folder: Path, fingerprint: str, notes: Notes, encoded: Mapping[str, Encoded]) -> "Journal":
        """The journal of an earlier run with the same fingerprint, if its files are still there; otherwise a new one."""
        writers: dict[str, SplitWriter] = {}
        try:
            saved = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
            if saved["fingerprint"] == fingerprint:
                for split in sources.SPLITS:
                    writers[split] = SplitWriter(folder / split, saved["splits"][split], encoded=encoded)
                moments, dropped = Moments.restored(saved["moments"]), Counter(saved["dropped"])
                notes.restore(saved["notes"])
                return cls(folder, fingerprint, writers, notes, saved["chunks"], saved["examples"], moments, dropped)
        except (OSError, EOFError, ValueError, KeyError):
            # There is no journal, or a file that it names is missing.
            for writer in writers.values():
                writer.abandon()
        for split in sources.SPLITS:
            shutil.rmtree(folder / split, ignore_errors=True)
        writers = {split: SplitWriter(folder / split, encoded=encoded) for split in sources.SPLITS}
        return cls(folder, fingerprint, writers, notes)

    @contextmanager
    def left_on_failure(self) -> Iterator[None]:
        """If the block fails, close the files as they are, so that the next run can continue them."""
        try:
            yield
        except BaseException:
            for writer in self.writers.values():
                writer.abandon()
            raise

    def add(self, chunk: Chunk) -> None:
        """Write a chunk; at the end of a shard, save the journal."""
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
        """Delete the journal: the dataset is complete."""
        (self.folder / JOURNAL).unlink(missing_ok=True)
