"""`cnnkeras export`: a trained model as a file for other programs, which takes images as they are and gives what was found in them.

Resizing, normalisation and what a task's `postprocess` does are layers of the exported model (`cnnkeras.exported`). Each task has a file with
a function

    build(images, outputs, classes, settings) -> dict[str, Output]

that takes the input of the exported model, the outputs of the trained one (both symbolic), the class names, and the keyword arguments of the
task's `postprocess`. It raises a ValueError for what an exported model cannot do.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkeras import __version__
from cnnkeras.by_name import Files
from cnnkeras.protocols import regions, views
from pipeline.backend import exporting
from pipeline.backend.trained_model import load_model
from pipeline.commands.trained import chosen_settings, require_trained
from pipeline.params import Params, load_params
from pipeline.runtime import places
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

if TYPE_CHECKING:
    import keras

_files = Files(__name__, "a task")
names, load = _files.names, _files.load

FOLDER = "export"  # in the current folder


@dataclass(frozen=True)
class Output:
    """An output of an exported model.

    Attributes:
        values: The symbolic tensor.
        meaning: What it says, for people.
    """

    values: "keras.KerasTensor"
    meaning: str


def run(name: str, *, format: str, output: Path | None = None) -> None:
    """Write the model of an experiment as a file of a format, and beside it a JSON file with what it takes and gives.

    Args:
        name: Entry under `experiments:`. With several seeds, the model of the first.
        format: A function of `pipeline.backend.exporting`.
        output: The model's path. None: export/EXPERIMENT.FORMAT in the current folder.

    Raises:
        InputError: There is no such experiment, its model is not trained or cannot be exported, a package is missing, or the path cannot
            be written.
    """
    params = load_params()
    target = output or Path(FOLDER) / f"{name}{exporting.FORMATS[format][0]}"
    description = target.with_name(f"{target.name}.json")
    _require_one_model(params, name)
    exporting.require(format, target)
    require_trained(params, name)
    settings = chosen_settings(params, name)
    places.require_replaceable(target)
    places.require_replaceable(description)
    trained = load_model(name, seed=params.seed)
    model, outputs = _build(params, name, trained, settings)
    protocol = _other_protocol(params, name)
    facts = _describe(params, name, settings, model, outputs) | {
        "format": format,
        "measured_by": protocol or "the same look",
    }
    exporting.write(format, model, target, json.dumps(facts, ensure_ascii=False))
    with replacing(description) as partial:
        partial.write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    console = Console(soft_wrap=True)
    console.print(f"model in {target}, what it takes and gives in {description}")
    if protocol:
        console.print(f"it looks once at the whole image; the figures of {name} are of: {protocol}")


def _require_one_model(params: Params, name: str) -> None:
    """Refuse what is no model that looks at a stretched image."""
    if name in params.ensembles:
        raise InputError(
            f"ensembles.{name}: expected an experiment, whose model is one; received: an ensemble. Export each of its models: "
            f"{', '.join(dict.fromkeys(params.models(name)))}"
        )
    if fit := params.experiment(name).input.fit:
        raise InputError(
            f"experiments.{name}.input.fit: expected none, as an exported model stretches each image to the size of its input; received: "
            f"{fit.name}. Export an experiment on a dataset with `size`"
        )


def _other_protocol(params: Params, name: str) -> str:
    """How the experiment's figures were measured, if by more than the one look that the exported model takes; else an empty string."""
    settings = params.experiment(name).predict
    protocols = [view.call(views) for view in settings.views]
    if protocols:
        size = params.dataset(params.experiment(name).dataset).size
        return "; ".join(protocol.describe(size) for protocol in protocols)
    return settings.regions.call(regions).describe() if settings.regions else ""


def _build(
    params: Params, name: str, trained: "keras.Model", settings: Mapping[str, Any]
) -> tuple["keras.Model", dict[str, Output]]:
    """The exported model around a trained one, and its outputs by name."""
    import keras

    from cnnkeras import exported

    entry = params.experiment(name).dataset
    if len(trained.input_shape) == 3:  # signals, (batch, L, 1)
        images = keras.Input(trained.input_shape[1:], dtype="float32", name="signals")
        outputs = trained(images)
    else:
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
        outputs = trained(exported.ResizeImages(*trained.input_shape[1:3], name="resize")(images))
    try:
        built = load(params.task(name)).build(images, outputs, params.classes(entry), settings)
    except ValueError as error:
        raise InputError(f"experiments.{name}.postprocess: {error}") from error
    return keras.Model(images, {key: output.values for key, output in built.items()}, name=name), built


def _describe(
    params: Params, name: str, settings: Mapping[str, Any], model: "keras.Model", outputs: Mapping[str, Output]
) -> dict[str, Any]:
    """What an exported model takes and gives, as JSON can hold it."""
    experiment = params.experiment(name)
    is_signal = len(model.inputs[0].shape) == 3
    meaning = "signals" if is_signal else "RGB images of any height and width, upright, 0..255"
    return {
        "experiment": name,
        "task": params.task(name),
        "architecture": experiment.architecture,
        "classes": list(params.classes(experiment.dataset)),
        "input": {"name": model.inputs[0].name, **_tensor(model.inputs[0]), "meaning": meaning},
        "outputs": {key: {**_tensor(output.values), "meaning": output.meaning} for key, output in outputs.items()},
        "postprocess": dict(settings),
        "versions": {"cnnkeras": __version__, "keras": importlib.metadata.version("keras")},
    }


def _tensor(tensor: "keras.KerasTensor") -> dict[str, Any]:
    sides: Sequence[int | None] = tensor.shape
    return {"dtype": tensor.dtype, "shape": list(sides)}
