"""The sections `predict` and `evaluate` of an experiment: how it is tested."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols import views as view_kinds
from pipeline.params.values import Positive
from pipeline.runtime.entries import Arguments, Entry, functions, one_of

View = one_of(functions(view_kinds), check=True)
Regions = one_of(functions(region_kinds), check=True)


class Predict(Entry):
    """How a model's outputs are computed.

    Attributes:
        batch_size: Number of inputs in a batch.
        views: Test protocols of a classifier, functions of `cnnkeras.protocols.views`; the class posteriors of all views are averaged.
            Empty: the packed input, once.
        regions: A function of `cnnkeras.protocols.regions`, which cuts an image into parts that are segmented one by one. None: the
            packed input, once.
        validation: Whether outputs are computed for the validation split too; always where `postprocess` has a setting that is `best`.
    """

    batch_size: Positive = 64
    # Left out of the dump if it is not used, so that results without it keep their fingerprint.
    views: tuple[View, ...] = Field(default=(), exclude_if=lambda views: not views)
    regions: Regions | None = Field(default=None, exclude_if=lambda regions: regions is None)
    validation: bool = Field(default=False, exclude_if=lambda validation: not validation)

    def describe(self, size: Sequence[int]) -> list[str]:
        """What the model sees of an image in its `views` or `regions`, a phrase each; empty: the whole image, once.

        Args:
            size: Height and width of the model's input.
        """
        if self.regions:
            return [self.regions.call(region_kinds).describe()]
        return [view.call(view_kinds).describe(tuple(size)) for view in self.views]


MAX_DRAWN = 1000  # images in one figure, a row each


class Evaluate(Entry):
    """Settings of the evaluation.

    Attributes:
        images: Number of images that are drawn with their predictions and true labels.
        metrics: Metrics beside the task's own, files of `cnnkeras/metrics/`: each a mapping with the `name` and the keyword arguments of its
            `measure`.
        similar_classes: Groups of similar classes; the analysis of a detector's errors counts confusions within a group apart.
    """

    images: Annotated[int, Field(ge=0, le=MAX_DRAWN)] = 12
    # Left out of the dump if it is not used, so that results without it keep their fingerprint.
    metrics: tuple[Arguments, ...] = Field(default=(), exclude_if=lambda metrics: not metrics)
    similar_classes: tuple[tuple[str, ...], ...] = Field(default=(), exclude_if=lambda groups: not groups)
