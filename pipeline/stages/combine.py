"""Stage `combine`: an ensemble's outputs, in the format of a single model whose posteriors are the combined ones.

`cnnkeras.protocols.posteriors` combines the posteriors. An ensemble has two members; a larger one has ensembles among its members, and
every model has the same weight. The next stages - `postprocess`, `evaluate`, `log` - read the outputs like those of an experiment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkeras.protocols.posteriors import combine, require_one_shape
from pipeline.formats.columns import Ragged
from pipeline.formats.outputs import Facts, OutputsWriter, read_outputs
from pipeline.formats.packed import INDEX, Index, open_index
from pipeline.params import Ensemble, load_params
from pipeline.runtime import outcome, paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

_NUMBERS = 1 << 22  # of a member's outputs in memory at a time


@dataclass(frozen=True)
class Member:
    """The outputs of a member of an ensemble.

    Attributes:
        name: The member's name in params.yaml.
        outputs: float (rows, ..., C), logits or scores.
        offsets: int (N + 1,), the first row of each of N examples, and the number of rows; None if each example has one row.
        models: Names of the experiments whose models gave the outputs.
        protocol: Sentences on the views or regions of the test images that the models saw.
        fit: How the images became inputs, as in `Facts`.
    """

    name: str
    outputs: np.ndarray
    offsets: np.ndarray | None
    models: tuple[str, ...]
    protocol: tuple[str, ...]
    fit: Mapping[str, Any]


def run(name: str) -> None:
    """Combine the outputs of an ensemble's members.

    Args:
        name: Entry under `ensembles:`.

    Raises:
        InputError: There is no such ensemble, a member has no outputs yet, or the members' outputs have different shapes.
    """
    params = load_params()
    ensemble = params.ensemble(name)
    index_file = paths.augmented(ensemble.dataset) / INDEX
    inputs = [index_file, *map(paths.outputs, ensemble.members)]
    with stage("combine", name, inputs=inputs, outputs=[paths.outputs(name)], params=params) as (folder,):
        index = open_index(index_file.parent)
        members = [_read(member, index) for member in ensemble.members]
        _require_equal_shapes(name, members)
        models = [model for member in members for model in member.models]
        protocol = _protocol(ensemble, members, models)
        facts = Facts(
            name, ensemble.dataset, index.task, index.classes, models=models, protocol=protocol, fit=members[0].fit
        )
        writer = OutputsWriter(folder, facts, members[0].outputs.shape[1:])
        _write(name, writer, members, ensemble)
        writer.close(members[0].offsets)
        examples = index.splits["test"]["examples"]
    outcome.say("combine", name, f"{len(models)} models for {examples:,} examples", paths.outputs(name))


def _read(name: str, index: Index) -> Member:
    outputs = read_outputs(name, examples=index.splits["test"]["examples"], classes=index.classes)
    values, offsets, facts = outputs.values, None, outputs.facts
    if isinstance(values, Ragged):
        values, offsets = values.values, values.offsets
    return Member(name, values, offsets, tuple(facts.models) or (name,), tuple(facts.protocol), facts.fit)


def _require_equal_shapes(name: str, members: list[Member]) -> None:
    try:
        require_one_shape([member.outputs.shape for member in members])
    except ValueError as error:
        raise InputError(f"ensembles.{name}.members: {error}") from error
    if not np.array_equal(members[0].offsets, members[1].offsets):
        raise InputError(
            f"ensembles.{name}.members: expected score maps of the same sizes; received: different sizes. Predict both again"
        )


def _write(name: str, writer: OutputsWriter, members: list[Member], ensemble: Ensemble) -> None:
    """Write the logarithms of the combined posteriors; their softmax gives the posteriors."""
    count, *item = members[0].outputs.shape
    step = max(1, _NUMBERS // int(np.prod(item)))
    with progress.bar(f"combine {name}", count, unit="rows") as bar:
        for start in range(0, count, step):
            stop = min(start + step, count)
            outputs = [member.outputs[start:stop] for member in members]
            writer.append(combine(outputs, [len(member.models) for member in members], ensemble.combine))
            bar.update(stop)


def _protocol(ensemble: Ensemble, members: list[Member], models: list[str]) -> list[str]:
    """Sentences that name the combined models, then the views or regions of each; the first sentence of a nested ensemble is left out."""
    sentences = [f"{ensemble.combine} of the posteriors of {len(models)} models: {', '.join(models)}"]
    for member in members:
        is_ensemble = len(member.models) > 1
        protocol = member.protocol[1:] if is_ensemble else [f"{member.name}: {'; '.join(member.protocol)}"]
        sentences += [sentence for sentence in protocol if member.protocol]
    return sentences
