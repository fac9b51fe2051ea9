"""`cnnkeras verify`: trains an experiment again in a scratch folder and says whether every bit is the same, or where the first difference is.

Whole, a training is compared with the result that is there: its model, variable by variable, and its history. A result says nothing of
single steps; so the first steps, and a training without a result, are compared between two new trainings, side by side, after each step.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.backend import environment, model_files
from pipeline.commands.verify import differences, trainings
from pipeline.params import Params, load_params
from pipeline.runtime import definition, guard, paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.replacing import link_or_copy
from pipeline.runtime.seals import Seals


@dataclass(frozen=True)
class _Result:
    """A result that is there.

    Attributes:
        title: The training, for people.
        number: Which of the experiment's trainings it is, counted from 0.
        model: The model's file.
        history: The history's file.
    """

    title: str
    number: int
    model: Path
    history: Path

    @property
    def is_there(self) -> bool:
        """Whether both files are there."""
        return self.model.is_file() and self.history.is_file()


def run(name: str, *, steps: int | None = None) -> bool:
    """Train an experiment again, and print whether every bit is the same, and else where the difference is.

    Args:
        name: Entry under `experiments:`.
        steps: Compare two new trainings of so many steps; None: train whole and compare with the result, or, if there is none, two new trainings.

    Returns:
        Whether every bit is the same.

    Raises:
        InputError: There is no such experiment, it cannot be trained, its stored model is damaged, or there are no steps to compare.
    """
    params = load_params(with_files=True)
    epochs = params.experiment(name).train.epochs
    if steps is not None and not epochs:
        raise InputError(
            f"experiments.{name}.train.epochs: expected some with --steps; received: 0. Leave --steps out: the model's weights are compared then"
        )
    if steps is None and guard.is_running(definition.label("train", name)):
        raise InputError(f"train@{name}: expected a result that stays; received: a run of the stage. Wait for its end")
    if params.experiment(name).train.profile == "fast":
        _note(f"experiments.{name}.train.profile is fast, which promises no equal bits")
    are_equal = [_verify(params, name, result, steps) for result in _results(params, name)]
    return all(are_equal)


def _results(params: Params, name: str) -> list[_Result]:
    """The results of an experiment, one for each of its seeds."""
    return [
        _Result(repeat.title, number, paths.model_file(name, repeat.folder), paths.history(name, repeat.folder))
        for number, repeat in enumerate(params.repeats(name))
    ]


def _verify(params: Params, name: str, result: _Result, steps: int | None) -> bool:
    order = {"experiment": name, "number": result.number, "steps": steps}
    place = paths.results(name).relative_to(paths.root())
    with tempfile.TemporaryDirectory(prefix="cnnkeras-verify-") as folder:
        scratch = Path(folder)
        if steps is None and result.is_there:
            for note in _known_differences(params, name):
                _note(f"{place}: {note}")
            former = scratch / "former"
            former.mkdir()
            model_files.count_parameters(result.model)  # refuses a damaged file before the training
            for file in (result.model, result.history):
                link_or_copy(file, former / file.name)
            return _is_as_before(order, scratch, result, str(place))
        if steps is None:
            _note(f"{place}: no model with a history there, so two new trainings are compared with each other")
        return _are_equal(order, scratch, result.title)


def _is_as_before(order: Mapping[str, Any], scratch: Path, result: _Result, place: str) -> bool:
    """Train once and compare with the result, which lies in the folder `former`."""
    title = result.title
    with trainings.started({**order, "digests": False}, [scratch / "new"]) as (training,):
        begin = training.read()
        done = _followed(title, [training], begin, None)[0]
    lines = list(_differences(training.folder, scratch / "former"))
    if not lines:
        print(f"{title}: trained again ({done:,} steps); every bit of the model and of the history is that of {place}")
        return True
    print(f"{title}: trained again ({done:,} steps); not every bit is that of {place}")
    for line in lines:
        print(line)
    now = begin.get("devices")
    name = order["experiment"]
    known = environment.read(paths.environment(name), seal=paths.seal(f"train@{name}"))["settings"].get("devices")
    if known and now and known != now:
        print(f"  {place} was trained on {known}; now on {now}")
    if done:
        print(
            f"`cnnkeras verify {order['experiment']} --steps {done}` says at which step two new trainings part, if they do"
        )
    return False


def _are_equal(order: Mapping[str, Any], scratch: Path, title: str) -> bool:
    """Train twice, side by side, and compare after each step."""
    with trainings.started({**order, "digests": True}, [scratch / "one", scratch / "other"]) as pair:
        begin, _ = [training.read() for training in pair]
        done, parting = _followed(title, pair, begin, order["steps"])
    if parting is not None:
        _print_parting(title, parting)
        return False
    if order["steps"] is None and (lines := list(_differences(*(training.folder for training in pair)))):
        print(f"{title}: two trainings were the same in every bit of {done:,} steps, and differ at their end")
        for line in lines:
            print(line)
        return False
    print(f"{title}: two trainings were the same in every bit, through {done:,} steps")
    return True


def _followed(
    title: str, followed: list[trainings.Training], begin: Mapping[str, Any], steps: int | None
) -> tuple[int, trainings.Parting | None]:
    """As `trainings.follow`, with a progress bar. `begin`: what the first one has said."""
    if "is_over" in begin:  # no step at all
        return 0, None
    total = min(steps or begin["steps"], begin["steps"])
    with progress.bar(f"verify {title}", total, unit="steps") as bar:
        return trainings.follow(followed, bar, total=total)


def _print_parting(title: str, parting: trainings.Parting) -> None:
    where = (
        f"step {parting.first:,}"
        if parting.first == parting.last
        else f"steps {parting.first:,} to {parting.last:,}, one execution"
    )
    if not parting.variables:
        print(
            f"{title}: two trainings part after epoch {parting.epoch}: one of them stops early, as their validation losses differ"
        )
        return
    first, size = parting.variables[0].name, differences.by_at_most(differences.largest(parting.variables))
    print(
        f"{title}: two trainings part in {where} (epoch {parting.epoch}): {differences.count(parting.variables)} with other bits, {size}, "
        f"the first of them {first}"
    )
    for line in differences.table(parting.variables):
        print(line)


def _differences(ours: Path, theirs: Path) -> Iterator[str]:
    """Lines on how the model and the history in a folder differ from those in another."""
    model, history = paths.model_file("").name, paths.history("").name
    variables, members = differences.of_models(ours / model, theirs / model)
    if variables:
        yield f"  {differences.count(variables)} of the model differ{'s' if len(variables) == 1 else ''}, {differences.by_at_most(differences.largest(variables))}:"
        yield from (f"  {line}" for line in differences.table(variables))
    if members:
        yield (
            f"  of {model} differ also: {', '.join(members)}"
            if variables
            else f"  all weights are equal; of {model} differ: {', '.join(members)}"
        )
    texts = [(folder / history).read_text(encoding="utf-8") for folder in (ours, theirs)]
    if (words := differences.of_histories(*texts)) is not None:
        yield f"  the history differs {words}"


def _known_differences(params: Params, name: str) -> Iterator[str]:
    """What is known to be different from when the result was made: versions, processor, settings, code, data."""
    label = definition.label("train", name)
    recorded = environment.read(paths.environment(name), seal=paths.seal(label))["environment"]
    now = environment.current(params.backend, params.experiment(name).train.profile)
    if not recorded:
        yield "with which versions and on which machine it was trained is not recorded"
    elif others := ", ".join(environment.differences(recorded, now)):
        yield f"trained with {others}"
    if (paths.root() / paths.DEFINITION).is_file():
        seals = Seals(params)
        if changes := list(seals.changes("train", name)):
            yield f"trained before a change: {_listed(changes)}"
        if damages := list(seals.damage("train", name)):
            yield f"changed after the training: {_listed(damages)}"
        seals.save()


def _listed(texts: Sequence[str], *, shown: int = 5) -> str:
    rest = f"; and {len(texts) - shown} more" if len(texts) > shown else ""
    return "; ".join(texts[:shown]) + rest


def _note(text: str) -> None:
    click.echo(text, err=True)
