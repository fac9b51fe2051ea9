"""Inputs and targets of rows of a packed split, augmented anew in each epoch if the experiment has an augmentation.

Packed images may have any size: the augmentation, or else the experiment's fit, ends at the size of the model's input. A JPEG file is decoded
in no more pixels than the first transform or the fit scales it to.

An image's random numbers depend only on the seed, the epoch and its row in the split, so batches are the same for any number of worker
processes, whichever epoch is read first.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkeras import tasks
from cnnkeras.label_maps import resize_labels
from cnnkeras.protocols.fits import Fit, Size
from pipeline.formats.fitted import PackedImages, inputs
from pipeline.formats.packed import Split
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.principal_components import evenly_spaced
from pipeline.images.transform_table import MIN_VISIBLE_FRACTION
from pipeline.runtime.errors import InputError

if TYPE_CHECKING:
    from pipeline.images.augmentation import Policy, Transforms

TRIED = 32  # images that a policy is tried on before the training

Batch = tuple[np.ndarray, np.ndarray]
Row = Mapping[str, np.ndarray]  # annotations of one example, by column


class Reader:
    """Reads inputs and targets of a split's rows.

    Args:
        columns: The split.
        task: Name of the task, whose file lists the columns of annotations and encodes them as targets.
        seed: Seed of the training.
        output_shape: Shape of one output of the model.
        classes: Number of classes, without background.
        policy: Augments the images; None leaves them as packed.
        location: File and key of the policy, for messages: `params.yaml: experiments.yolo.train.augmentation`.
        fit: How an image becomes an input where there is no policy; None: it is packed as an input.
        size: Height and width of an input; None: of the packed images, or signals.

    Attributes:
        inputs: Inputs (N, ...) without augmentation.
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
        location: str = "",
        fit: Fit | None = None,
        size: Size | None = None,
    ):
        self.inputs, self._task, self._seed = inputs(columns, fit, size or ()), tasks.load(task), seed
        self._images, self._fit = PackedImages(columns), fit
        self._size = size or self.inputs.shape[1:3]
        self._annotations = {name: columns[name] for name in self._task.ANNOTATIONS}
        self._output_shape, self._classes = output_shape, classes
        self._policy, self._location = policy, location

    def __call__(self, indices: np.ndarray, epoch: int) -> Batch:
        """Inputs (batch, ...) and targets (batch, ...) of the rows `indices`, int64 (batch,), in an epoch, counted from 0.

        Raises:
            InputError: The policy cannot be applied to an image, or changes its size.
        """
        parts = tuple(np.empty(shape, dtype) for shape, dtype in self.layout(len(indices)))
        self.into(parts, indices, epoch)
        return parts

    def layout(self, examples: int) -> list[tuple[tuple[int, ...], np.dtype]]:
        """Shape and type of the inputs and of the targets of so many examples, but of at most as many as there are."""
        examples = min(examples, len(self.inputs))
        targets = self.targets(np.zeros(1, np.int64), 0)
        inputs = (examples, *self._size, *self.inputs.shape[3:])
        return [(inputs, np.dtype(self.inputs.dtype)), ((examples, *targets.shape[1:]), targets.dtype)]

    def into(self, parts: Sequence[np.ndarray], indices: np.ndarray, epoch: int) -> None:
        """Write the inputs and the targets of rows into arrays.

        Raises:
            InputError: As of a call.
        """
        inputs, targets = parts
        if self._policy is not None:
            rows = []
            for place, index in enumerate(indices):
                inputs[place], row = self.example(index, epoch)
                rows.append(row)
            annotations = {name: [row[name] for row in rows] for name in self._annotations}
            targets[...] = self._encode(annotations, indices, epoch)
            return
        if isinstance(self.inputs, np.ndarray):
            # "clip" has NumPy write into the array itself; no row is beyond the last one.
            np.take(self.inputs, indices, axis=0, out=inputs, mode="clip")
        else:
            inputs[...] = self.inputs[indices]
        targets[...] = self.targets(indices, epoch)

    @property
    def is_slow(self) -> bool:
        """Whether reading is more than copying: images are augmented or decoded."""
        return self._policy is not None or not isinstance(self.inputs, np.ndarray)

    def targets(self, indices: np.ndarray, epoch: int) -> np.ndarray:
        """Targets (batch, ...) of the rows `indices`, without augmentation."""
        if self._fit is not None:
            rows = [self._fitted(index) for index in indices]
            return self._encode({name: [row[name] for row in rows] for name in self._annotations}, indices, epoch)
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

    def example(self, index: int, epoch: int) -> tuple[np.ndarray, Row]:
        """The image of a row and its annotations in an epoch, augmented if there is a policy."""
        if self._policy is None:
            return np.array(self.inputs[index]), self._row(index) if self._fit is None else self._fitted(index)
        row = self._row(index)
        packed = _annotated(self._images.read(index, self._policy.scaled(self._images.size(index))), row)
        # `spawn_key` keeps this stream apart from that of the batches' order, (seed, epoch), and that of the shuffled objects.
        augmented = self._policy.apply(packed, np.random.SeedSequence([self._seed, epoch, index], spawn_key=(1,)))
        (height, width), size = augmented.image.shape[:2], self._size
        if (height, width) != size:
            raise InputError(
                f"{self._location}: expected transforms that end at {size[0]} x {size[1]} pixels, the size of the model's input; "
                f"received: {height} x {width}. End with RandomResizedCrop or Resize to that "
                "size, or enlarge the image (PadIfNeeded, Resize) before a RandomCrop of it"
            )
        return augmented.image, row | _row(augmented)

    def image(self, index: int) -> np.ndarray:
        """The packed image of a row, whole."""
        return self._images.read(index)

    def _row(self, index: int) -> Row:
        """The annotations of a packed image."""
        return {name: column[index] for name, column in self._annotations.items()}

    def _fitted(self, index: int) -> Row:
        """The annotations of an input that the fit has made."""
        row = self._row(index)
        if "boxes" in row:
            row["boxes"] = self._fit.boxes(row["boxes"], self._images.size(index), self._size)
        if "masks" in row:
            row["masks"] = self._fit.labels(row["masks"], self._size)
        return row


