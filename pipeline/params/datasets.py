"""Entries under `datasets:`: a source prepared for a task."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.resizing import stored_size
from pipeline.files.published import Sha256
from pipeline.images.transform_table import MIN_VISIBLE_FRACTION
from pipeline.params.values import Count, Fraction, Positive, Transforms
from pipeline.runtime.entries import Entry
from pipeline.sources import Task


class TrainingProposals(Entry):
    """Object proposals to train on, from a file.

    Attributes:
        file: Path of a JSON file, below the project's folder.
        sha256: The file's checksum (hexadecimal); another file then changes params.yaml, which DVC sees.
        max_proposals: Number of proposals per image, those with the highest scores.
        min_side: Proposals with a side shorter than this are skipped; pixels.
        margin: Distance by which each edge of a box is moved out, as a fraction of the box's width or height.
        min_overlap: Proposals need at least this intersection over union with the box of an object that is not marked difficult.
    """

    file: str
    sha256: Sha256
    max_proposals: Positive = 50
    min_side: Count = 112
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5


class Dataset(Entry):
    """A source prepared for a task, with an augmentation policy: images at one size, or each with its own sides in proportion.

    Of `size`, `shorter_side` and `max_shorter_side` it has one. With one of the latter two, images are JPEG files of any size, and an
    experiment's `input` says the size of the model's input and how an image comes to it.

    Attributes:
        source: Name of an entry under `sources:`.
        task: Task that the labels are prepared for.
        size: Height and width in pixels that images are stretched to, of the model's input unless an experiment says another; or the
            length of a signal.
        shorter_side: Length in pixels of every image's shorter side.
        max_shorter_side: Length in pixels that a longer shorter side is reduced to; smaller images stay as they are.
        examples: `images`: one example per image; `objects`: one per annotated object, its box enlarged by `object_margin`;
            `proposals`: one per proposal in the training split, one per image in the others.
        object_margin: Border around an object's box, as a fraction of the box's longer side.
        proposals: The file of the proposals, and which of them are trained on.
        copies: Number of augmented versions of each training image, in addition to the plain image.
        augmentation: Albumentations transforms in order, each `{Name: {argument: value}}`.
        min_visible_fraction: A box of which augmentation leaves less of its area in the image is dropped. 0 is darknet's rule: it keeps
            every box that shows, and trains on those of at least .005 of the image's sides.
        jpeg_quality: Quality, 1..100, of the JPEG files that images are packed as; None packs them as pixels, without loss.
        on_error: An example that cannot be read: `fail` stops and names it, `skip` leaves it out and lists it in the dataset's
            report.
        leaks: The same example in two splits: `fail` stops, `allow` counts it in the dataset's report.
    """

    source: str
    task: Task
    size: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=2)] | None = Field(
        default=None, exclude_if=lambda size: size is None
    )
    shorter_side: Positive | None = Field(default=None, exclude_if=lambda side: side is None)
    max_shorter_side: Positive | None = Field(default=None, exclude_if=lambda side: side is None)
    examples: Literal["images", "objects", "proposals"] = "images"
    object_margin: Annotated[float, Field(ge=0, le=2)] = 0.2
    proposals: TrainingProposals | None = None
    copies: Count = 0
    augmentation: Transforms = ()
    # Left out of the dump if it is not used, so that results without it keep their fingerprint.
    min_visible_fraction: Fraction = Field(
        default=MIN_VISIBLE_FRACTION, exclude_if=lambda fraction: fraction == MIN_VISIBLE_FRACTION
    )
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, exclude_if=lambda quality: quality is None
    )
    on_error: Literal["fail", "skip"] = "fail"
    leaks: Literal["fail", "allow"] = "fail"

    @property
    def is_signal(self) -> bool:
        """Whether an example is a signal, not an image."""
        return self.size is not None and len(self.size) == 1

    @property
    def packed_shape(self) -> tuple[int | None, ...]:
        """Shape of one packed input: (H, W, 3), (None, None, 3) for images of any size, or (L, 1) for a signal."""
        if self.size is None:
            return None, None, 3
        return (*self.size, 1 if self.is_signal else 3)

    def stored_size(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Height and width in pixels at which an image of `shape` (height, width) is packed."""
        return stored_size(
            shape, size=self.size, shorter_side=self.shorter_side, max_shorter_side=self.max_shorter_side
        )
