"""`cnnkeras plan`: what `dvc repro` would run, and why, one line a stage."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import networkx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage

from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError

_MISSING = "nothing"
_NEVER_RUN = "never run"


def run() -> None:
    """Print the stages that `dvc repro` would run, in its order, each with its reasons.

    Raises:
        InputError: As `stale`.
    """
    reasons, _graph = stale()
    if not reasons:
        click.echo("nothing to do: every result is up to date")
        return
    width = max(map(len, reasons))
    for stage, why in reasons.items():
        click.echo(f"{stage:{width}}  {'; '.join(why)}")


def stale() -> tuple[dict[str, list[str]], networkx.DiGraph]:
    """The stages that `dvc repro` would run: why, in its order, and the graph of them, from a stage to those that follow it.

    A stage that only follows another one is skipped by DVC if that one makes the same bytes again.

    Raises:
        InputError: params.yaml is wrong, or DVC cannot read the project.
    """
    load_params()
    try:
        with Repo(str(paths.root())) as repo:
            reasons = _reasons(repo)
            names = {stage: stage.addressing for stage in repo.index.graph}
            graph = networkx.relabel_nodes(repo.index.graph, names).subgraph(reasons).reverse()
    except DvcException as error:
        raise InputError(f"expected a project that DVC can read; received: {error}") from error
    return reasons, graph


def _reasons(repo: Repo) -> dict[str, list[str]]:
    """Why each stale stage runs, in the order in which DVC would run them."""
    reasons: dict[str, list[str]] = {}
    graph = repo.index.graph  # a stage points at those that it depends on
    position = {stage: place for place, stage in enumerate(repo.index.stages)}
    for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=position.__getitem__):
        rerun = [before for before in graph.successors(stage) if before.addressing in reasons]
        made_again = [Path(output.fs_path) for before in rerun for output in before.outs]
        why = list(_own_reasons(stage, made_again))
        if rerun and why != [_NEVER_RUN]:
            why.append(f"follows {', '.join(before.addressing for before in rerun)}")
        if why:
            reasons[stage.addressing] = why
    return reasons


def _own_reasons(stage: Stage, made_again: Sequence[Path]) -> Iterator[str]:
    """What changed for a stage itself; inputs that an earlier stage makes again are that one's reason."""
    if not any(output.hash_info for output in stage.outs):
        yield _NEVER_RUN
        return
    if stage.changed_stage():
        yield "its definition in dvc.yaml changed"
    for dependency in stage.deps:
        if isinstance(dependency, ParamsDependency):
            yield from _param_changes(dependency.hash_info.value, dependency.read_params())
        elif not any(_overlap(output, Path(dependency.fs_path)) for output in made_again):
            yield from _file_change(dependency)
    for output in stage.outs:
        yield from _file_change(output)


def _overlap(output: Path, dependency: Path) -> bool:
    """Whether a stage that makes the one makes the other, or some of it."""
    return output.is_relative_to(dependency) or dependency.is_relative_to(output)


def _file_change(file: Any) -> Iterator[str]:
    """How a dependency or an output differs from what dvc.lock says."""
    words = {"deleted": "is missing", "modified": "changed", "new": "is new", "not in cache": "is not in DVC's cache"}
    for path, state in file.status().items():
        yield f"{path} {words[state]}"


def _param_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Each number of params.yaml that changed, old -> new."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    for key in {**old, **new}:
        if old.get(key, _MISSING) != new.get(key, _MISSING):
            yield f"{key}: {old.get(key, _MISSING)} -> {new.get(key, _MISSING)}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested mapping; lists count as values."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value