def _sides(image: np.ndarray) -> list[int]:
    """Width, height, width, height in pixels: packed corners of a box, x0, y0, x1, y1, are fractions of them."""
    height, width = image.shape[:2]
    return [width, height, width, height]


def _annotated(image: np.ndarray, row: Row) -> AnnotatedImage:
    """An image with the annotations that a transform of its pixels changes: boxes in pixels, with their labels, and the mask."""
    return AnnotatedImage(
        image,
        boxes=row["boxes"].astype(np.float64) * _sides(image) if "boxes" in row else None,
        labels=row.get("box_labels"),
        difficult=row.get("difficult"),
        mask=_same_size(row["masks"], image) if "masks" in row else None,
    )


def _same_size(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A copy of a label map, in as many pixels as its image was decoded in."""
    return np.array(labels) if labels.shape == image.shape[:2] else resize_labels(labels, image.shape[:2])


def _row(image: AnnotatedImage) -> Row:
    """The annotations of an image by column, with boxes as fractions."""
    boxes = None if image.boxes is None else (image.boxes / _sides(image.image)).astype(np.float32)
    columns = {"boxes": boxes, "box_labels": image.labels, "difficult": image.difficult, "masks": image.mask}
    return {name: value for name, value in columns.items() if value is not None}


def augmenting_reader(
    columns: Split,
    task: str,
    transforms: "Transforms",
    location: str,
    *,
    min_visible_fraction: float = MIN_VISIBLE_FRACTION,
    **settings: Any,
) -> Reader:
    """A reader with an augmentation policy, which is fitted on the split's images if it has to be, and tried on `TRIED` of them.

    Args:
        columns: As for `Reader`.
        task: As for `Reader`.
        transforms: Transforms of the policy, as in params.yaml.
        location: As for `Reader`.
        min_visible_fraction: As for the policy.
        settings: The other arguments of `Reader`.

    Raises:
        InputError: The policy is wrong, cannot be applied to an image, or changes its size.
    """
    from pipeline.images.augmentation import Policy  # imports albumentations: 2.4 s

    policy = Policy(
        transforms, location, boxes="boxes" in tasks.load(task).ANNOTATIONS, min_visible_fraction=min_visible_fraction
    )
    read = Reader(columns, task, policy=policy, location=location, **settings)
    count = len(read.inputs)
    policy.fit(count, read.image)
    rows = evenly_spaced(count, TRIED)
    with policy.certain():
        read(rows, 0)
    read(rows, 0)
    return read
