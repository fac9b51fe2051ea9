"""Entries under `experiments:`, `ensembles:` and `imports:`: models that are trained, averaged or imported."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.architectures import Published
from cnnkeras.protocols import fits
from pipeline.params.testing import Evaluate, Predict
from pipeline.params.training import Train
from pipeline.params.values import Positive, Rate
from pipeline.runtime.entries import Arguments, Entry, Seed, functions, one_of


class Input(Entry):
    """Mean and standard deviation that the model's first layer subtracts and divides by, in the inputs' units (images: 0..255).

    Each is a number for all channels, a number per channel, or `dataset`: the statistic of the dataset's training split.
    """

    mean: Literal["dataset"] | float | tuple[float, ...] = "dataset"
    std: Literal["dataset"] | Rate | tuple[Rate, ...] = "dataset"


class ModelInput(Input):
    """The input of an experiment's model: its statistics, and its size if it is not that of the packed images.

    Attributes:
        size: Height and width in pixels. None: those of the dataset.
        fit: A function of `cnnkeras/protocols/fits.py`, by which a packed image comes to this size: in the validation, in the test, and in a
            training without augmentation.
    """

    # Left out of the dump if they are not used, so that results without them keep their fingerprint.
    size: Annotated[tuple[Positive, ...], Field(min_length=2, max_length=2)] | None = Field(
        default=None, exclude_if=lambda size: size is None
    )
    fit: one_of(functions(fits)) | None = Field(default=None, exclude_if=lambda fit: fit is None)


class PublishedResult(Entry):
    """The published number of an architecture that the report puts beside a result.

    Attributes:
        system: The paper's name for the system, as in the architecture's `PUBLISHED`.
        table: Number of the paper's table, if several have the system.
    """

    system: str
    table: Positive | None = None


class Experiment(Entry):
    """A dataset, an architecture, a training, a post-processing and an evaluation.

    Attributes:
        dataset: Name of an entry under `datasets:`.
        architecture: Name of a file of `cnnkeras/architectures/`.
        model: Keyword arguments of the architecture's `build`.
        input: Statistics of the first layer, and the size of the model's input.
        train: How the model is trained.
        predict: How the model's outputs are computed.
        postprocess: Keyword arguments of the `postprocess` of the dataset's task.
        evaluate: Settings of the evaluation.
        seeds: Seeds of several trainings, in place of one; every other stage is run for each model, and the figures of merit are means
            with their standard deviations. Figures, ensembles, initial weights and the lab take the model of the first seed.
        published: The published number that the report puts beside the result.
    """

    dataset: str
    architecture: str
    model: Arguments
    input: ModelInput
    train: Train
    predict: Predict
    postprocess: Arguments
    evaluate: Evaluate
    seeds: Annotated[tuple[Seed, ...], Field(min_length=2)] | None = Field(
        default=None, exclude_if=lambda seeds: seeds is None
    )
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Ensemble(Entry):
    """Experiments whose posteriors are averaged.

    Attributes:
        dataset: Name of the dataset whose test split is measured on; the members' datasets have the same test images.
        members: Two names of experiments or other ensembles. Every model has the same weight.
        combine: The `mean` of the posteriors or their `product`.
        postprocess: As of an experiment.
        evaluate: As of an experiment.
        published: As of an experiment; a published number of the first model's architecture.
    """

    dataset: str
    members: Annotated[tuple[str, ...], Field(min_length=2, max_length=2)]
    combine: Literal["mean", "product"]
    postprocess: Arguments
    evaluate: Evaluate
    published: PublishedResult | None = Field(default=None, exclude_if=lambda published: published is None)


class Import(Entry):
    """A model from a file of published weights.

    Attributes:
        file: Path of the file in the project.
        format: Name of a file of `cnnkeras/weights/`.
        architecture: Name of a file of `cnnkeras/architectures/`.
        model: Keyword arguments of the architecture's `build`.
        size: Height and width of the model's input in pixels.
        classes: Number of classes; for segmentation without the background.
        input: Mean and standard deviation that the model was trained with, for RGB images in 0..255. Default: those of the
            published models in this format.
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
        """Shape of one input of the model: (H, W, 3)."""
        return (*self.size, 3)


def is_published(row: Published, published: PublishedResult) -> bool:
    """Whether a published number is of this system and, if `published` names a table, from this table."""
    return row.system == published.system and (
        published.table is None or row.source.endswith(f"table {published.table}")
    )
