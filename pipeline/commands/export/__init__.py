"""`cnnkeras export`: a trained model as a file for other programs, which takes images as they are and gives what was found in them.

Resizing, normalisation and what a task's `postprocess` does are layers of the exported model (`cnnkeras.exported`). Each task has a file with
a function

    build(images, outputs, classes, settings, frame) -> dict[str, Output]

that takes the input of the exported model, the outputs of the trained one (both symbolic), the class names, the keyword arguments of the
task's `postprocess`, and where an image lies in the input of the trained one (symbolic, as `Fit.frame`; None: it fills it). It raises a
ValueError for what an exported model cannot do.
"""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkeras import __version__
from cnnkeras.by_name import Files
from cnnkeras.protocols.posteriors import require_one_shape
from pipeline.backend import exporting
from pipeline.backend.trained_model import load_model
from pipeline.commands.trained import chosen_settings, require_trained
from pipeline.params import Params, input_shape, load_params
from pipeline.runtime import places
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import replacing

if TYPE_CHECKING:
    import keras

_files = Files(__name__, "a task")
names, load = _files.names, _files.load

FOLDER = "export"  # in the current folder
_STORED = ("size", "shorter_side", "max_shorter_side")  # keys of a data set that say how large its packed images are


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
        name: Entry under `experiments:` or `ensembles:`, whose models become one. With several seeds, the model of the first.
        format: A function of `pipeline.backend.exporting`.
        output: The model's path. None: export/EXPERIMENT.FORMAT in the current folder.

    Raises:
        InputError: There is no such entry, a model is not trained or cannot be exported, a package is missing, or the path cannot
            be written.
    """
    params = load_params()
    target = output or Path(FOLDER) / f"{name}{exporting.FORMATS[format][0]}"
    description = target.with_name(f"{target.name}.json")
    params.measured(name)
    exporting.require(format, target)
    for model in params.models(name):
        require_trained(params, model)
    settings = chosen_settings(params, name)
    places.require_replaceable(target)
    places.require_replaceable(description)
    model, outputs = _build(params, name, settings)
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


def _other_protocol(params: Params, name: str) -> str:
    """How the figures were measured, if by more than the one look that the exported model takes; else an empty string."""
    experiments = {model: params.experiment(model) for model in params.models(name)}
    seen = {
        model: "; ".join(entry.predict.describe(input_shape(params, entry)[:2])) for model, entry in experiments.items()
    }
    if name in experiments:
        return seen[name]
    return "; ".join(f"{model}: {protocol}" for model, protocol in seen.items() if protocol)


def _build(params: Params, name: str, settings: Mapping[str, Any]) -> tuple["keras.Model", dict[str, Output]]:
    """The exported model around the trained ones, and its outputs by name."""
    models = {model: load_model(model, seed=params.seed) for model in dict.fromkeys(params.models(name))}
    import keras

    first = next(iter(models.values()))
    if len(first.input_shape) == 3:  # signals, (batch, L, 1)
        images = keras.Input(first.input_shape[1:], dtype="float32", name="signals")
    else:
        images = keras.Input((None, None, 3), dtype="uint8", name="images")
    seen = {model: _seen(params, model, trained, images) for model, trained in models.items()}
    outputs = _outputs(params, name, {model: outputs for model, (outputs, _) in seen.items()})
    frame, classes = next(iter(seen.values()))[1], params.classes(params.measured(name).dataset)
    try:
        built = load(params.task(name)).build(images, outputs, classes, settings, frame)
    except ValueError as error:
        raise InputError(f"{_section(params, name)}.{name}.postprocess: {error}") from error
    return keras.Model(images, {key: output.values for key, output in built.items()}, name=name), built


def _seen(
    params: Params, name: str, trained: "keras.Model", images: "keras.KerasTensor"
) -> tuple["keras.KerasTensor", "keras.KerasTensor | None"]:
    """The outputs of an experiment's model for images of any size, and where an image lies in its input; None: it fills it."""
    import keras

    from cnnkeras import exported

    experiment = params.experiment(name)
    model = keras.Model(trained.input, trained.output, name=f"model_{name}")
    if len(trained.input_shape) == 3:
        return model(images), None
    if experiment.input.fit is None:
        return model(exported.ResizeImages(*trained.input_shape[1:3], name=f"resize_{name}")(images)), None
    stored = params.dataset(experiment.dataset).model_dump(mode="json", include=set(_STORED))
    fit = experiment.input.fit.dump()
    inputs, frame = exported.FitImages(stored, fit, trained.input_shape[1:3], name=f"fit_{name}")(images)
    return model(inputs), frame


def _outputs(params: Params, name: str, outputs: Mapping[str, "keras.KerasTensor"]) -> "keras.KerasTensor":
    """The outputs of an experiment, or the combined ones of an ensemble, from those of each model."""
    if name in outputs:
        return outputs[name]
    from cnnkeras.exported import CombinePosteriors

    ensemble = params.ensemble(name)
    members = [_outputs(params, member, outputs) for member in ensemble.members]
    try:
        require_one_shape([member.shape[1:] for member in members])
    except ValueError as error:
        raise InputError(f"ensembles.{name}.members: {error}") from error
    models = [len(params.models(member)) for member in ensemble.members]
    return CombinePosteriors(models, ensemble.combine, name=f"combine_{name}")(members)


def _section(params: Params, name: str) -> str:
    return "ensembles" if name in params.ensembles else "experiments"


def _describe(
    params: Params, name: str, settings: Mapping[str, Any], model: "keras.Model", outputs: Mapping[str, Output]
) -> dict[str, Any]:
    """What an exported model takes and gives, as JSON can hold it."""
    architectures = dict.fromkeys(params.experiment(model).architecture for model in params.models(name))
    is_signal = len(model.inputs[0].shape) == 3
    meaning = "signals" if is_signal else "RGB images of any height and width, upright, 0..255"
    return {
        "experiment": name,
        "task": params.task(name),
        "architecture": ", ".join(architectures),
        "classes": list(params.classes(params.measured(name).dataset)),
        "input": {"name": model.inputs[0].name, **_tensor(model.inputs[0]), "meaning": meaning},
        "outputs": {key: {**_tensor(output.values), "meaning": output.meaning} for key, output in outputs.items()},
        "postprocess": dict(settings),
        "versions": {"cnnkeras": __version__, "keras": importlib.metadata.version("keras")},
    }


def _tensor(tensor: "keras.KerasTensor") -> dict[str, Any]:
    sides: Sequence[int | None] = tensor.shape
    return {"dtype": tensor.dtype, "shape": list(sides)}
