"""Inputs and targets of a packed split's rows, augmented anew in each epoch where the experiment says so.

An image's random numbers depend on (seed, epoch, its row in the split) alone, so batches are the same for any number of worker
processes, and for a training that starts again at any epoch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkeras import tasks
from pipeline.formats.packed import Images, Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.principal_components import evenly_spaced
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.images.augmentation import Policy, Transforms

TRIED = 32  # images that a policy is tried on before the training

Batch = tuple[np.ndarray, np.ndarray]
Row = Mapping[str, np.ndarray]  # the annotations of an example by their columns


class Reader:
    """Inputs and targets of some examples of a split.

    Args:
        columns: The split.
        task: Its file says which columns are annotations, and encodes them.
        seed: Of the training.
        output_shape: Of one output of the model.
        classes: How many there are, without background.
        policy: Augments the images; None: they are as they are packed.
        where: The policy's keys in params.yaml, for messages.
    """

    def __init__(
        self,
        columns: Split,
        task: str,
        *,
        seed: int,
        output_shape: Sequence[int],
        classes: int,
        policy: "Policy | None" = None,
        where: str = "",
    ):
        self.inputs, self._task, self._seed = columns["inputs"], tasks.load(task), seed
        self._annotations = {name: columns[name] for name in self._task.ANNOTATIONS}
        self._output_shape, self._classes = output_shape, classes
        self._policy, self._where = policy, where

    def __call__(self, indices: np.ndarray, epoch: int) -> Batch:
        """Inputs and targets of these rows, int64 (batch,), in an epoch.

        Raises:
            InputError: The policy does not fit an image.
        """
        if self._policy is None:
            return self.inputs[indices], self.targets(indices, epoch)
        images, rows = zip(*(self._augmented(self._policy, index, epoch) for index in indices), strict=True)
        annotations = {name: [row[name] for row in rows] for name in self._annotations}
        return np.stack(images), self._encode(annotations, indices, epoch)

    @property
    def is_slow(self) -> bool:
        """Whether there is more to do than to read."""
        return self._policy is not None or isinstance(self.inputs, Images)

    def targets(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Targets of these rows, of the images as they are packed."""
        annotations = {
            name: column[indices] if isinstance(column, np.ndarray) else [column[index] for index in indices]
            for name, column in self._annotations.items()
        }
        return self._encode(annotations, indices, epoch)

    def _encode(self, annotations: Mapping[str, Sequence[np.ndarray]], indices: np.ndarray, epoch: int) -> np.ndarray:
        seeds = [[self._seed, epoch, index] for index in indices]
        return self._task.encode_examples(
            annotations, seeds=seeds, output_shape=self._output_shape, classes=self._classes
        )

    def _augmented(self, policy: "Policy", index: int, epoch: int) -> tuple[np.ndarray, Row]:
        """The image of a row and its annotations, after the policy."""
        row = {name: column[index] for name, column in self._annotations.items()}
        # A copy: an image mapped from the disk cannot be written to, as some transforms do.
        whole = _annotated(np.array(self.inputs[index]), row)
        # A key of its own, so that no stream is that of the order, (seed, epoch), or of the shuffled objects.
        part = policy.apply(whole, np.random.SeedSequence([self._seed, epoch, index], spawn_key=(1,)))
        (height, width), size = part.image.shape[:2], whole.image.shape[:2]
        if (height, width) != size:
            raise InputError(
                f"{self._where}: expected transforms that leave {size[0]} x {size[1]} pixels, the dataset's size; "
                f"received: {height} x {width}. End with RandomResizedCrop or Resize to that "
                "size, or enlarge the image (PadIfNeeded, Resize) before a RandomCrop of it"
            )
        return part.image, row | _row(part)


def _sides(image: np.ndarray) -> list[int]:
    """What the corners of a box, x0, y0, x1, y1, are fractions of."""
    height, width = image.shape[:2]
    return [width, height, width, height]


def _annotated(image: np.ndarray, row: Row) -> AnnotatedImage:
    """An image with those of its annotations that move with its pixels."""
    return AnnotatedImage(
        image,
        boxes=row["boxes"].astype(np.float64) * _sides(image) if "boxes" in row else None,
        labels=row.get("box_labels"),
        difficult=row.get("difficult"),
        mask=np.array(row["masks"]) if "masks" in row else None,
    )


def _row(part: AnnotatedImage) -> Row:
    """The annotations that an image has, as columns."""
    boxes = None if part.boxes is None else (part.boxes / _sides(part.image)).astype(np.float32)
    columns = {"boxes": boxes, "box_labels": part.labels, "difficult": part.difficult, "masks": part.mask}
    return {name: value for name, value in columns.items() if value is not None}


def augmenting_reader(columns: Split, task: str, transforms: "Transforms", where: str, **settings: Any) -> Reader:
    """A reader with a policy, fitted on the split's images where it has to be, and tried on some.

    Args:
        columns: As for `Reader`.
        task: As for `Reader`.
        transforms: Of the policy.
        where: Their keys in params.yaml, for messages.
        seed: As for `Reader`.
        settings: What else a `Reader` takes.

    Raises:
        InputError: The policy is wrong, or does not fit an image.
    """
    from pipeline.images.augmentation import Policy  # imports albumentations: 2.4 s

    policy = Policy(transforms, where, boxes="boxes" in tasks.load(task).ANNOTATIONS)
    read = Reader(columns, task, policy=policy, where=where, **settings)
    count = len(read.inputs)
    policy.fit(count, lambda row: np.asarray(read.inputs[row]))
    some = evenly_spaced(count, TRIED)
    with policy.certain():
        read(some, 0)
    read(some, 0)
    return read
