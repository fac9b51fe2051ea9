"""Stage `augment`: a source's examples, decoded, augmented, resized and packed into data/augmented/DATASET.

The training split holds each example plain and in `copies` augmented versions; val and test are only resized, and keep
the original beside. A transform sees the image at its own size; what it leaves is stretched to the dataset's size.

Which random numbers a version gets depends on (seed, position of the example, number of the object, number of the copy)
alone, and results are written in order, so the bytes are the same for any number of worker processes.

The splits are written beside their final place, and every `SHARD` examples a journal says how far they are. A run that was
killed is continued there by the next one, if that would read and do the same; its bytes are those of a run in one go.

With `examples: objects` every annotated object that is not difficult is an example: the square around its box, enlarged
by `object_margin` (`annotated.cut_out`). For segmentation the rest of the square is background, as in the first stage
of DeconvNet's training (Noh et al. 2015, section 4.1), and void outside the image.
Departures from the paper: outside the image it has black pixels, this the edge's.

With `examples: proposals`, as in the second stage, the training examples are those object proposals of a file that overlap an
object, with the label map as it is; outside the image they are black and void. Validation and test images stay whole.
Departures from the paper: it takes some images of rare classes several times.
"""

import hashlib
import importlib.metadata
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnnkeras.boxes import iou
from cnnkeras.label_maps import VOID, encode_png, resize_labels
from cnnkeras.protocols import windows
from pipeline import sources
from pipeline.formats.packed import Index, SplitWriter, decode_jpeg, encode_jpeg
from pipeline.formats.proposals import read_proposals
from pipeline.images import annotated
from pipeline.images.annotated import AnnotatedImage
from pipeline.params import Dataset, load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import fingerprint as stage_fingerprint
from pipeline.runtime.guard import stage
from pipeline.runtime.progress import bar
from pipeline.runtime.workers import available, ordered_map
from pipeline.sources import Example
from pipeline.stages.augment import decoding
from pipeline.stages.augment.contact_sheet import draw_contact_sheet
from pipeline.stages.augment.report import Notes, write_report

CHUNK = 16  # examples a task: enough to make a worker's answer worth sending
# Examples, a multiple of CHUNK: what a killed run loses at most; enough for waiting for the disk not to matter.
SHARD = 1024
JOURNAL = "journal.json"
VERSIONS = ("albumentations", "numpy", "opencv-python-headless", "pillow")


def run(name: str, *, workers: int | None = None) -> None:
    """Pack the dataset `name`.

    Args:
        name: Entry under `datasets:`.
        workers: Processes; any number gives the same bytes. Default: as many as there are cores.

    Raises:
        InputError: The dataset is unknown, its source is not there, or an example or the policy is not as it has to be.
    """
    params = load_params()
    dataset = params.dataset(name)
    raw = paths.raw(dataset.source)
    versions, notes = 1 + dataset.copies, Notes()
    outputs = [paths.augmented(name), paths.dataset_report(name)]
    with stage("augment", name, inputs=[raw], outputs=outputs) as (folder, report):
        packer = Packer(name, dataset, params.source(dataset.source), raw, params.seed)
        work = folder.parent / ".packing" / name
        state = stage_fingerprint("augment", name, [raw])
        index = pack(packer, work, workers=workers or available(), state=state, notes=notes)
        for path in work.iterdir():
            path.rename(folder / path.name)
        work.rmdir()
        draw_contact_sheet(folder, name, versions=versions)
        write_report(report, folder, name, versions=versions, leaks=dataset.leaks, notes=notes)
    counts = ", ".join(f"{entry['examples']:,} {split}" for split, entry in index.splits.items())
    left_out = [f"{count:,} {reason} dropped" for reason, count in index.dropped.items()]
    left_out += [f"{len(notes.skipped):,} unreadable skipped"] if notes.skipped else []
    print(f"{name}: {counts}", *left_out, sep="; ")


@dataclass(frozen=True)
class Row:
    """What `SplitWriter.append` takes."""

    id: str
    fixed: dict[str, np.ndarray]
    ragged: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def inputs(self) -> np.ndarray:
        """What a network will read."""
        return decode_jpeg(self.ragged["inputs"]) if "inputs" in self.ragged else self.fixed["inputs"]


