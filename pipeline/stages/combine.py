"""Stage `combine`: an ensemble's outputs, those that one model with the combined posteriors would have given.

`cnnkeras.protocols.posteriors` says how posteriors are combined. An ensemble has two members; a larger one has ensembles among its
members, and every model still weighs the same. What follows - `postprocess`, `evaluate`, `log` - takes the outputs as those of an
experiment.
"""

from dataclasses import dataclass

import numpy as np

from cnnkeras.protocols.posteriors import combine, require_one_shape
from pipeline.formats.columns import Ragged
from pipeline.formats.outputs import Facts, OutputsWriter, read_outputs
from pipeline.formats.packed import INDEX, Index, open_index
from pipeline.params import Ensemble, load_params
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

_NUMBERS = 1 << 22  # at once


@dataclass(frozen=True)
class Member:
    """A member's outputs, with the models behind them and what each of them saw.

    Attributes:
        name: In params.yaml.
        outputs: float (rows, ..., C), logits or scores.
        offsets: int (N + 1,), where the rows of each example start; None: an example is a row.
        models: Names of experiments.
        protocol: Sentences.
    """

    name: str
    outputs: np.ndarray
    offsets: np.ndarray | None
    models: tuple[str, ...]
    protocol: tuple[str, ...]


def run(name: str) -> None:
    """Combine the members' outputs.

    Raises:
        InputError: There is no such ensemble, its members have not been predicted, or they do not belong together.
    """
    ensemble = load_params().ensemble(name)
    index_file = paths.augmented(ensemble.dataset) / INDEX
    inputs = [index_file, *map(paths.outputs, ensemble.members)]
    with stage("combine", name, inputs=inputs, outputs=[paths.outputs(name)]) as (folder,):
        index = open_index(index_file.parent)
        members = [_read(member, index) for member in ensemble.members]
        _require_equal_shapes(name, members)
        models = [model for member in members for model in member.models]
        protocol = _protocol(ensemble, members, models)
        facts = Facts(name, ensemble.dataset, index.task, index.classes, models=models, protocol=protocol)
        writer = OutputsWriter(folder, facts, members[0].outputs.shape[1:])
        _write(writer, members, ensemble)
        writer.close(members[0].offsets)


def _read(name: str, index: Index) -> Member:
    outputs = read_outputs(name, examples=index.splits["test"]["examples"], classes=index.classes)
    values, offsets, facts = outputs.values, None, outputs.facts
    if isinstance(values, Ragged):
        values, offsets = values.values, values.offsets
    return Member(name, values, offsets, tuple(facts.models) or (name,), tuple(facts.protocol))


def _require_equal_shapes(name: str, members: list[Member]) -> None:
    try:
        require_one_shape([member.outputs.shape for member in members])
    except ValueError as error:
        raise InputError(f"ensembles.{name}.members: {error}") from error
    if not np.array_equal(members[0].offsets, members[1].offsets):
        raise InputError(
            f"ensembles.{name}.members: expected score maps of the same sizes; received: others. Predict both again"
        )


def _write(writer: OutputsWriter, members: list[Member], ensemble: Ensemble) -> None:
    """Write the logarithms of the combined posteriors, whose softmax they are."""
    count, *item = members[0].outputs.shape
    step = max(1, _NUMBERS // int(np.prod(item)))
    with progress.bar("combine", count, unit="rows") as bar:
        for start in range(0, count, step):
            stop = min(start + step, count)
            outputs = [member.outputs[start:stop] for member in members]
            writer.append(combine(outputs, [len(member.models) for member in members], ensemble.combine))
            bar.update(stop)


def _protocol(ensemble: Ensemble, members: list[Member], models: list[str]) -> list[str]:
    """Which models are combined, then what each of them sees; an ensemble among the members lists its own models."""
    sentences = [f"{ensemble.combine} of the posteriors of {len(models)} networks: {', '.join(models)}"]
    for member in members:
        seen = member.protocol[1:] if len(member.models) > 1 else [f"{member.name}: {'; '.join(member.protocol)}"]
        sentences += [sentence for sentence in seen if member.protocol]
    return sentences
