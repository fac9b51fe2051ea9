"""`cnnkeras predict EXPERIMENT`: the trained network's raw outputs for the test split."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline import devices, paths, progress
from pipeline.errors import InputError
from pipeline.originals import read_picture
from pipeline.params import Dense, Predict, load_params
from pipeline.records import ColumnWriter, Ragged, open_index, open_split, split_files
from pipeline.stage import stage
from pipeline.views import crops, dense_pictures, describe

if TYPE_CHECKING:
    import keras

# A score map of 224 x 224 pixels x 21 classes is 4 MB a picture in float32; its order survives in half of that.
_DTYPES = {"classification": np.float32, "detection": np.float32, "segmentation": np.float16}


def run(name: str) -> None:
    """Compute an experiment's raw outputs: `outputs.npy` (N, ...), in the order of the test split, and `outputs.json`.

    With `views` it is (N, views, C), and `outputs.json` says how many of them belong to each protocol.

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
        shape = (sum(view.count for view in settings.views),) if settings.views else ()
        writer = ColumnWriter(folder / "outputs.npy", _DTYPES[index.task], (*shape, *network.output_shape[1:]))
        facts = {"experiment": name, "dataset": experiment.dataset, "task": index.task, "classes": list(index.classes)}
        with progress.bar(f"predict {name}", len(test), unit="examples") as bar:
            if settings.views:
                facts["views"] = [view.count for view in settings.views]
                facts["protocol"] = describe(settings.views, index.shape[:2])
                _write_views(network, test["originals"], settings, writer, bar)
            else:
                _write_outputs(network, test["inputs"], writer, settings.batch_size, bar)
        if index.task == "detection":
            facts["boxes_per_cell"] = (network.output_shape[-1] - len(index.classes)) // 5
        (folder / "outputs.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def load_network(experiment: str, *, seed: int) -> "keras.Model":
    """A trained experiment's network, ready for `predict_on_batch`, after the backend's set-up."""
    with devices.set_up(seed=seed):
        from pipeline import networks

        return networks.load(paths.model_file(experiment))


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


def _write_views(
    network: "keras.Model", originals: Ragged, settings: Predict, writer: ColumnWriter, bar: progress.Bar
) -> None:
    """Append the outputs of every view of every picture: (views, ...) each, protocol by protocol."""
    views, size = settings.views, network.input_shape[1:3]
    slide = _slide(network) if any(view.name == "dense" for view in views) else None
    cropping = [view for view in views if view.name != "dense"]
    # As many pictures at once as fill a batch with their crops; at least one, whose crops may be several batches.
    step = max(1, settings.batch_size // max(1, sum(view.count for view in cropping)))
    for start in range(0, len(originals), step):
        pictures = [read_picture(originals[place]) for place in range(start, min(start + step, len(originals)))]
        seen = [crops(view, picture, size) for picture in pictures for view in cropping]
        logits = _crop_outputs(network, seen, settings.batch_size)
        for picture in pictures:
            found = [slide(view, picture) if view.name == "dense" else next(logits) for view in views]
            writer.append(np.concatenate(found)[None])
        bar.update(start + len(pictures))
    writer.close()


def _crop_outputs(network: "keras.Model", groups: Sequence[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Outputs of each group of crops; whole batches across the groups."""
    if not groups:
        return
    inputs = np.concatenate(groups)
    batches = (inputs[start : start + batch_size] for start in range(0, len(inputs), batch_size))
    outputs = np.concatenate([_outputs(network, batch, batch_size) for batch in batches])
    yield from np.split(outputs, np.cumsum([len(group) for group in groups])[:-1])


def _slide(network: "keras.Model") -> Callable[[Dense, np.ndarray], np.ndarray]:
    """A function from a protocol and a picture to logits (views, C): the mean over the map of scores of each view."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    whole = to_fully_convolutional(network)

    def outputs(view: Dense, picture: np.ndarray) -> np.ndarray:
        maps = [whole.predict_on_batch(pictures) for pictures in dense_pictures(view, picture)]
        return np.concatenate([scores.mean(axis=(1, 2)) for scores in maps])

    return outputs
