"""What a training reads: inputs and targets of a packed split, its images augmented anew in each epoch where asked for.

Which random numbers an image gets depends on (seed, epoch, its row in the split) alone, so batches are the same for any
number of worker processes, and for a training that starts again at any epoch.

Worker processes prepare batches while the network is busy with those before. They are forked before Keras is imported - no fork
copies the threads of its backend, and none has TensorFlow - and write into memory that they share with this process: sent through
a pipe, images take longer than light transforms do. On two cores threads do as well, by themselves with shared memory: what they
cost the training's own code by Python's lock depends on the machine's other work (`delay` in benchmarks/results/loader.json: 0.2 ms
beside 0.6 ms of processes on a machine at rest; 1.1 beside 0.4 ms on a busy one). Of more cores, transforms that hold the lock leave threads one.
"""

import math
import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from cnnkeras import tasks
from pipeline.formats.packed import Images, Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.principal_components import evenly_spaced
from pipeline.runtime.errors import InputError
from pipeline.runtime.workers import pool

if TYPE_CHECKING:
    from pipeline.images.augmentation import Policy, Transforms

CHUNK = 16  # images a task: few enough for several workers to share a batch
TRIED = 32  # images that a policy is tried on before the training

Batch = tuple[np.ndarray, np.ndarray]
Objects = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes as fractions of the image, labels, whether difficult


_ANNOTATIONS = {
    "classification": ("labels",),
    "segmentation": ("masks",),
    "detection": ("boxes", "box_labels", "difficult"),
}


