"""Turns a dataset's examples into rows of the packed format."""

import hashlib
import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.boxes import iou
from cnnkeras.images import said
from cnnkeras.jpeg import decode_jpeg, encode_jpeg
from cnnkeras.label_maps import VOID, encode_png
from cnnkeras.protocols import windows
from cnnkeras.resizing import resize
from pipeline import sources
from pipeline.files import image_files
from pipeline.files.published_archives import PublishedArchives
from pipeline.formats.packed import Encoded
from pipeline.formats.proposals import read_proposals
from pipeline.images import annotated
from pipeline.images.annotated import AnnotatedImage
from pipeline.params import Dataset
from pipeline.runtime.errors import InputError
from pipeline.sources import Example
from pipeline.stages.augment import decoding, rows
from pipeline.stages.augment.moments import Moments

MAX_JPEG_SIDE = 65_500  # libjpeg's JPEG_MAX_DIMENSION
CHUNK = 16  # examples a task: enough to make a worker's answer worth sending
VERSIONS = ("albumentations", "numpy", "opencv-python-headless", "pillow")


@dataclass(frozen=True)
class Row:
    """One row of a split, as `SplitWriter.append` takes it."""

    id: str
    fixed: dict[str, np.ndarray]
    ragged: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def inputs(self) -> np.ndarray:
        """The input that a model will read."""
        return decode_jpeg(self.ragged["inputs"]) if "inputs" in self.ragged else self.fixed["inputs"]


@dataclass
class Chunk:
    """The rows of some examples of a split, made by one worker."""

    split: str
    examples: int
    rows: list[Row] = field(default_factory=list)
    moments: Moments = field(default_factory=Moments)
    dropped: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    skipped: list[dict[str, str]] = field(default_factory=list)


