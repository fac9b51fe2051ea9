"""Stage `combine`: an ensemble's outputs, those that one network with the combined posteriors would have given.

    mean     p = Σ_m p_m / M: Krizhevsky et al. (2012), table 2; Simonyan & Zisserman (2014), section 4.4; Noh et al. (2015)
    product  p ∝ (Π_m p_m)^(1/M): the product, its root taken so that it stays as sure as one network

The m are networks. An ensemble has two members; a larger one has ensembles among its members, and every network still weighs
the same. What follows - `postprocess`, `evaluate`, `log` - takes the outputs as those of an experiment.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.formats.packed import INDEX, OUTPUT_DTYPES, ColumnWriter, Ragged, open_index
from pipeline.params import Ensemble, load_params
from pipeline.runtime import paths, progress
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.stages.postprocess import average_views, read_outputs

_NUMBERS = 1 << 22  # at once


@dataclass(frozen=True)
class Member:
    """A member's outputs, with the networks behind them and what each of them saw.

    Attributes:
        name: In params.yaml.
        outputs: float (rows, ..., C), logits or scores.
        offsets: int (N + 1,), where the rows of each example start: one each, or the pixels of score maps of any size.
        networks: Names of experiments.
        seen: Sentences.
    """

    name: str
    outputs: np.ndarray
    offsets: np.ndarray
    networks: tuple[str, ...]
    seen: tuple[str, ...]


def run(name: str) -> None:
    """Combine the members' raw outputs.

    Raises:
        InputError: There is no such ensemble, its members have not been predicted, or they do not belong together.
    """
    ensemble = load_params().ensemble(name)
    index_file = paths.augmented(ensemble.dataset) / INDEX
    inputs = [index_file, *map(paths.raw_outputs, ensemble.members)]
    with stage("combine", name, inputs=inputs, outputs=[paths.raw_outputs(name)]) as (folder,):
        index = open_index(index_file.parent)
        examples = index.splits["test"]["examples"]
        members = [_read(member, examples, index.classes) for member in ensemble.members]
        _check(name, members)
        _write(folder / "outputs.npy", members, ensemble, OUTPUT_DTYPES[index.task])
        if len(members[0].outputs) != examples:
            np.save(folder / "outputs.offsets.npy", members[0].offsets)
        networks = [network for member in members for network in member.networks]
        facts = {"experiment": name, "dataset": ensemble.dataset, "task": index.task, "classes": list(index.classes)}
        facts |= {"networks": networks, "protocol": _protocol(ensemble, members, networks)}
        (folder / "outputs.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _read(name: str, examples: int, classes: tuple[str, ...]) -> Member:
    folder = paths.raw_outputs(name)
    outputs, facts = read_outputs(folder, name, examples=examples, classes=classes)
    offsets = np.arange(len(outputs) + 1)
    if isinstance(outputs, Ragged):
        outputs, offsets = outputs.values, outputs.offsets
    if "views" in facts:
        outputs = average_views(outputs, facts["views"])
    return Member(name, outputs, offsets, tuple(facts.get("networks", [name])), tuple(facts.get("protocol", [])))


def _check(name: str, members: list[Member]) -> None:
    check_shapes(name, [member.outputs.shape for member in members])
    if not np.array_equal(members[0].offsets, members[1].offsets):
        raise InputError(
            f"ensembles.{name}.members: expected score maps of the same sizes; received: others. Predict both again"
        )


def check_shapes(name: str, shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse members whose outputs do not lie on each other, such as score maps at the network's and at the image's size."""
    if shapes[0] != shapes[1]:
        raise InputError(
            f"ensembles.{name}.members: expected outputs of one shape; received: {shapes[0]} and {shapes[1]}"
        )


def _write(file: Path, members: list[Member], ensemble: Ensemble, dtype: np.dtype) -> None:
    """Write the logarithms of the combined posteriors, whose softmax they are."""
    count, *item = members[0].outputs.shape
    writer = ColumnWriter(file, dtype, tuple(item))
    step = max(1, _NUMBERS // int(np.prod(item)))
    with progress.bar("combine", count, unit="rows") as bar:
        for start in range(0, count, step):
            stop = min(start + step, count)
            outputs = [member.outputs[start:stop] for member in members]
            writer.append(combined(outputs, [len(member.networks) for member in members], ensemble.combine))
            bar.update(stop)
    writer.close()


def combined(outputs: Sequence[np.ndarray], networks: Sequence[int], how: str) -> np.ndarray:
    """Logarithms of the combined posteriors.

    Args:
        outputs: For each member float (..., C), logits or scores, whose softmax is its posterior.
        networks: How many networks each member is.
        how: "mean" or "product".
    """
    logs = [_log_softmax(member) for member in outputs]
    weights = np.array(networks, np.float64) / sum(networks)
    if how == "product":
        return _log_softmax(sum(weight * log for weight, log in zip(weights, logs, strict=True)))
    mean = sum(weight * np.exp(log) for weight, log in zip(weights, logs, strict=True))
    return np.log(np.maximum(mean, np.finfo(np.float64).tiny))


def _log_softmax(outputs: np.ndarray) -> np.ndarray:
    shifted = outputs.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _protocol(ensemble: Ensemble, members: list[Member], networks: list[str]) -> list[str]:
    """What was averaged, then what each member saw; a member that is an ensemble says it of its own networks."""
    sentences = [f"{ensemble.combine} of the posteriors of {len(networks)} networks: {', '.join(networks)}"]
    for member in members:
        seen = member.seen[1:] if len(member.networks) > 1 else [f"{member.name}: {'; '.join(member.seen)}"]
        sentences += [sentence for sentence in seen if member.seen]
    return sentences
