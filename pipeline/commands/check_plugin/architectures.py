"""The contract of an architecture (CONTRIBUTING.md, "Add an architecture"): tables that agree, and a network that does what they say."""

import inspect
import tempfile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, get_args

import numpy as np

from cnnkeras.architectures import Published
from pipeline.commands.plugin_contract import require_tasks

if TYPE_CHECKING:
    import keras

_GIVEN = ("input_shape", "output_shape", "variant", "input_mean", "input_std")


def check(module: ModuleType) -> None:
    """Check a module; its network is built, run, saved and loaded.

    Raises:
        ValueError: It lacks a name, its tables do not agree, or the network is not what they say.
    """
    _check_tables(module)
    for variant in module.VARIANTS:
        _check_size(module, variant)
    _check_network(module)


def _check_tables(module: ModuleType) -> None:
    parameters = inspect.signature(module.build).parameters
    if missing := [name for name in _GIVEN if name not in parameters]:
        raise ValueError(f"build: expected the arguments {', '.join(_GIVEN)}; received: none of {', '.join(missing)}")
    if named := [name for name, each in parameters.items() if each.kind is not each.KEYWORD_ONLY]:
        raise ValueError(f"build: expected keyword-only arguments; received: {', '.join(named)}")
    if get_args(parameters["variant"].annotation) != tuple(module.VARIANTS):
        received = parameters["variant"].annotation
        raise ValueError(f"build: expected `variant` as Literal of {', '.join(module.VARIANTS)}; received: {received}")
    for name in ("PARAMETERS", "PAPER_SHAPES"):
        if getattr(module, name).keys() != module.VARIANTS.keys():
            raise ValueError(
                f"{name}: expected an entry for each of VARIANTS; received: {', '.join(getattr(module, name))}"
            )
    require_tasks(module)
    for row in module.PUBLISHED:
        if not isinstance(row, Published):
            raise ValueError(f"PUBLISHED: expected rows of cnnkeras.architectures.Published; received: {row!r}")


def _check_size(module: ModuleType, variant: str) -> None:
    """At the paper's shapes, without memory for the weights: the shape of the output, and the number of trained parameters."""
    from cnnkeras.summary import build_outline

    input_shape, output_shape = module.PAPER_SHAPES[variant]
    model = build_outline(module.build, input_shape=input_shape, output_shape=output_shape, variant=variant)
    if (received := tuple(model.output.shape[1:])) != tuple(output_shape):
        raise ValueError(
            f"PAPER_SHAPES[{variant!r}]: expected the output's shape, {received}; received: {output_shape}"
        )
    trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    if trained != module.PARAMETERS[variant]:
        raise ValueError(
            f"PARAMETERS[{variant!r}]: expected the number of trained parameters, {trained:,}; received: {module.PARAMETERS[variant]:,}"
        )


def _check_network(module: ModuleType) -> None:
    """The tiny instance: finite float32 numbers of the stated shape, the same from the saved model."""
    from pipeline.backend import model_files

    model = module.build(**module.TINY)
    inputs = np.random.default_rng(0).normal(size=(2, *module.TINY["input_shape"])).astype("float32")
    outputs = _outputs(model, inputs)
    expected = (2, *module.TINY["output_shape"])
    if outputs.shape != expected or outputs.dtype != np.float32 or not np.isfinite(outputs).all():
        raise ValueError(
            f"TINY: expected finite numbers, float32 {expected}; received: {outputs.dtype} {outputs.shape}, "
            f"{'finite' if np.isfinite(outputs).all() else 'not all finite'}"
        )
    with tempfile.TemporaryDirectory(prefix="cnnkeras-") as folder:
        file = Path(folder) / "model.keras"
        model_files.save(model, file)
        if not np.array_equal(_outputs(model_files.load(file), inputs), outputs):
            raise ValueError("expected a saved model to give the same numbers as the network; received: others")


def _outputs(model: "keras.Model", inputs: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_on_batch(inputs))
