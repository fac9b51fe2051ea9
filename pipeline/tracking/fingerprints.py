"""Fingerprints: digests of params and files that are equal for equal trainings or equal results.

A training's fingerprint is known before the training starts, so that `log` finds the run with its curves again. A result's
fingerprint covers its params and its files.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.formats.packed import INDEX
from pipeline.params import Params, Repeat
from pipeline.runtime import paths
from pipeline.runtime.entries import Entry
from pipeline.runtime.nested import leaves
from pipeline.runtime.printable import without_secrets

_AFTER_TRAINING = ("predict.", "postprocess.", "evaluate.")
_ORIGIN = ("source.", "import.")  # params of the bytes' origin; the fingerprint has digests of the bytes themselves
# Params that at these values do not change a result: those on damaged or leaked examples, and options of an optimizer or a loss. None,
# which is no value, is left out of all.
_AT_DEFAULT = {
    "backend": "tensorflow",
    "dataset.on_error": "fail",
    "dataset.leaks": "fail",
    "train.optimizer.normalization_decay": 0.0,
    "train.optimizer.bias_rate_factor": 1.0,
    "train.loss.label_smoothing": 0.0,
}


def result_params(params: Params, experiment: str) -> dict[str, str]:
    """All params that the result of an experiment or ensemble depends on, as text, by key: `train.epochs`, `dataset.size`, `seed`.

    Addresses have no passwords and tokens (`without_secrets`).
    """
    entry = params.measured(experiment)
    dataset = params.dataset(entry.dataset)
    numbers = {
        **_numbers(entry),
        **_numbers(dataset, "dataset."),
        **_numbers(params.source(dataset.source), "source."),
        "seed": params.seed,
        "backend": params.backend,
    }
    if experiment in params.experiments and (start := entry.train.initial_weights.experiment) in params.imports:
        numbers |= _numbers(params.imported(start), "import.")
    return {
        key: without_secrets(value if isinstance(value, str) else json.dumps(value))
        for key, value in numbers.items()
        if _AT_DEFAULT.get(key) != value
    }


def _numbers(entry: Entry, prefix: str = "") -> dict[str, Any]:
    """Values of an entry by dotted key. An empty mapping is left out, except in a list, where it is a transform without arguments."""
    return {
        key: value
        for key, value in leaves(entry.model_dump(mode="json"), prefix, into_lists=True)
        if value != {} or any(part.isdigit() for part in key.split("."))
    }


def training_params(params: Params, experiment: str) -> dict[str, str]:
    """The params of `result_params` without those of `predict`, `postprocess` and `evaluate`."""
    numbers = result_params(params, experiment)
    return {key: value for key, value in numbers.items() if not key.startswith(_AFTER_TRAINING)}


def training_fingerprint(params: Params, experiment: str) -> str:
    """SHA-256 (hexadecimal) of a training's params, the params of the trainings that it starts from, and its dataset's index.

    The index holds a digest of every column of the dataset.
    """
    chain = [experiment]
    while (start := params.experiment(chain[-1]).train.initial_weights.experiment) in params.experiments:
        chain.append(start)
    facts = {
        "chain": [(name, training_params(params, name)) for name in chain],
        "dataset": digest(paths.augmented(params.experiment(experiment).dataset) / INDEX),
    }
    return _digest_json(facts)


def result_fingerprint(params: Params, experiment: str) -> str:
    """SHA-256 (hexadecimal) of a result: its params, and the content of its model, history, predictions and metrics.

    An ensemble has no model and no history; its predictions depend on those of its members.

    The entries of the source and of an import are left out. Another address of the same files gives the same result, and DVC does not
    run `log` again for it: the receipt would name a fingerprint that no longer exists.
    """
    trained = () if experiment in params.ensembles else (paths.model_folder, paths.history)
    numbers = result_params(params, experiment)
    facts = {
        "experiment": experiment,
        "params": {key: value for key, value in numbers.items() if not key.startswith(_ORIGIN)},
        "content": [digest(path(experiment)) for path in (*trained, paths.predictions, paths.metrics)],
    }
    return _digest_json(facts)


def fingerprint_of_seed(repeat: Repeat, metrics: Mapping[str, float | None]) -> str:
    """SHA-256 (hexadecimal) of the result of one of several trainings: its params, its figures of merit, model and history."""
    numbers = result_params(repeat.params, repeat.name)
    files = [path(repeat.name, repeat.folder) for path in (paths.model_file, paths.history)]
    facts = {
        "experiment": repeat.name,
        "params": {key: value for key, value in numbers.items() if not key.startswith(_ORIGIN)},
        "content": [*map(digest, files), dict(metrics)],
    }
    return _digest_json(facts)


def claim_fingerprint(name: str, settings: Mapping[str, str], files: Sequence[Path]) -> str:
    """SHA-256 (hexadecimal) of a result of the lab: the entry's name, its settings, and the content of its files."""
    return _digest_json([name, settings, [digest(file) for file in files]])


def digest(path: Path) -> str:
    """SHA-256 (hexadecimal) of a file's bytes, or of the names and digests of all files below a folder."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _digest_json([(file.relative_to(path).as_posix(), digest(file)) for file in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_json(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
