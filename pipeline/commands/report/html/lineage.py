"""Of what a result was made: the stages that made it, back to the source, with their seals, settings and code."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.params import Params
from pipeline.runtime import definition, paths
from pipeline.runtime.nested import leaves
from pipeline.runtime.seals import Seal, Seals
from pipeline.tracking import fingerprints

_SHOWN_DIGITS = 12  # hexadecimal, of a digest


@dataclass(frozen=True)
class Step:
    """A stage that a result was made by.

    Attributes:
        label: Of the stage: `train@yolo`.
        seal: Its seal.
        digest: First digits of the SHA-256 (hexadecimal) of the seal's file.
    """

    label: str
    seal: Seal
    digest: str

    @property
    def code(self) -> str:
        """First digits of a digest of all code that the stage ran."""
        return hashlib.sha256(json.dumps(self.seal.origin.code, sort_keys=True).encode()).hexdigest()[:_SHOWN_DIGITS]

    @property
    def files(self) -> int:
        """How many files it wrote."""
        return len(self.seal.outputs)


def steps(path: Path, seals: Seals) -> list[Step]:
    """The stages that a file was made by, its own first, then those of what that one read; without those that left no seal."""
    values = definition.read_yaml(paths.params_file())
    found = {label: seals.seal_of(label) for label in _labels(path, values, definition.makers(values), set())}
    return [
        Step(label, seal, hashlib.sha256(paths.seal(label).read_bytes()).hexdigest()[:_SHOWN_DIGITS])
        for label, seal in found.items()
        if seal
    ]


def settings(params: Params, name: str, made_by: list[Step]) -> dict[str, str]:
    """Settings of a result, as text by key: those of its seals, which may be former ones; without seals those of params.yaml now."""
    if not made_by:
        return fingerprints.result_params(params, name)
    entry = params.measured(name)
    source = params.dataset(entry.dataset).source
    own = {
        f"experiments.{name}.": "",
        f"ensembles.{name}.": "",
        f"datasets.{entry.dataset}.": "dataset.",
        f"sources.{source}.": "source.",
    }
    found: dict[str, Any] = {}
    for step in reversed(made_by):
        for key, value in leaves(step.seal.origin.values, into_lists=True):
            prefix = next((prefix for prefix in own if key.startswith(prefix)), None)
            if prefix:
                found[own[prefix] + key.removeprefix(prefix)] = value
            elif key in ("seed", "backend"):
                found[key] = value
    return {key: found[key] if isinstance(found[key], str) else json.dumps(found[key]) for key in sorted(found)}


def code(made_by: list[Step]) -> dict[str, str]:
    """Digests of all code that a result was made by, by path."""
    return {path: digest for step in made_by for path, digest in sorted(step.seal.origin.code.items())}


def _labels(
    path: Path, values: dict[str, Any], makers: Mapping[Path, tuple[str, str]], seen: set[str]
) -> Iterator[str]:
    maker = definition.stage_of(path, makers)
    if maker is None or (label := definition.label(*maker)) in seen:
        return
    seen.add(label)
    yield label
    for dependency in definition.deps_of(*maker, values):
        yield from _labels(dependency, values, makers, seen)
