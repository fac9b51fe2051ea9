"""Entries under `experiments:`, `ensembles:` and `imports:`: models that are trained, averaged or imported."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.architectures import Published
from pipeline.params.testing import Evaluate, Predict
from pipeline.params.training import Train
from pipeline.params.values import Positive, Rate
from pipeline.runtime.entries import Arguments, Entry


class Input(Entry):
    """What the network's first layer subtracts and divides by: numbers per channel, or the dataset's own."""

    mean: Literal["dataset"] | float | tuple[float, ...] = "dataset"
    std: Literal["dataset"] | Rate | tuple[Rate, ...] = "dataset"


class PublishedResult(Entry):
    """Which of an architecture's published numbers a result is to stand beside.

    Attributes:
        system: As its `PUBLISHED` names it.
        table: Of the paper, where the system stands in several.
    """

    system: str
    table: Positive | None = None


class Experiment(Entry):
    """A dataset, an architecture, a training, a post-processing, an evaluation.

    `model` holds keyword arguments of the architecture's `build`; `postprocess` those of the `postprocess` of the dataset's task; `published` is
    for the report.
    """

    dataset: str
    architecture: str
    model: Arguments
    input: Input
    train: Train
    predict: Predict
    postprocess: Arguments
    evaluate: Evaluate
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Ensemble(Entry):
    """Experiments whose posteriors are averaged.

    Attributes:
        dataset: Whose test split it is measured on; the members' datasets have the same test images.
        members: Two names, each of an experiment or of another ensemble. Every network weighs the same.
        combine: The `mean` of the posteriors or their `product`.
        postprocess: As an experiment's.
        evaluate: As an experiment's.
        published: As an experiment's; a number of the first network's architecture.
    """

    dataset: str
    members: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    combine: Literal["mean", "product"]
    postprocess: Arguments
    evaluate: Evaluate
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Import(Entry):
    """A network that others trained, from their file.

    Attributes:
        file: Its place in the project.
        format: A file of `cnnkeras/weights/`.
        architecture: What it is a network of.
        model: Keyword arguments of the architecture's `build`.
        size: Height and width of its input in pixels.
        classes: How many it knows; for segmentation without the background.
        input: What it was trained with, for images in RGB, 0..255; by default what the format's published networks were.
    """

    file: str
    format: str
    architecture: str
    model: Arguments = Arguments({})
    size: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)]
    classes: Positive
    input: Input | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one network input: (H, W, 3)."""
        return (*self.size, 3)


def is_published(row: Published, published: PublishedResult) -> bool:
    """Whether a published number is of this system, and from this table where one is named."""
    return row.system == published.system and (
        published.table is None or row.source.endswith(f"table {published.table}")
    )