class Packer:
    """Turns a dataset's examples into rows of the packed format.

    Args:
        name: The dataset's name.
        dataset: Its entry.
        source: Its source's entry.
        raw: Folder of the source's archives.
        seed: Of params.yaml.

    Raises:
        InputError: The policy or the file of proposals is wrong, or the archives are not of the source's kind.
    """

    def __init__(self, name: str, dataset: Dataset, source: sources.SourceEntry, raw: Path, seed: int):
        self.name, self.dataset, self.source, self._seed = name, dataset, source, seed
        self.where = f"params.yaml: datasets.{name}"
        proposals = dataset.proposals
        self._proposals = read_proposals(proposals.file, proposals.sha256) if proposals else {}
        # A policy that no copy asks for is checked all the same.
        self._policy = self._build_policy() if dataset.augmentation else None
        self.splits: dict[str, Sequence[Example]] = self._open(raw)
        self.classes = sources.class_names(source, raw)
        # Several splits may be drawn from one folder.
        names = frozenset().union(*(getattr(examples, "left_out", ()) for examples in self.splits.values()))
        self.left_out = image_files.count_endings(names)
        others = frozenset().union(*(getattr(examples, "others", ()) for examples in self.splits.values()))
        self.dropped = Counter({sources.OTHER_IMAGES: len(others)} if others else {})
        if self._policy and dataset.copies:
            self._policy.fit(len(self.splits["train"]), self._training_image)

    def _open(self, raw: Path) -> dict[str, Sequence[Example]]:
        examples = sources.load(self.source.kind).examples
        masks = "masks" in tasks.load(self.dataset.task).ANNOTATIONS
        try:
            return {split: examples(self.source, raw, masks=masks, split=split) for split in sources.SPLITS}
        except InputError as error:
            if not isinstance(self.source, PublishedArchives):
                raise
            place = self.source.places(raw)[0]
            raise InputError(f"{error}. `cnnkeras inspect {place}` says what is there") from error

    @property
    def _task(self) -> ModuleType:
        """What rows of the dataset's task have."""
        return rows.load(self.dataset.task)

    def _training_image(self, position: int) -> np.ndarray | None:
        """A training image as it is, stretched to the dataset's size; None for one to be skipped."""
        try:
            _, whole = self._read("train", position)
        except Exception:  # as in `prepare`
            if self.dataset.on_error == "fail":
                raise
            return None
        return resize(whole.image, self.dataset.size)

    @property
    def encoded(self) -> dict[str, Encoded]:
        """The columns of image files, as `SplitWriter` takes them."""
        shape = self.dataset.packed_shape
        images = {} if self.dataset.jpeg_quality is None else {"inputs": ("jpeg", shape)}
        return images if self.dataset.size else {**images, "masks": ("png", shape[:2])}

    def _build_policy(self) -> Any:
        from pipeline.images.augmentation import Policy  # imports albumentations: 2.4 s

        return Policy(
            self.dataset.augmentation,
            f"{self.where}.augmentation",
            boxes="boxes" in tasks.load(self.dataset.task).ANNOTATIONS,
            min_visible_fraction=self.dataset.min_visible_fraction,
        )

    def fingerprint(self) -> str:
        """Of the entries that the bytes depend on, and of the libraries."""
        versions = [importlib.metadata.version(package) for package in VERSIONS]
        return hashlib.sha256(
            repr((self.dataset, self.source, self.classes, self._seed, versions)).encode()
        ).hexdigest()

    def prepare(self, split: str, start: int, stop: int) -> Chunk:
        """Rows of the examples `start` to `stop` of a split.

        Raises:
            InputError: An example is not as it has to be.
        """
        chunk = Chunk(split, stop - start)
        for position in range(start, stop):
            try:
                example, whole = self._read(split, position)
            except Exception as error:  # whatever a damaged file makes its reader raise
                if self.dataset.on_error == "fail":
                    raise
                chunk.skipped.append({"split": split, "reason": _reason(error, position)})
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
        return example, None if _is_signal(example) else decoding.decode(example, len(self.classes))

    def _signal_rows(self, example: Example) -> Iterator[Row]:
        dataset = self.dataset
        if dataset.packed_shape != example.image.shape:
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
        if self.dataset.is_signal:
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
        if self._task.NEEDS_LABEL and example.label is None:
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
        size, quality = self.dataset.stored_size(part.image.shape[:2]), self.dataset.jpeg_quality
        if quality is not None and max(size) > MAX_JPEG_SIDE:
            raise InputError(
                f"{id}: expected sides of at most {MAX_JPEG_SIDE:,} pixels in a JPEG file; received: {max(size):,}"
            )
        inputs = resize(part.image, size)
        fixed, ragged = self._task.columns(part, label, size)
        if self.dataset.size is None:
            fixed = {**fixed, "input_sizes": np.array(size, np.int32)}
            ragged |= {
                name: np.frombuffer(encode_png(fixed.pop(name)), np.uint8) for name in ("masks",) if name in fixed
            }
        if quality is None:
            return Row(id, {"inputs": inputs, **fixed}, ragged)
        return Row(id, fixed, {"inputs": encode_jpeg(inputs, quality), **ragged})

    def _with_original(self, row: Row, part: AnnotatedImage, published: Example | None) -> Row:
        """The row with the original image and annotations: as published, or of an object cut out of it."""
        as_published = published is not None and isinstance(published.image, bytes)
        image = published.image if as_published else annotated.encode(part.image)
        ragged = {"originals": np.frombuffer(image, np.uint8)}
        ragged |= self._task.original_columns(part)
        return Row(row.id, row.fixed | {"sizes": np.array(part.image.shape[:2], np.int32)}, row.ragged | ragged)


def _reason(error: Exception, position: int) -> str:
    """Why an example was skipped; only an `InputError` names it."""
    return str(error) if isinstance(error, InputError) else f"example {position + 1}: {said(error)}"


def _is_signal(example: Example) -> bool:
    return isinstance(example.image, np.ndarray) and example.image.ndim == 2
