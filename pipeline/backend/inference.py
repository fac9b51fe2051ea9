"""A trained model's outputs: of packed inputs, of the views of an image, of its regions."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cnnkeras.protocols.regions import Regions
from cnnkeras.protocols.views import View
from cnnkeras.protocols.windows import Proposal, cut
from pipeline.backend import devices
from pipeline.runtime import paths

if TYPE_CHECKING:
    import keras


def load_model(experiment: str, *, seed: int) -> "keras.Model":
    """An experiment's model, ready for `predict_on_batch`, after the backend's set-up."""
    with devices.set_up(seed=seed):
        from pipeline.backend import model_files

        return model_files.load(paths.model_file(experiment))


def batch_outputs(model: "keras.Model", inputs: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    """Outputs of inputs, batch by batch. The last batch is filled up, so that all have one shape, compiled once."""
    batch_size = min(batch_size, len(inputs))
    for start in range(0, len(inputs), batch_size):
        yield _outputs(model, inputs[start : start + batch_size], batch_size)


def view_outputs(
    model: "keras.Model", images: Iterable[np.ndarray], views: Sequence[View], batch_size: int
) -> Iterator[np.ndarray]:
    """Of each image uint8 (H, W, 3) the logits of all views: (views, C), protocol by protocol."""
    size = model.input_shape[1:3]
    slide = _slide(model) if any(view.is_dense for view in views) else None
    cropping = [view for view in views if not view.is_dense]
    # As many images at once as fill a batch with their crops; at least one, whose crops may be several batches.
    step = max(1, batch_size // max(1, sum(view.count for view in cropping)))
    rest = iter(images)
    while some := list(itertools.islice(rest, step)):
        crops = [view.crops(image, size) for image in some for view in cropping]
        logits = _crop_outputs(model, crops, batch_size)
        for image in some:
            yield np.concatenate([slide(view, image) if view.is_dense else next(logits) for view in views])


def region_outputs(
    model: "keras.Model",
    image: np.ndarray,
    regions: Regions,
    batch_size: int,
    proposals: Sequence[Proposal] = (),
) -> np.ndarray:
    """The merged score map float32 (H, W, C + 1) of an image uint8 (H, W, 3) from its regions."""
    size, whole = model.input_shape[1:3], image.shape[:2]
    boxes = regions.find(whole, proposals)
    crops = [cut(image, box, size)[None] for box in boxes]
    scores = (outputs[0] for outputs in _crop_outputs(model, crops, batch_size))
    return regions.merged(scores, boxes, whole, model.output_shape[-1])


def _outputs(model: "keras.Model", batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs of at most `batch_size` inputs, which are filled up to that many."""
    filling = np.repeat(batch[-1:], batch_size - len(batch), axis=0)
    return model.predict_on_batch(np.concatenate([batch, filling]))[: len(batch)]


def _crop_outputs(model: "keras.Model", groups: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Outputs of each group of crops; whole batches across the groups."""
    if not groups:
        return
    inputs = np.concatenate(groups)
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    outputs = np.concatenate([_outputs(model, batch, batch_size) for batch in batches])
    yield from np.split(outputs, np.cumsum([len(group) for group in groups])[:-1])


def _slide(model: "keras.Model") -> Callable[[View, np.ndarray], np.ndarray]:
    """A function from a dense view and an image to logits (views, C): the mean over the map of scores of each view."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    whole = to_fully_convolutional(model)

    def outputs(view: View, image: np.ndarray) -> np.ndarray:
        maps = [whole.predict_on_batch(images) for images in view.whole_images(image)]
        return np.concatenate([scores.mean(axis=(1, 2)) for scores in maps])

    return outputs
