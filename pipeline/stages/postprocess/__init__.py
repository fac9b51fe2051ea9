"""Stage `postprocess`: from a model's outputs for the test split to predictions (pipeline/formats/predictions.py).

What is made of the outputs differs by task: one file each, with the same `write`.

    write(outputs, split, classes, settings, folder)

takes the outputs of the split's examples, the test split of the packed dataset, the class names and the experiment's `postprocess` params,
keyword arguments of the task's own `postprocess`, and writes the predictions into the folder.
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

    Raises:
        InputError: There is no such experiment, what it needs has not been made or does not fit together, or the
            outputs are no numbers.
    """
    params = load_params()
    entry = params.measured(name)
    dataset = paths.augmented(entry.dataset)
    inputs = [*split_files(dataset, "test"), paths.outputs(name)]
    with stage(params.stage("postprocess", name), name, inputs=inputs, outputs=[paths.predictions(name)]) as (folder,):
        index, split = open_index(dataset), open_split(dataset, "test")
        outputs = read_outputs(name, examples=len(split), classes=index.classes)
        if outputs.facts.protocol:
            write_protocol(folder, outputs.facts.protocol)
        load(index.task).write(outputs.values, split, index.classes, entry.postprocess, folder)
