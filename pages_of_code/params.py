"""docs/params.md: every key of params.yaml, of the classes of `pipeline/params` and of the signatures of what it names."""

from collections.abc import Callable, Iterable
from types import ModuleType

from cnnkeras import architectures, losses, tasks
from cnnkeras.protocols import fits, regions, views
from cnnkeras.training import optimizers, schedules
from pages_of_code import tables
from pipeline.lab import claims
from pipeline.params import datasets, experiments, testing, training, whole
from pipeline.runtime.entries import Entry, functions

_HEAD = """\
# Keys of params.yaml

Every key, what it may be, its default, and what it means. A key without a default must be there; where the default is none, it may be left out, which descriptions call None. Where
nothing else is said, whole numbers go up to 1,000,000, and a seed up to 4,294,967,295. Names of entries have lower-case letters, digits and `_`. `cnnkeras plan` and every stage
check the file first and name the line that does not fit to this page, or to another entry.

This page is made of the code: `python -m pages_of_code`.
"""
# Headings, in order, with the classes whose keys they list.
_SECTIONS: dict[str, type[Entry]] = {
    "The file": whole.Params,
    "checkpoint": training.Checkpoint,
    "datasets.NAME": datasets.Dataset,
    "datasets.NAME.proposals": datasets.TrainingProposals,
    "experiments.NAME": experiments.Experiment,
    "experiments.NAME.input": experiments.ModelInput,
    "experiments.NAME.train": training.Train,
    "experiments.NAME.train.initial_weights": training.InitialWeights,
    "experiments.NAME.train.early_stopping": training.EarlyStopping,
    "experiments.NAME.predict": testing.Predict,
    "experiments.NAME.evaluate": testing.Evaluate,
    "experiments.NAME.published": experiments.PublishedResult,
    "ensembles.NAME": experiments.Ensemble,
    "imports.NAME": experiments.Import,
    "imports.NAME.input": experiments.Input,
}
_HEADINGS = {entry.__name__: heading for heading, entry in _SECTIONS.items()}
_SUPPLIED = ("input_shape", "output_shape", "input_mean", "input_std")  # to an architecture, by the data and `input`


def page() -> str:
    """The page's text."""
    parts = [_HEAD]
    for heading, entry in _SECTIONS.items():
        parts += [f"## {heading}\n", f"{tables.text(entry)}\n", f"{tables.of_entry(entry, links=_HEADINGS)}\n"]
        if entry is whole.Params:
            parts.append("## sources.NAME\n\nThe keys depend on the `kind`: [kinds of data](kinds.md).\n")
    parts += ["## lab.NAME\n", f"{tables.of_entry(claims.ClaimEntry)}\n", *map(_claim, claims.names())]
    parts += [
        "## Architectures\n\n`architecture` names one, `model` has its arguments.\n",
        *map(_architecture, architectures.names()),
    ]
    for heading, module in (
        ("Optimizers", optimizers),
        ("Schedules", schedules),
        ("Fits", fits),
        ("Views", views),
        ("Regions", regions),
    ):
        parts += [f"## {heading}\n", f"{tables.text(module)}\n", *_functions(functions(module).items())]
    parts.append(
        "## Loss\n\nThe task of the dataset decides which arguments `train.loss` may have. A loss of your own is a file in `plugins/losses`, "
        "chosen by `train: {loss: {name: NAME}}`.\n"
    )
    parts += _functions((f"Loss of {name}", losses.load(name).build) for name in losses.names())
    parts.append("## Post-processing\n\nThe task of the dataset decides which arguments `postprocess` may have.\n")
    parts += _functions((f"Post-processing of {name}", tasks.load(name).postprocess) for name in tasks.names())
    return "\n".join(parts)


def _claim(name: str) -> str:
    settings = claims.load(name).Settings
    table = tables.of_entry(settings, without=[claims.ClaimEntry])
    return f"### Claim `{name}`\n\n{tables.text(claims.load(name))}\n\n{table}\n"


def _architecture(name: str) -> str:
    module: ModuleType = architectures.load(name)
    table = tables.of_function(module.build, reserved=_SUPPLIED)
    first = tables.text(module).partition("\n\n")[0]
    return f"### `{name}`\n\n{first} Tasks: {', '.join(module.TASKS)}.\n\n{table}\n"


def _functions(named: Iterable[tuple[str, Callable]]) -> list[str]:
    return [
        f"### {heading if ' ' in heading else f'`{heading}`'}\n\n{tables.text(function)}\n\n{tables.of_function(function)}\n"
        for heading, function in named
    ]
