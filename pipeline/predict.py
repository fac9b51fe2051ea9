"""`cnnkeras predict EXPERIMENT`: the trained network's raw outputs for the test split."""

import json
from typing import TYPE_CHECKING

import numpy as np

from pipeline import devices, paths, progress
from pipeline.errors import InputError
from pipeline.params import load_params
from pipeline.records import ColumnWriter, open_index, open_split, split_files
from pipeline.stage import stage

if TYPE_CHECKING:
    import keras

# A score map of 224 x 224 pixels x 21 classes is 4 MB a picture in float32; its order survives in half of that.
_DTYPES = {"classification": np.float32, "detection": np.float32, "segmentation": np.float16}


def run(name: str) -> None:
    """Compute an experiment's raw outputs: `outputs.npy` (N, ...), in the order of the test split, and `outputs.json`.

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
        writer = ColumnWriter(folder / "outputs.npy", _DTYPES[index.task], network.output_shape[1:])
        with progress.bar(f"predict {name}", len(test), unit="examples") as bar:
            _write_outputs(network, test["inputs"], writer, experiment.predict.batch_size, bar)
        facts = {"experiment": name, "dataset": experiment.dataset, "task": index.task, "classes": list(index.classes)}
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
        filling = np.repeat(batch[-1:], batch_size - len(batch), axis=0)
        outputs = network.predict_on_batch(np.concatenate([batch, filling]))
        writer.append(outputs[: len(batch)])
        bar.update(start + len(batch))
    writer.close()
