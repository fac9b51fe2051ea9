"""Stage `postprocess`: turns a model's outputs for the test split into predictions (format: pipeline/formats/predictions.py).

Each task has a file with a function

    write(outputs, split, classes, settings, folder, frames) -> str

that writes the predictions into the folder and returns in words what they are. It takes the outputs of the split's examples, the packed test split, the class names,
the keyword arguments of the task's `postprocess`, the section `postprocess` of the experiment, and where each image lies in the input that the model saw
(`Fit.frame`; None: it fills it).

A task of which a setting may be `best` also has

    choose(outputs, split, classes, settings, frames) -> tuple[Mapping, Mapping]

that takes the outputs for the validation split, and returns the settings that it chose and what else is worth knowing of the choice.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnkeras.by_name import Files
from cnnkeras.tasks import BEST
from pipeline.formats.outputs import read_outputs
from pipeline.formats.packed import Index, Split, open_index, open_split, split_files
from pipeline.formats.predictions import write_chosen, write_protocol
from pipeline.params import Repeat, check_found_classes, load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

_files = Files(__name__, "a task")
names, load = _files.names, _files.load


def run(name: str) -> None:
    """Post-process the outputs of an experiment or an ensemble.

    Args:
        name: Entry under `experiments:` or `ensembles:`.

    Raises:
        InputError: There is no such entry, the outputs or the dataset do not exist or do not fit each other, or the outputs are not
            finite.
    """
    params = load_params()
    check_found_classes(params, name)
    entry = params.measured(name)
    dataset, chooses = paths.augmented(entry.dataset), BEST in entry.postprocess.values()
    inputs = [*split_files(dataset, "test"), *(split_files(dataset, "val") if chooses else ()), paths.outputs(name)]
    with stage(
        params.stage("postprocess", name),
        name,
        inputs=list(dict.fromkeys(inputs)),
        outputs=[paths.predictions(name)],
        params=params,
    ) as (folder,):
        index, split = open_index(dataset), open_split(dataset, "test")
        task = load(index.task)
        for repeat in params.repeats(name):
            outputs = read_outputs(name, examples=len(split), classes=index.classes, part=repeat.folder)
            place, settings = folder / repeat.folder, entry.postprocess
            place.mkdir(exist_ok=True)
            if outputs.facts.protocol:
                write_protocol(place, outputs.facts.protocol)
            if chooses:
                settings = _chosen(repeat, settings, index, open_split(dataset, "val"), place)
            what = task.write(outputs.values, split, index.classes, settings, place, outputs.facts.frames(split))
    outcome.say("postprocess", name, what, paths.predictions(name))


def _chosen(repeat: Repeat, settings: Mapping[str, Any], index: Index, split: Split, place: Path) -> dict[str, Any]:
    """The settings with those that are `best` chosen on the validation split; writes them down."""
    name = repeat.name
    outputs = read_outputs(name, examples=len(split), classes=index.classes, part=repeat.folder, split="val")
    try:
        chosen, facts = load(index.task).choose(
            outputs.values, split, index.classes, settings, outputs.facts.frames(split)
        )
    except ValueError as error:
        raise InputError(f"{paths.PARAMS}: experiments.{name}.postprocess: {error}") from error
    write_chosen(place, chosen, facts)
    return {**settings, **chosen}
