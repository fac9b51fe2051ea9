"""Checks of the model that an experiment's initial weights are copied from."""

from fnmatch import fnmatchcase

from cnnkeras import architectures
from cnnkeras.by_name import nearest, unknown
from pipeline.backend.layer_table import layers
from pipeline.params.experiments import Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime.paths import SCRATCH


def check_initial_weights(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse initial weights of an unknown model, experiments that start from each other, and patterns that match no layer."""
    chain = [name]
    location = ("experiments", name, "train", "initial_weights", "experiment")
    start = params.experiments[name].train.initial_weights
    while (other := params.experiments[chain[-1]].train.initial_weights.experiment) not in (SCRATCH, *params.imports):
        if other not in params.experiments:
            known = [*params.experiments, *params.imports, SCRATCH]
            raise file.error(location, unknown(other, known, "experiment"))
        if other in chain:
            raise file.error(
                location,
                f"expected experiments that do not start from each other; received: {' <- '.join([*chain, other])}",
            )
        chain.append(other)
    if (start.experiment == SCRATCH) == bool(start.layers):
        raise file.error(
            location[:-1],
            f"expected `layers` exactly when `experiment` is not {SCRATCH!r}; received: {list(start.layers)}",
        )
    if start.layers:
        _check_layers(file, params, name)
    if not params.experiments[name].train.epochs:
        _check_untrained(file, params, name)


def _check_layers(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse a pattern that matches no common layer of the two models, if the table of layers has both."""
    experiment = params.experiments[name]
    start = experiment.train.initial_weights
    targets = layers(experiment.architecture, params.task(name), experiment.model)
    if start.experiment in params.imports:
        entry = params.imports[start.experiment]
        donors = layers(entry.architecture, architectures.load(entry.architecture).TASKS[0], entry.model)
    else:
        entry = params.experiments[start.experiment]
        donors = layers(entry.architecture, params.task(start.experiment), entry.model)
    if targets is None or donors is None:
        return  # not in the table, such as an architecture of the user's: the training checks the layers
    shared = [layer for layer in targets if layer in donors]
    for position, pattern in enumerate(start.layers):
        if not any(fnmatchcase(layer, pattern) for layer in shared):
            raise file.error(
                ("experiments", name, "train", "initial_weights", "layers", position),
                f"expected a pattern of layers that {name} and {start.experiment} both have "
                f"({', '.join(shared) or 'there are none'}); received: {pattern!r}{nearest(pattern, shared)}",
            )


def _check_untrained(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse an experiment of 0 epochs that copies no weights, or whose input statistics differ from those of its imported model."""
    location, experiment = ("experiments", name), params.experiments[name]
    start = experiment.train.initial_weights.experiment
    if start == SCRATCH:
        raise file.error(
            (*location, "train", "epochs"),
            "expected a number greater than 0; received: 0, which takes `initial_weights` from elsewhere",
        )
    if start in params.imports:
        expected, received = params.imports[start].input, experiment.input
        if (_per_channel(expected.mean), _per_channel(expected.std)) != (
            _per_channel(received.mean),
            _per_channel(received.std),
        ):
            raise file.error(
                (*location, "input"),
                f"expected the input of {start}, {_in_yaml(expected)}; received: {_in_yaml(received)}",
            )


def _per_channel(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,) * 3


def _in_yaml(entry: Input) -> str:
    """The entry `input` as YAML in one line."""
    values = {"mean": entry.mean, "std": entry.std}
    parts = (f"{key}: {list(value) if isinstance(value, tuple) else value}" for key, value in values.items())
    return "{" + ", ".join(parts) + "}"
