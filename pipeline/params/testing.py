"""The sections `predict`, `postprocess` and `evaluate` of an experiment: how it is tested."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.params.datasets import ProposalFile
from pipeline.params.values import Count, Fraction, Positive
from pipeline.runtime.entries import Entry


class View(Entry):
    """A test protocol of a classifier (pipeline/views.py). Each says whether its views are `mirrored`.

    Attributes:
        scales: Lengths of the image's shorter side in pixels, from the network's input size on.
    """

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]

    @property
    def places_at_a_scale(self) -> int:
        """Views of an image at one scale, mirror images not counted."""
        return 1

    @property
    def count(self) -> int:
        """Views of an image."""
        return self.places_at_a_scale * len(self.scales) * (1 + self.mirrored)


class CentreCrop(View):
    """One crop in the middle, and its mirror image if `mirrored`."""

    name: Literal["centre_crop"]
    mirrored: bool = False


class TenPatches(View):
    """The corners and the centre of the central square, and their mirror images."""

    name: Literal["ten_patches"]
    mirrored: ClassVar[bool] = True

    @property
    def places_at_a_scale(self) -> int:
        """The corners and the centre."""
        return 5


class CropGrid(View):
    """`places` x `places` crops spread over the whole image, and their mirror images if `mirrored`."""

    name: Literal["crop_grid"]
    places: Positive = 5
    mirrored: bool = True

    @property
    def places_at_a_scale(self) -> int:
        """Those of the grid."""
        return self.places**2


class Dense(View):
    """The whole image through the fully convolutional network, and its mirror image if `mirrored`."""

    name: Literal["dense"]
    mirrored: bool = True


class SlidingWindows(Entry):
    """Squares of `side` pixels of the image, every `stride` pixels (pipeline/regions.py)."""

    name: Literal["sliding_windows"]
    side: Positive
    stride: Positive
    merge: Literal["mean", "maximum"] = "mean"


class Boxes(Entry):
    """Boxes of the image's own shape, of these `shares` of its sides, every half box."""

    name: Literal["boxes"]
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (1.0, 0.75, 0.5)
    merge: Literal["mean", "maximum"] = "maximum"


class Proposals(ProposalFile):
    """Regions that a file names.

    Attributes:
        merge: How the score maps are put together.
    """

    name: Literal["proposals"]
    merge: Literal["mean", "maximum"] = "maximum"


Regions = SlidingWindows | Boxes | Proposals


class Predict(Entry):
    """How the network's outputs are computed.

    Attributes:
        batch_size: Inputs at once.
        views: Test protocols of a classifier, whose class posteriors are averaged; none: the packed input, once.
        regions: Parts of an image that are segmented one by one; none: the packed input, once.
    """

    batch_size: Positive = 64
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    views: tuple[Annotated[CentreCrop | TenPatches | CropGrid | Dense, Field(discriminator="name")], ...] = Field(
        default=(), exclude_if=lambda views: not views
    )
    regions: Annotated[Regions, Field(discriminator="name")] | None = Field(
        default=None, exclude_if=lambda regions: regions is None
    )


class ClassificationPostprocess(Entry):
    """Which of the class probabilities are kept by name."""

    top_k: Positive = 5


class DetectionPostprocess(Entry):
    """From YOLO's outputs to boxes.

    Attributes:
        confidence_threshold: Boxes whose confidence x class probability is lower are dropped.
        nms_iou: Of two boxes of a class that overlap more than this, the less confident one is dropped.
        display_threshold: Only boxes at or above it are drawn.
        display_nms_iou: A second suppression of the boxes that are drawn: darknet draws at .2 and .4, and measures at .001 and .5.
    """

    confidence_threshold: Fraction
    nms_iou: Fraction
    display_threshold: Fraction = 0.2
    display_nms_iou: Fraction | None = Field(default=None, exclude_if=lambda iou: iou is None)


class Greedy(Entry):
    """Greedy label inference (pipeline/label_inference.py): least probability of a region's pixels, and least evidence."""

    threshold: Fraction = 0.25
    least_share: Annotated[float, Field(gt=0, le=1)] = 0.01


class SegmentationPostprocess(Entry):
    """From score maps to a label map at the image's own size.

    Attributes:
        resize: How the scores are enlarged.
        greedy: Label a class at a time; none: each pixel takes its highest score.
    """

    resize: Literal["bilinear", "nearest"] = "bilinear"
    greedy: Greedy | None = Field(default=None, exclude_if=lambda greedy: greedy is None)


class Evaluate(Entry):
    """What the evaluation draws and tells apart.

    Attributes:
        images: Images with predictions and truth to draw.
        similar_classes: Groups of classes that a detector may be forgiven to mix up, for the analysis of its errors.
    """

    images: Count = 12
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    similar_classes: tuple[tuple[str, ...], ...] = Field(default=(), exclude_if=lambda groups: not groups)


POSTPROCESS: dict[str, type[Entry]] = {
    "classification": ClassificationPostprocess,
    "detection": DetectionPostprocess,
    "segmentation": SegmentationPostprocess,
}
