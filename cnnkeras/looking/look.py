"""A model's look at an image of any size, as the test does it: the same numbers, to the last digit, for the same file."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkeras import answers, tasks
from cnnkeras.answers import Answer
from cnnkeras.by_name import call
from cnnkeras.jpeg import decode_jpeg, encode_jpeg, reduction
from cnnkeras.looking.outputs import batch_outputs, region_outputs, view_outputs
from cnnkeras.protocols import fits
from cnnkeras.protocols import regions as region_kinds
from cnnkeras.protocols import views as view_kinds
from cnnkeras.protocols.fits import Fit, Size
from cnnkeras.protocols.posteriors import average_views
from cnnkeras.protocols.regions import Regions
from cnnkeras.protocols.views import View
from cnnkeras.protocols.windows import Proposal
from cnnkeras.resizing import resize, stored_size

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Look:
    """What params.yaml says of how an experiment's model sees an image, and of what is decided from its outputs.

    Attributes:
        task: Of the data set.
        classes: Their names in order, without background.
        postprocess: Keyword arguments of the task's `postprocess`; none is `best`.
        dataset: `size`, `shorter_side` or `max_shorter_side`, and `jpeg_quality`: how the data set packs an image.
        input: `size` and `fit` of the model's input, where a packed image is none.
        predict: `batch_size`, and `views` or `regions`.
    """

    task: str
    classes: Sequence[str]
    postprocess: Mapping[str, Any]
    dataset: Mapping[str, Any]
    input: Mapping[str, Any]
    predict: Mapping[str, Any]

    @property
    def is_of_signals(self) -> bool:
        """Whether the model takes signals (L, 1), not images."""
        return len(self.dataset.get("size") or (0, 0)) == 1

    @property
    def views(self) -> list[View]:
        """Views of an image; empty: none."""
        return [call(view_kinds, view) for view in self.predict.get("views", ())]

    @property
    def regions(self) -> Regions | None:
        """Regions of an image; None: none."""
        named = self.predict.get("regions")
        return call(region_kinds, named) if named else None

    @property
    def fit(self) -> Fit | None:
        """How a packed image becomes an input; None: it is one."""
        named = self.input.get("fit")
        return call(fits, named) if named else None

    def outputs(
        self, model: "keras.Model", examples: Sequence[np.ndarray], proposals: Sequence[Sequence[Proposal]] = ()
    ) -> list[np.ndarray]:
        """For each example the outputs that the stage `predict` stores, with views (views, C).

        Args:
            model: The trained model.
            examples: Images uint8 (H, W, 3), each of its own size, or signals float32 (L, 1).
            proposals: Object proposals of each image, for regions that are made of them.

        Raises:
            ValueError: The regions are proposals, and there are none.
        """
        batch_size, regions = self.predict["batch_size"], self.regions
        if self.views:
            found: Iterable[np.ndarray] = view_outputs(model, examples, self.views, batch_size)
        elif regions:
            if regions.file and len(proposals) != len(examples):
                raise ValueError(
                    f"expected regions that every image has; received: proposals, and {regions.file} has none for your images"
                )
            each = proposals if regions.file else [()] * len(examples)
            found = (
                region_outputs(model, image, regions, batch_size, boxes)
                for image, boxes in zip(examples, each, strict=True)
            )
        else:
            inputs = np.stack([self._input(example) for example in examples]) if examples else ()
            found = (row for batch in batch_outputs(model, inputs, batch_size) for row in batch)
        return [np.asarray(values, tasks.load(self.task).OUTPUT_DTYPE) for values in found]

    def averaged(self, outputs: np.ndarray) -> np.ndarray:
        """An example's outputs as the task's `postprocess` takes them: of several views the logarithms of the mean posterior."""
        counts = [view.count for view in self.views]
        return average_views(outputs[None], counts)[0] if counts else outputs

    def answer(self, shape: Size, outputs: np.ndarray) -> Answer:
        """What the outputs say of an image of `shape` (height, width), or of a signal; outputs as `averaged` returns them."""
        return answers.load(self.task).answer(outputs, shape, self.classes, self.postprocess, self.frame(shape))

    def frame(self, shape: Size) -> np.ndarray | None:
        """Where an image of `shape` lies in the model's input, as `Fit.frame`; None: it fills it, or is seen in parts."""
        if self.fit is None or self.views or self.regions:
            return None
        return self.fit.frame(self._stored_size(shape), self._input_size)

    @property
    def _input_size(self) -> Size:
        return tuple(self.input["size"])

    def _stored_size(self, shape: Size) -> Size:
        sides = {key: self.dataset.get(key) for key in ("size", "shorter_side", "max_shorter_side")}
        return stored_size(shape, **sides)

    def _input(self, example: np.ndarray) -> np.ndarray:
        """What the model gets of an example in one look: as `augment` packs it, and then by the fit."""
        if self.is_of_signals:
            return example
        packed, quality = resize(example, self._stored_size(example.shape[:2])), self.dataset.get("jpeg_quality")
        shape = packed.shape[:2]
        if quality is not None:
            least = self.fit and self.fit.scaled(shape, self._input_size)
            packed = decode_jpeg(encode_jpeg(packed, quality), reduction(shape, least))
        return packed if self.fit is None else self.fit.image(packed, self._input_size, shape)
