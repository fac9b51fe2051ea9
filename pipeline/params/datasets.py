"""Entries under `datasets:`: a source prepared for a task."""

from typing import Annotated, Literal

from pydantic import Field

from pipeline.files.published import Sha256
from pipeline.params.values import Count, Positive, Transforms
from pipeline.runtime.entries import Entry
from pipeline.sources import Task


class TrainingProposals(Entry):
    """Object proposals of a file to train on.

    Attributes:
        file: JSON, below the project's folder.
        sha256: Its checksum, so that other proposals are other params.
        max_proposals: Proposals of an image, the surest.
        min_side: Those with a shorter side are skipped, in pixels.
        margin: By how much of its sides a box is enlarged at each edge.
        min_overlap: Intersection over union with the box of an object, difficult ones aside, at least.
    """

    file: str
    sha256: Sha256
    max_proposals: Positive = 50
    min_side: Count = 112
    margin: Annotated[float, Field(ge=0, le=2)] = 0.0
    min_overlap: Annotated[float, Field(ge=0, le=1)] = 0.5


class Dataset(Entry):
    """A source prepared for a task at a size, with an augmentation policy.

    Attributes:
        source: Entry under `sources:`.
        task: What the labels are prepared for.
        size: Height and width of the model's input in pixels, or the length of a signal.
        examples: `images` as they are; `objects`, one example per annotated object, its box enlarged by `object_margin`; or
            `proposals`, of the training images, the others as they are.
        object_margin: Border around an object's box, as a fraction of the box's longer side.
        proposals: Where they are from, and which are trained on.
        copies: Augmented versions of each training image, beside the plain one.
        augmentation: Albumentations transforms in order, each `{Name: {argument: value}}`.
        jpeg_quality: Images are packed as JPEG files of this quality, 1..100; none: as they are, without loss.
        on_error: What an example that cannot be read is: `fail` names it and ends, `skip` leaves it out, counted and listed in the
            dataset's report.
        leaks: What an example in two splits is: `fail` ends, `allow` counts it in the dataset's report.
    """

    source: str
    task: Task
    size: Annotated[tuple[Positive, ...], Field(min_length=1, max_length=2)]
    examples: Literal["images", "objects", "proposals"] = "images"
    object_margin: Annotated[float, Field(ge=0, le=2)] = 0.2
    proposals: TrainingProposals | None = None
    copies: Count = 0
    augmentation: Transforms = ()
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, exclude_if=lambda quality: quality is None
    )
    on_error: Literal["fail", "skip"] = "fail"
    leaks: Literal["fail", "allow"] = "fail"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input of the model: (H, W, 3), or (L, 1) for a signal."""
        return (*self.size, 3 if len(self.size) == 2 else 1)
