"""Stage `postprocess`: turns a model's outputs for the test split into predictions (format: pipeline/formats/predictions.py).

Each task has a file with a function

    write(outputs, split, classes, settings, folder)

that writes the predictions into the folder. It takes the outputs of the split's examples, the packed test split, the class names, and
the keyword arguments of the task's `postprocess`, the section `postprocess` of the experiment.
"""

from cnnkeras.by_name import Files
from pipeline.formats.outputs import read_outputs
from pipeline.formats.packed import open_index, open_split, split_files
from pipeline.formats.predictions import write_protocol
from pipeline.params import load_params
from pipeline.runtime import paths
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
    entry = params.measured(name)
    dataset = paths.augmented(entry.dataset)
    inputs = [*split_files(dataset, "test"), paths.outputs(name)]
    with stage(
        params.stage("postprocess", name), name, inputs=inputs, outputs=[paths.predictions(name)], params=params
    ) as (folder,):
        index, split = open_index(dataset), open_split(dataset, "test")
        for repeat in params.repeats(name):
            outputs = read_outputs(name, examples=len(split), classes=index.classes, part=repeat.folder)
            place = folder / repeat.folder
            place.mkdir(exist_ok=True)
            if outputs.facts.protocol:
                write_protocol(place, outputs.facts.protocol)
            load(index.task).write(outputs.values, split, index.classes, entry.postprocess, place)
