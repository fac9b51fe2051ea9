"""The sections `predict` and `evaluate` of an experiment: how it is tested."""

from typing import Annotated

from pydantic import Field

from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols import views as view_kinds
from pipeline.params.values import Positive
from pipeline.runtime.entries import Entry, functions, one_of

View = one_of(functions(view_kinds), check=True)
Regions = one_of(functions(region_kinds), check=True)


class Predict(Entry):
    """How a model's outputs are computed.

    Attributes:
        batch_size: Inputs at once.
        views: Test protocols of a classifier, functions of `cnnkeras.protocols.views`, whose class posteriors are averaged; none: the
            packed input, once.
        regions: Parts of an image that are segmented one by one, a function of `cnnkeras.protocols.regions`; none: the packed input, once.
    """

    batch_size: Positive = 64
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    views: tuple[View, ...] = Field(default=(), exclude_if=lambda views: not views)
    regions: Regions | None = Field(default=None, exclude_if=lambda regions: regions is None)


MAX_DRAWN = 1000  # images in one figure, a row each


class Evaluate(Entry):
    """What the evaluation draws and tells apart.

    Attributes:
        images: Images with predictions and truth to draw.
        similar_classes: Groups of classes that a detector may be forgiven to mix up, for the analysis of its errors.
    """

    images: Annotated[int, Field(ge=0, le=MAX_DRAWN)] = 12
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    similar_classes: tuple[tuple[str, ...], ...] = Field(default=(), exclude_if=lambda groups: not groups)