class Reader:
    """Inputs and targets of some examples of a split.

    Args:
        columns: The split.
        task: classification, detection or segmentation.
        seed: Of the training: augmentation, and which of two objects gets a cell of YOLO's grid.
        grid: Cells along a side, for detection.
        classes: How many there are, for detection.
        policy: Augments the images; none: they are as they are packed.
        where: The policy's place in params.yaml, for messages.
    """

    def __init__(
        self,
        columns: Split,
        task: str,
        *,
        seed: int,
        grid: int,
        classes: int,
        policy: "Policy | None" = None,
        where: str = "",
    ):
        self.inputs, self._task, self._seed = columns["inputs"], task, seed
        self._grid, self._classes = grid, classes
        self._policy, self._where = policy, where
        self._annotations = [columns[name] for name in _ANNOTATIONS[task]]

    def __call__(self, indices: np.ndarray, epoch: int) -> Batch:
        """Inputs and targets of these rows, int64 (batch,), in an epoch.

        Raises:
            InputError: The policy does not fit an image.
        """
        if self._policy is None:
            return self.inputs[indices], self.targets(indices, epoch)
        parts = [self._augmented(self._policy, index, epoch) for index in indices]
        images = np.stack([part.image for part in parts])
        if self._task == "classification":
            return images, self.targets(indices, epoch)
        if self._task == "segmentation":
            return images, self._encode(np.stack([part.mask for part in parts]))
        height, width = images.shape[1:3]
        boxes = [(part.boxes / [width, height, width, height]).astype(np.float32) for part in parts]
        objects = [(box, part.labels, part.difficult) for box, part in zip(boxes, parts, strict=True)]
        return images, self._encode_objects(objects, indices, epoch)

    @property
    def is_slow(self) -> bool:
        """Whether there is more to do than to read."""
        return self._policy is not None or isinstance(self.inputs, Images)

    def targets(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Targets of these rows, of the images as they are packed."""
        if self._task == "detection":
            return self._encode_objects([self._objects(index) for index in indices], indices, epoch)
        (column,) = self._annotations
        return self._encode(column[indices])

    def _encode(self, *annotations: object, **options: int) -> np.ndarray:
        return tasks.load(self._task).encode_targets(*annotations, **options)

    def _encode_objects(self, objects: Sequence[Objects], indices: np.ndarray, epoch: int) -> np.ndarray:
        """YOLO's grid; a cell that two objects claim goes to another one in another epoch (Darknet shuffles them)."""
        boxes, labels = [], []
        for index, (own_boxes, own_labels, difficult) in zip(indices, objects, strict=True):
            chosen = np.flatnonzero(~difficult)
            np.random.default_rng([self._seed, epoch, index]).shuffle(chosen)
            boxes.append(own_boxes[chosen])
            labels.append(own_labels[chosen])
        return self._encode(boxes, labels, grid=self._grid, classes=self._classes)

    def _objects(self, index: int) -> Objects:
        boxes, labels, difficult = (column[index] for column in self._annotations)
        return boxes, labels, difficult

    def _augmented(self, policy: "Policy", index: int, epoch: int) -> AnnotatedImage:
        # A copy: an image mapped from the disk cannot be written to, as some transforms do.
        whole = AnnotatedImage(np.array(self.inputs[index]))
        height, width = size = whole.image.shape[:2]
        if self._task == "segmentation":
            whole = replace(whole, mask=np.array(self._annotations[0][index]))
        elif self._task == "detection":
            boxes, labels, difficult = self._objects(index)
            boxes = boxes.astype(np.float64) * [width, height, width, height]
            whole = replace(whole, boxes=boxes, labels=labels, difficult=difficult)
        # A key of its own, so that no stream is that of the order, (seed, epoch), or of the shuffled objects.
        part = policy.apply(whole, np.random.SeedSequence([self._seed, epoch, index], spawn_key=(1,)))
        if part.image.shape[:2] != size:
            raise InputError(
                f"{self._where}: expected transforms that leave {height} x {width} pixels, the data set's size; "
                f"received: {part.image.shape[0]} x {part.image.shape[1]}. End with RandomResizedCrop or Resize to that "
                "size, or enlarge the image (PadIfNeeded, Resize) before a RandomCrop of it"
            )
        return part


def augmenting_reader(columns: Split, task: str, transforms: "Transforms", where: str, **settings: int) -> Reader:
    """A reader with a policy, fitted on the split's images where it has to be, and tried on some.

    Args:
        columns: As for `Reader`.
        task: As for `Reader`.
        transforms: Of the policy.
        where: Their place in params.yaml, for messages.
        settings: What else a `Reader` takes.

    Raises:
        InputError: The policy is wrong, or does not fit an image.
    """
    from pipeline.images.augmentation import Policy  # imports albumentations: 2.4 s

    policy = Policy(transforms, where, boxes=task == "detection")
    read = Reader(columns, task, policy=policy, where=where, **settings)
    count = len(read.inputs)
    policy.fit(count, lambda row: np.asarray(read.inputs[row]))
    tried = evenly_spaced(count, TRIED)
    with policy.certain():
        read(tried, 0)
    read(tried, 0)
    return read


class ReadAhead:
    """Batches prepared by worker processes; see `read_ahead`.

    Attributes:
        examples: How many the split has.
        ahead: How many batches keep all workers busy.
        failure: What was wrong with a batch: what Keras makes of an exception does not say.
    """

    def __init__(self, examples: int, executor: ProcessPoolExecutor, slots: list[Batch]):
        self.examples, self.ahead = examples, len(slots) - 1
        self.failure: Exception | None = None
        self._executor, self._slots, self._free = executor, slots, list(range(len(slots)))

    def start(self, indices: np.ndarray, epoch: int) -> Callable[[], Batch]:
        """Have these rows of an epoch read; returns a function that waits for it and gives inputs and targets."""
        slot = self._free.pop()
        parts = [
            self._executor.submit(_fill, slot, start, indices[start : start + CHUNK], epoch)
            for start in range(0, len(indices), CHUNK)
        ]

        def ready() -> Batch:
            try:
                for part in parts:
                    part.result()
            except Exception as error:
                self.failure = error
                raise
            inputs, targets = (shared[: len(indices)].copy() for shared in self._slots[slot])
            self._free.append(slot)
            return inputs, targets

        return ready


@contextmanager
def read_ahead(read: Reader, *, batch_size: int, workers: int) -> Iterator[ReadAhead]:
    """Worker processes that read batches while the block runs.

    Args:
        read: What they do.
        batch_size: Rows of a batch, at most.
        workers: At least 1; any number gives the same batches.

    Raises:
        Whatever `read` raises, when the block fails because of it.
    """
    batch_size = min(batch_size, len(read.inputs))
    ahead = math.ceil(2 * workers * CHUNK / batch_size)
    parts = read(np.zeros(1, np.int64), 0)
    slots = [tuple(_shared((batch_size, *part.shape[1:]), part.dtype) for part in parts) for _ in range(ahead + 1)]
    with pool(workers, initializer=_begin, arguments=(read, slots)) as executor:
        prepared = ReadAhead(len(read.inputs), executor, slots)
        try:
            yield prepared
        except Exception as error:
            if prepared.failure is None:
                raise
            raise prepared.failure from error


def _shared(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array that processes forked from this one write to as well."""
    memory = mmap.mmap(-1, max(1, math.prod(shape) * dtype.itemsize))
    return np.frombuffer(memory, dtype, math.prod(shape)).reshape(shape)


_read: Reader
_slots: list[Batch]


def _begin(read: Reader, slots: list[Batch]) -> None:
    global _read, _slots
    _read, _slots = read, slots


def _fill(slot: int, start: int, indices: np.ndarray, epoch: int) -> None:
    for shared, values in zip(_slots[slot], _read(indices, epoch), strict=True):
        shared[start : start + len(indices)] = values
