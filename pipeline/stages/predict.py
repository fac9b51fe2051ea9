"""Stage `predict`: computes a model's outputs for the test split, and if asked for the validation split, before any post-processing."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnkeras import tasks
from cnnkeras.looking.outputs import batch_outputs, region_outputs, view_outputs
from cnnkeras.protocols import fits, regions, views
from cnnkeras.protocols.fits import Fit
from pipeline.backend.trained_model import load_model
from pipeline.formats.fitted import inputs
from pipeline.formats.outputs import Facts, OutputsWriter, split_folder
from pipeline.formats.packed import Index, Split, open_index, open_split, split_files
from pipeline.formats.proposals import read_proposals
from pipeline.images.reading import read_image
from pipeline.params import Experiment, Predict, Repeat, load_params
from pipeline.runtime import outcome, paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

if TYPE_CHECKING:
    import keras


def run(name: str) -> None:
    """Compute the outputs of an experiment's model, or of that of each seed, for the test split (format: pipeline/formats/outputs.py).

    Args:
        name: Entry under `experiments:`.

    Raises:
        InputError: There is no such experiment, its model or dataset does not exist, or the dataset has another input shape than the
            model.
    """
    params = load_params()
    experiment = params.experiment(name)
    dataset = paths.augmented(experiment.dataset)
    names = ["test", *(["val"] if experiment.predict.validation else [])]
    inputs = [paths.model_folder(name), *dict.fromkeys(file for split in names for file in split_files(dataset, split))]
    with stage("predict", name, inputs=inputs, outputs=[paths.outputs(name)], params=params) as (folder,):
        index = open_index(dataset)
        if empty := [split for split in names if not index.splits[split]["examples"]]:
            raise InputError(f"datasets.{experiment.dataset}: expected examples to predict; received: no {empty[0]}")
        splits = {split: open_split(dataset, split) for split in names}
        for repeat in params.repeats(name):
            _predict(repeat, experiment, index, splits, folder / repeat.folder, seed=params.seed)
    counts = " and ".join(f"{len(split):,} {name}" for name, split in splits.items())
    outcome.say("predict", name, f"outputs for {counts} examples", paths.outputs(name))


def _predict(
    repeat: Repeat, experiment: Experiment, index: Index, splits: Mapping[str, Split], folder: Path, *, seed: int
) -> None:
    """Write the outputs of one of the experiment's models for some splits into a folder."""
    name = repeat.name
    model = load_model(name, seed=seed, part=repeat.folder)
    fit = experiment.input.fit and experiment.input.fit.call(fits)
    _require_inputs(model, index, name, experiment)
    facts, shape = _describe(model, index, name, experiment)
    done, total = 0, sum(map(len, splits.values()))
    with progress.bar(f"predict {repeat.title}", total, unit="examples") as bar:
        for split, examples in splits.items():
            place = split_folder(folder, split)
            place.mkdir(exist_ok=True)
            writer = OutputsWriter(place, facts, shape)
            writer.close(
                _write(
                    model, examples, experiment.predict, fit, writer, lambda count, done=done: bar.update(done + count)
                )
            )
            done += len(examples)


def _require_inputs(model: "keras.Model", index: Index, name: str, experiment: Experiment) -> None:
    shape = (*experiment.input.size, 3) if experiment.input.size else index.shape
    if model.input_shape[1:] != shape:
        folder = paths.augmented(experiment.dataset).relative_to(paths.root())
        raise InputError(
            f"{folder}: expected inputs {model.input_shape[1:]}, as the model of {name} was trained with; "
            f"received: {shape}. Run `cnnkeras train {name}` again"
        )


def _describe(model: "keras.Model", index: Index, name: str, experiment: Experiment) -> tuple[Facts, tuple[int, ...]]:
    """Facts on the outputs, and the shape of one row of them."""
    shape, settings = model.output_shape[1:], experiment.predict
    facts = {"experiment": name, "dataset": experiment.dataset, "task": index.task, "classes": index.classes}
    facts |= tasks.load(index.task).describe_outputs(shape, len(index.classes))
    if seen := settings.describe(model.input_shape[1:3]):
        facts |= {"protocol": seen}
    if settings.views:
        counts = [view.call(views).count for view in settings.views]
        facts |= {"views": counts}
        shape = (sum(counts), *shape)
    elif settings.regions:
        shape = shape[-1:]
    elif experiment.input.fit:
        size, fit = experiment.input.size, experiment.input.fit
        facts |= {"fit": {**fit.dump(), "size": list(size)}, "protocol": [fit.call(fits).describe(size)]}
    return Facts(**facts), shape


def _write(
    model: "keras.Model",
    test: Split,
    settings: Predict,
    fit: Fit | None,
    writer: OutputsWriter,
    show: Callable[[int], None],
) -> list[int] | None:
    """Append the outputs of all examples; returns the first row of each example and the number of rows, None if each has one row."""
    if settings.regions:
        return _write_regions(model, test, settings, writer, show)
    if settings.views:
        protocols = [view.call(views) for view in settings.views]
        image_outputs = view_outputs(model, _originals(test), protocols, settings.batch_size)
        batches = (outputs[None] for outputs in image_outputs)
    else:
        batches = batch_outputs(model, inputs(test, fit, model.input_shape[1:3]), settings.batch_size)
    count = 0
    for outputs in batches:
        writer.append(outputs)
        count += len(outputs)
        show(count)
    return None


def _write_regions(
    model: "keras.Model", test: Split, settings: Predict, writer: OutputsWriter, show: Callable[[int], None]
) -> list[int]:
    """Append the merged score map of each image, (height x width, C + 1); returns the first row of each image and the number of rows."""
    protocol = settings.regions.call(regions)
    proposals = read_proposals(protocol.file, protocol.sha256) if protocol.file else {}
    offsets = [0]
    for id, image in zip(test["ids"], _originals(test), strict=True):
        boxes = proposals.get(str(id), ())
        scores = region_outputs(model, image, protocol, settings.batch_size, boxes)
        writer.append(scores.reshape(-1, scores.shape[-1]))
        offsets.append(offsets[-1] + scores.shape[0] * scores.shape[1])
        show(len(offsets) - 1)
    return offsets


def _originals(test: Split) -> Iterator[np.ndarray]:
    """The published images of a split, at their own sizes."""
    return (read_image(file, str(id)) for id, file in zip(test["ids"], test["originals"], strict=True))