class Moments:
    """Count, sum and sum of squares of each channel's values; exact for images, whose values are whole numbers."""

    def __init__(self, inputs: np.ndarray | None = None):
        values = np.empty((0, 1), np.uint8) if inputs is None else inputs.reshape(-1, inputs.shape[-1])
        self._count = len(values)
        if values.dtype == np.uint8:  # by the histograms: five times as fast as sums down the columns
            counts = np.stack([np.bincount(channel, minlength=256) for channel in values.T])
            self._total, self._squares = counts @ np.arange(256), counts @ np.arange(256) ** 2
        else:
            values = values.astype(np.float64)
            self._total, self._squares = values.sum(axis=0), np.square(values).sum(axis=0)

    def __iadd__(self, other: "Moments") -> "Moments":
        self._count += other._count
        self._total = self._total + other._total
        self._squares = self._squares + other._squares
        return self

    def saved(self) -> dict[str, Any]:
        """The same, fit for JSON and exact."""
        return {"count": self._count, "total": self._total.tolist(), "squares": self._squares.tolist()}

    @classmethod
    def restored(cls, saved: dict[str, Any]) -> "Moments":
        """What `saved` gave."""
        moments = cls()
        moments._count, moments._total = saved["count"], np.array(saved["total"])
        moments._squares = np.array(saved["squares"])
        return moments

    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel, to 6 decimals; 1 for a constant channel, to be divided by."""
        mean = self._total / self._count
        std = np.sqrt(np.maximum(self._squares / self._count - mean**2, 0))
        return _rounded(mean), _rounded(np.where(std > 0, std, 1.0))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


@dataclass
class Chunk:
    """What a worker makes of some examples of a split."""

    split: str
    examples: int
    rows: list[Row] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)
    dropped: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)


def pack(packer: "Packer", folder: Path, *, workers: int, state: str = "", notes: Notes | None = None) -> Index:
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
    tasks = [
        (split, start, min(start + CHUNK, len(examples)))
        for split, examples in packer.splits.items()
        for start in range(0, len(examples), CHUNK)
    ]
    notes = Notes() if notes is None else notes
    total = sum(map(len, packer.splits.values()))
    is_jpeg = packer.dataset.jpeg_quality is not None
    image_shape = packer.dataset.input_shape if is_jpeg else None
    journal = Journal.open(folder, f"{state} {packer.fingerprint()}", notes, image_shape)
    prepared = ordered_map(
        _prepare, tasks[journal.chunks :], workers=workers, initializer=_set_packer, arguments=(packer,)
    )
    progress = bar(f"augment {packer.name}", total, unit="examples")
    with journal.left_on_failure(), prepared as chunks, progress as shown:
        shown.begin(journal.examples)
        for chunk in chunks:
            journal.add(chunk)
            shown.update(journal.examples)
    writers, moments, dropped = journal.writers, journal.moments, journal.dropped
    journal.remove()
    splits = {split: writer.close() for split, writer in writers.items()}
    for split, entry in splits.items():
        if not entry["examples"]:
            raise InputError(
                f"{packer.where}: expected examples in the split {split!r}; received: none"
                + (f". Skipped: {notes.skipped[0]['reason']}, ..." if notes.skipped else "")
            )
    mean, std = moments.mean_and_std()
    index = Index(
        task=packer.dataset.task,
        classes=tuple(packer.source.classes),
        shape=packer.dataset.input_shape,
        mean=mean,
        std=std,
        splits=splits,
        dropped=dict(sorted(dropped.items())),
        versions={package: importlib.metadata.version(package) for package in VERSIONS},
    )
    index.write(folder)
    return index


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
        written = self.folder / f".partial-{JOURNAL}"
        written.write_text(json.dumps(saved), encoding="utf-8")
        written.replace(self.folder / JOURNAL)

    def remove(self) -> None:
        """Forget it: the dataset is whole."""
        (self.folder / JOURNAL).unlink(missing_ok=True)


_packer: "Packer"


def _set_packer(packer: "Packer") -> None:
    global _packer
    _packer = packer


def _prepare(task: tuple[str, int, int]) -> Chunk:
    return _packer.prepare(*task)


class Packer:
    """Turns a dataset's examples into rows of the packed format.

    Args:
        name: The dataset's name.
        dataset: Its entry.
        source: Its source's entry.
        raw: Folder of the source's archives.
        seed: Of params.yaml.

    Raises:
        InputError: Keys of the entry exclude each other, the policy is wrong, or the archives are not of the source's
            kind.
    """

    def __init__(self, name: str, dataset: Dataset, source: sources.SourceEntry, raw: Path, seed: int):
        self.name, self.dataset, self.source, self._seed = name, dataset, source, seed
        self.where = f"params.yaml: datasets.{name}"
        if dataset.examples != "images" and dataset.task == "detection":
            raise InputError(f"{self.where}.examples: expected 'images' for detection; received: {dataset.examples!r}")
        self._proposals = self._read_proposals()
        # A policy that no copy asks for is checked all the same.
        self._policy = self._build_policy() if dataset.copies or dataset.augmentation else None
        examples = sources.load(source.kind).examples
        self.splits: dict[str, Sequence[Example]] = {
            split: examples(source, raw, task=dataset.task, split=split) for split in sources.SPLITS
        }
        if self._policy and dataset.copies:
            self._policy.fit(len(self.splits["train"]), self._training_image)

    def _read_proposals(self) -> dict[str, list[windows.Proposal]]:
        dataset = self.dataset
        if (dataset.examples == "proposals") != (dataset.proposals is not None):
            raise InputError(
                f"{self.where}: expected `proposals:` with examples: proposals, and only then; "
                f"received: examples: {dataset.examples}"
            )
        if dataset.proposals is None:
            return {}
        if dataset.task != "segmentation":
            raise InputError(
                f"{self.where}.examples: expected 'images' or 'objects' for {dataset.task}; received: 'proposals'"
            )
        return read_proposals(dataset.proposals.file, dataset.proposals.sha256)

    def _training_image(self, position: int) -> np.ndarray | None:
        """A training image as it is, stretched to the dataset's size; None for one to be skipped."""
        try:
            _, whole = self._read("train", position)
        except InputError:
            if self.dataset.on_error == "fail":
                raise
            return None
        return annotated.resize(whole.image, self.dataset.size)

    def _build_policy(self) -> Any:
        if not self.dataset.augmentation:
            raise InputError(
                f"{self.where}.augmentation: expected transforms for the {self.dataset.copies} copies; received: none. "
                "Without any, all copies would be equal: set copies to 0"
            )
        from pipeline.images.augmentation import Policy  # imports albumentations: 2.4 s

        return Policy(self.dataset.augmentation, f"{self.where}.augmentation", boxes=self.dataset.task == "detection")

    def fingerprint(self) -> str:
        """Of the entries that the bytes depend on, and of the libraries."""
        versions = [importlib.metadata.version(package) for package in VERSIONS]
        return hashlib.sha256(repr((self.dataset, self.source, self._seed, versions)).encode()).hexdigest()

    def prepare(self, split: str, start: int, stop: int) -> Chunk:
        """Rows of the examples `start` to `stop` of a split.

        Raises:
            InputError: An example is not as it has to be.
        """
        chunk = Chunk(split, stop - start)
        for position in range(start, stop):
            try:
                example, whole = self._read(split, position)
            except InputError as error:
                if self.dataset.on_error == "fail":
                    raise
                chunk.skipped.append({"split": split, "reason": str(error)})
                continue
            chunk.dropped.update(example.dropped)
            if whole is None:
                chunk.rows.extend(self._signal_rows(example))
                continue
            chunk.sizes[whole.image.shape[:2]] += 1
            chunk.rows.extend(self._rows(split, position, example, whole))
        if split == "train":
            for row in chunk.rows:
                chunk.moments += Moments(row.inputs)
        return chunk

    def _read(self, split: str, position: int) -> tuple[Example, AnnotatedImage | None]:
        """An example and, unless it is a signal, its image."""
        example = self.splits[split][position]
        return example, None if _is_signal(example) else decoding.decode(example, len(self.source.classes))

    def _signal_rows(self, example: Example) -> Iterator[Row]:
        dataset = self.dataset
        if dataset.input_shape != example.image.shape:
            raise InputError(
                f"{self.where}.size: expected [{len(example.image)}], the signals' length; "
                f"received: {list(dataset.size)}"
            )
        if dataset.copies or dataset.examples != "images":
            raise InputError(
                f"{self.where}: expected copies: 0 and examples: images for signals; received: other values"
            )
        yield Row(example.id, {"inputs": example.image, "labels": np.int32(example.label)})

    def _rows(self, split: str, position: int, example: Example, whole: AnnotatedImage) -> Iterator[Row]:
        if len(self.dataset.size) != 2:
            raise InputError(
                f"{self.where}.size: expected [height, width] for images; received: {list(self.dataset.size)}"
            )
        is_cut = split == "train" and self.dataset.proposals is not None
        parts = self._proposed(example, whole) if is_cut else self._parts(example, whole)
        for number, (id, label, part) in enumerate(parts):
            row = self._row(id, label, part)
            if split != "train":
                yield self._with_original(row, part, example if part is whole else None)
                continue
            yield row
            for copy in range(self.dataset.copies):
                seed = np.random.SeedSequence([self._seed, position, number, copy])
                yield self._row(f"{id}+{copy + 1}", label, self._policy.apply(part, seed))

    def _parts(self, example: Example, whole: AnnotatedImage) -> Iterator[tuple[str, int | None, AnnotatedImage]]:
        """Id, class and content of what is an example of this dataset: the whole image, or its objects."""
        if self.dataset.examples == "objects":
            if whole.boxes is None:
                raise InputError(
                    f"{self.where}.examples: expected 'images', as {example.id} has no boxes; received: 'objects'"
                )
            for number in np.flatnonzero(~whole.difficult):
                label = int(whole.labels[number])
                yield f"{example.id}.{number + 1}", label, annotated.cut_out(whole, number, self.dataset.object_margin)
            return
        if self.dataset.task == "classification" and example.label is None:
            raise InputError(
                f"{self.where}.examples: expected 'objects', as images of this source have no class of their own; "
                "received: 'images'"
            )
        yield example.id, example.label, whole

    def _proposed(self, example: Example, whole: AnnotatedImage) -> Iterator[tuple[str, None, AnnotatedImage]]:
        """Id and content of the proposals of an image that overlap an object enough."""
        if whole.boxes is None:
            raise InputError(
                f"{self.where}.examples: expected 'images', as {example.id} has no boxes; received: 'proposals'"
            )
        settings = self.dataset.proposals
        boxes = windows.surest(
            self._proposals.get(example.id, ()), max_proposals=settings.max_proposals, min_side=settings.min_side
        )
        objects = whole.boxes[~whole.difficult]
        overlaps = iou(np.array(boxes, np.float64).reshape(-1, 1, 4), objects)
        for number in np.flatnonzero((overlaps >= settings.min_overlap).any(axis=1)):
            box = windows.enlarge(boxes[number], settings.margin)
            image, mask = windows.window(whole.image, box, 0), windows.window(whole.mask, box, VOID)
            yield f"{example.id}.{number + 1}", None, AnnotatedImage(image, mask=mask)

    def _row(self, id: str, label: int | None, part: AnnotatedImage) -> Row:
        size, quality = self.dataset.size, self.dataset.jpeg_quality
        inputs = annotated.resize(part.image, size)
        row = Row(id, {"inputs": inputs}) if quality is None else Row(id, {}, {"inputs": encode_jpeg(inputs, quality)})
        if self.dataset.task == "classification":
            row.fixed["labels"] = np.int32(label)
        elif self.dataset.task == "segmentation":
            row.fixed["masks"] = resize_labels(part.mask, size)
        else:
            height, width = part.image.shape[:2]
            boxes = (part.boxes / [width, height, width, height]).astype(np.float32)
            row.ragged.update(boxes=boxes, box_labels=part.labels, difficult=part.difficult)
        return row

    def _with_original(self, row: Row, part: AnnotatedImage, published: Example | None) -> Row:
        """The row with the original image and annotations: as published, or of an object cut out of it."""
        as_published = published is not None and isinstance(published.image, bytes)
        image = published.image if as_published else annotated.encode(part.image)
        ragged = {"originals": np.frombuffer(image, np.uint8)}
        if self.dataset.task == "detection":
            ragged["original_boxes"] = part.boxes
        if self.dataset.task == "segmentation":
            ragged["original_masks"] = np.frombuffer(encode_png(part.mask), np.uint8)
        return Row(row.id, row.fixed | {"sizes": np.array(part.image.shape[:2], np.int32)}, row.ragged | ragged)


def _is_signal(example: Example) -> bool:
    return isinstance(example.image, np.ndarray) and example.image.ndim == 2
