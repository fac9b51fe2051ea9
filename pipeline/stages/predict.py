"""`cnnkeras predict EXPERIMENT`: the trained network's raw outputs for the test split."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline import regions, views
from pipeline.backend import devices
from pipeline.formats.packed import OUTPUT_DTYPES, ColumnWriter, Split, open_index, open_split, split_files
from pipeline.images.reading import read_image
from pipeline.params import Dense, Predict, Proposals, load_params
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

if TYPE_CHECKING:
    import keras


def run(name: str) -> None:
    """Compute an experiment's raw outputs: `outputs.npy` (N, ...), in the order of the test split, and `outputs.json`.

    With `views` it is (N, views, C), and `outputs.json` says how many of them belong to each protocol. With `regions` it is the
    merged score maps of the images at their own size, end to end (pixels, C + 1), which `outputs.offsets.npy` tells apart.

    Raises:
        InputError: No such experiment, or its network or its data do not exist or do not belong together.
    """
    params = load_params()
    experiment = params.experiment(name)
    dataset = paths.augmented(experiment.dataset)
    inputs = [paths.model_folder(name), *split_files(dataset, "test")]
    with stage("predict", name, inputs=inputs, outputs=[paths.raw_outputs(name)]) as (folder,):
        index, test = open_index(dataset), open_split(dataset, "test")
        network = load_network(name, seed=params.seed)
        if network.input_shape[1:] != index.shape:
            place = dataset.relative_to(paths.root())
            raise InputError(
                f"{place}: expected inputs {network.input_shape[1:]}, as the network of {name} was trained with; "
                f"received: {index.shape}. Run `cnnkeras train {name}` again"
            )
        settings = experiment.predict
        shape = network.output_shape[1:]
        if settings.views:
            shape = (sum(view.count for view in settings.views), *shape)
        elif settings.regions:
            shape = shape[-1:]
        writer = ColumnWriter(folder / "outputs.npy", OUTPUT_DTYPES[index.task], shape)
        facts = {"experiment": name, "dataset": experiment.dataset, "task": index.task, "classes": list(index.classes)}
        with progress.bar(f"predict {name}", len(test), unit="examples") as bar:
            if settings.views:
                facts["views"] = [view.count for view in settings.views]
                facts["protocol"] = views.describe(settings.views, index.shape[:2])
                images = map(read_image, test["originals"])
                for count, outputs in enumerate(view_outputs(network, images, settings), 1):
                    writer.append(outputs[None])
                    bar.update(count)
                writer.close()
            elif settings.regions:
                facts["protocol"] = [regions.describe(settings.regions)]
                np.save(folder / "outputs.offsets.npy", _write_regions(network, test, settings, writer, bar))
            else:
                _write_outputs(network, test["inputs"], writer, settings.batch_size, bar)
        if index.task == "detection":
            facts["boxes_per_cell"] = (network.output_shape[-1] - len(index.classes)) // 5
        (folder / "outputs.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def load_network(experiment: str, *, seed: int) -> "keras.Model":
    """A trained experiment's network, ready for `predict_on_batch`, after the backend's set-up."""
    with devices.set_up(seed=seed):
        from pipeline.backend import model_files

        return model_files.load(paths.model_file(experiment))


def _write_outputs(
    network: "keras.Model", inputs: np.ndarray, writer: ColumnWriter, batch_size: int, bar: progress.Bar
) -> None:
    """Append the outputs batch by batch. The last batch is filled up, so that all have one shape, compiled once."""
    batch_size = min(batch_size, len(inputs))
    for start in range(0, len(inputs), batch_size):
        batch = inputs[start : start + batch_size]
        writer.append(_outputs(network, batch, batch_size))
        bar.update(start + len(batch))
    writer.close()


def _outputs(network: "keras.Model", batch: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs of at most `batch_size` inputs, which are filled up to that many."""
    filling = np.repeat(batch[-1:], batch_size - len(batch), axis=0)
    return network.predict_on_batch(np.concatenate([batch, filling]))[: len(batch)]


def view_outputs(network: "keras.Model", images: Iterable[np.ndarray], settings: Predict) -> Iterator[np.ndarray]:
    """Of each image uint8 (H, W, 3) the logits of every view that `settings` ask for: (views, C), protocol by protocol."""
    size = network.input_shape[1:3]
    slide = _slide(network) if any(view.name == "dense" for view in settings.views) else None
    cropping = [view for view in settings.views if view.name != "dense"]
    # As many images at once as fill a batch with their crops; at least one, whose crops may be several batches.
    step = max(1, settings.batch_size // max(1, sum(view.count for view in cropping)))
    rest = iter(images)
    while some := list(itertools.islice(rest, step)):
        seen = [views.crops(view, image, size) for image in some for view in cropping]
        logits = _crop_outputs(network, seen, settings.batch_size)
        for image in some:
            found = [slide(view, image) if view.name == "dense" else next(logits) for view in settings.views]
            yield np.concatenate(found)


def _write_regions(
    network: "keras.Model", test: Split, settings: Predict, writer: ColumnWriter, bar: progress.Bar
) -> np.ndarray:
    """Append the merged score map of every image, (height x width, C + 1); returns where each one starts."""
    chosen = settings.regions
    proposals = regions.read_proposals(chosen, paths.root()) if isinstance(chosen, Proposals) else {}
    offsets = [0]
    for number, id in enumerate(test["ids"]):
        image = read_image(test["originals"][number])
        merged = region_outputs(network, image, settings, proposals.get(str(id), ()))
        writer.append(merged.reshape(-1, merged.shape[-1]))
        offsets.append(writer.count)
        bar.update(number + 1)
    writer.close()
    return np.asarray(offsets, np.int64)


def region_outputs(
    network: "keras.Model", image: np.ndarray, settings: Predict, proposals: Sequence[regions.Proposal] = ()
) -> np.ndarray:
    """The merged score map float32 (H, W, C + 1) of an image uint8 (H, W, 3) from the regions that `settings` ask for."""
    chosen, size = settings.regions, network.input_shape[1:3]
    boxes = regions.boxes_of(chosen, image.shape[:2], proposals)
    crops = [regions.cut(image, box, size)[None] for box in boxes]
    scores = (outputs[0] for outputs in _crop_outputs(network, crops, settings.batch_size))
    return regions.merge(scores, boxes, image.shape[:2], network.output_shape[-1], chosen.merge)


def _crop_outputs(network: "keras.Model", groups: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Outputs of each group of crops; whole batches across the groups."""
    if not groups:
        return
    inputs = np.concatenate(groups)
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    outputs = np.concatenate([_outputs(network, batch, batch_size) for batch in batches])
    yield from np.split(outputs, np.cumsum([len(group) for group in groups])[:-1])


def _slide(network: "keras.Model") -> Callable[[Dense, np.ndarray], np.ndarray]:
    """A function from a protocol and an image to logits (views, C): the mean over the map of scores of each view."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    whole = to_fully_convolutional(network)

    def outputs(view: Dense, image: np.ndarray) -> np.ndarray:
        maps = [whole.predict_on_batch(images) for images in views.dense_images(view, image)]
        return np.concatenate([scores.mean(axis=(1, 2)) for scores in maps])

    return outputs
