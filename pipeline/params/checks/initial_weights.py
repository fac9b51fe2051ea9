"""Where the initial weights of an experiment come from."""

from cnnkeras.by_name import unknown
from pipeline.params.experiments import Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime.paths import SCRATCH


def check_initial_weights(file: ParsedFile, params: Params, name: str) -> None:
    """Refuse weights that come from nowhere, or in a circle."""
    seen = [name]
    location = ("experiments", name, "train", "initial_weights", "experiment")
    start = params.experiments[name].train.initial_weights
    while (other := params.experiments[seen[-1]].train.initial_weights.experiment) not in (SCRATCH, *params.imports):
        if other not in params.experiments:
            known = [*params.experiments, *params.imports, SCRATCH]
            raise file.error(location, unknown(other, known, "experiment"))
        if other in seen:
            raise file.error(
                location,
                f"expected experiments that do not start from each other; received: {' <- '.join([*seen, other])}",
            )
        seen.append(other)
    if (start.experiment == SCRATCH) == bool(start.layers):
        raise file.error(
            location[:-1],
            f"expected `layers` exactly when `experiment` is not {SCRATCH!r}; received: {list(start.layers)}",
        )
    if not params.experiments[name].train.epochs:
        _check_untrained(file, params, name)


def _check_untrained(file: ParsedFile, params: Params, name: str) -> None:
    """An experiment of no epochs has another's weights, and must see its images as that one did."""
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
    """An entry as one would write it."""
    values = {"mean": entry.mean, "std": entry.std}
    parts = (f"{key}: {list(value) if isinstance(value, tuple) else value}" for key, value in values.items())
    return "{" + ", ".join(parts) + "}"
