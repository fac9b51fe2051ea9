"""A trained model's outputs for packed inputs, for the views of images, and for the regions of an image."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkeras.protocols.regions import Regions
from cnnkeras.protocols.views import View
from cnnkeras.protocols.windows import Proposal, cut

if TYPE_CHECKING:
    import keras


def batch_outputs(model: "keras.Model", inputs: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Outputs (batch, ...) of inputs (n, ...), batch by batch. The last batch is filled up: for one shape the model is compiled once.

    An input that is alone is computed beside a copy of itself, unless `batch_size` is 1: a processor multiplies a matrix by a vector in
    another order than by a matrix, so that the last bits of one image would be others alone than in a batch.
    """
    batch_size = max(1, min(batch_size, max(2, len(inputs))))
    for start in range(0, len(inputs), batch_size):
        yield _outputs(model, inputs[start : start + batch_size], batch_size)


def view_outputs(
    model: "keras.Model", images: Iterable[np.ndarray], views: Sequence[View], batch_size: int
) -> Iterator[np.ndarray]:
    """For each image uint8 (H, W, 3) the logits of all its views, float32 (views, C), protocol by protocol."""
    size = model.input_shape[1:3]
    slide = _slide(model) if any(view.is_dense for view in views) else None
    crop_views = [view for view in views if not view.is_dense]
    # A group has as many images as fill a batch with their crops, and at least one, whose crops may be several batches.
    group_size = max(1, batch_size // max(1, sum(view.count for view in crop_views)))
    remaining = iter(images)
    while group := list(itertools.islice(remaining, group_size)):
        crops = [view.crops(image, size) for image in group for view in crop_views]
        logits = _crop_outputs(model, crops, batch_size)
        for image in group:
            yield np.concatenate([slide(view, image) if view.is_dense else next(logits) for view in views])


def region_outputs(
    model: "keras.Model",
    image: np.ndarray,
    regions: Regions,
    batch_size: int,
    proposals: Sequence[Proposal] = (),
) -> np.ndarray:
    """The merged score map float32 (H, W, C + 1) of an image uint8 (H, W, 3) from its regions."""
    model_size, image_size = model.input_shape[1:3], image.shape[:2]
    boxes = regions.find(image_size, proposals)
    crops = [cut(image, box, model_size)[None] for box in boxes]
    scores = (outputs[0] for outputs in _crop_outputs(model, crops, batch_size))
    return regions.merged(scores, boxes, image_size, model.output_shape[-1])


def _outputs(model: "keras.Model", batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs of at most `batch_size` inputs; the batch is filled up with copies of the last input, whose outputs are dropped."""
    filling = np.repeat(batch[-1:], batch_size - len(batch), axis=0)
    return model.predict_on_batch(np.concatenate([batch, filling]))[: len(batch)]


def _crop_outputs(model: "keras.Model", groups: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Outputs of each group of crops, an array for each; a batch may hold crops of several groups."""
    if not groups:
        return
    inputs = np.concatenate(groups)
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    outputs = np.concatenate([_outputs(model, batch, batch_size) for batch in batches])
    yield from np.split(outputs, np.cumsum([len(group) for group in groups])[:-1])


def _slide(model: "keras.Model") -> Callable[[View, np.ndarray], np.ndarray]:
    """A function from a dense view and an image to logits (views, C): for each view the mean of its map of logits."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    sliding_model = to_fully_convolutional(model)

    def logits(view: View, image: np.ndarray) -> np.ndarray:
        maps = [sliding_model.predict_on_batch(images) for images in view.whole_images(image)]
        return np.concatenate([scores.mean(axis=(1, 2)) for scores in maps])

    return logits
