"""`cnnkeras plan`: what `dvc repro` would run, and why, one line a stage.

The code that each stage runs is looked at as it is now, whether or not the stage `check` has written it down since. `check` itself,
which takes half a second and makes no result, is not listed.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import networkx
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import Stage

from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.nested import leaves

NOTHING_TO_DO = "nothing to do: every result is up to date"
_MISSING = "nothing"
_NEVER_RUN = "never run"


@dataclass(frozen=True)
class Plan:
    """What `dvc repro` would run.

    Attributes:
        reasons: Why each stage would run, in DVC's order. A stage that only follows another one is skipped by DVC if that one makes
            the same bytes again.
        graph: From each of these stages to those that follow it.
        is_checked: Whether `check` has written down the code as it is.
    """

    reasons: dict[str, list[str]]
    graph: networkx.DiGraph
    is_checked: bool


def run() -> None:
    """Print the stages that `dvc repro` would run, in its order, each with its reasons.

    Raises:
        InputError: As `make_plan`.
    """
    reasons = make_plan().reasons
    if not reasons:
        click.echo(NOTHING_TO_DO)
        return
    width = max(map(len, reasons))
    for stage, why in reasons.items():
        click.echo(f"{stage:{width}}  {'; '.join(why)}")


def make_plan() -> Plan:
    """Compare params.yaml, the code and all files with what DVC has recorded.

    Raises:
        InputError: params.yaml is wrong, or DVC cannot read the project.
    """
    code = code_of_stages(load_params(with_files=True))
    try:
        with Repo(str(paths.root())) as repo:
            reasons = _reasons(repo, code, definition.read_yaml(paths.params_file()))
            names = {stage: stage.addressing for stage in repo.index.graph}
            graph = networkx.relabel_nodes(repo.index.graph, names).subgraph(reasons).reverse()
    except DvcException as error:
        raise InputError(f"expected a project that DVC can read; received: {error}") from error
    return Plan(reasons, graph, all(_is_written(label, text) for label, text in code.items()))


def _is_written(label: str, text: str) -> bool:
    """Whether the file of a stage's code says what the stage `check` would write."""
    file = paths.code(label)
    return file.is_file() and file.read_text(encoding="utf-8") == text


def _reasons(repo: Repo, code: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Why each stale stage runs, in the order in which DVC would run them."""
    reasons: dict[str, list[str]] = {}
    unchanged: dict[str, str] = {}  # outputs, and their hashes
    graph = repo.index.graph  # a stage points at those that it depends on
    position = {stage: place for place, stage in enumerate(repo.index.stages)}
    for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=position.__getitem__):
        if stage.addressing == definition.CHECK:
            continue
        rerun = [before for before in graph.successors(stage) if before.addressing in reasons]
        made_again = [Path(output.fs_path) for before in rerun for output in before.outs]
        why = list(_own_reasons(stage, made_again, unchanged, code[stage.addressing], values))
        if rerun and why != [_NEVER_RUN]:
            why.append(f"follows {', '.join(before.addressing for before in rerun)}")
        if why:
            reasons[stage.addressing] = why
        else:
            unchanged |= {output.fs_path: output.hash_info.value for output in stage.outs}
    return reasons


def _own_reasons(
    stage: Stage,
    made_again: Sequence[Path],
    unchanged: Mapping[str, str],
    code: str,
    values: Mapping[str, Any],
) -> Iterator[str]:
    """What changed for a stage itself; inputs that an earlier stage makes again are that one's reason."""
    if not any(output.hash_info for output in stage.outs):
        yield _NEVER_RUN
        return
    if stage.changed_stage():
        yield "its definition in dvc.yaml changed"
    for dependency in stage.deps:
        path = Path(dependency.fs_path)
        if isinstance(dependency, ParamsDependency):
            # Not by DVC, which reads params.yaml anew for each stage.
            now = {key: definition.lookup(values, key) for key in dependency.params}
            yield from _changes(dict(leaves(dependency.hash_info.value)), dict(leaves(now)))
        elif path == paths.code(stage.addressing):
            yield from _code_changes(dependency, code)
        elif unchanged.get(dependency.fs_path) != dependency.hash_info.value and not any(
            _overlap(output, path) for output in made_again
        ):
            yield from _file_change(dependency)
    for output in stage.outs:
        yield from _file_change(output)


def _code_changes(dependency: Any, now: str) -> Iterator[str]:
    """Which files of code, and which values beside those that DVC compares, changed since the result was made."""
    if dependency.hash_info.value == hashlib.md5(now.encode()).hexdigest():
        return
    then = _recorded_text(dependency)
    if then is None:
        yield "its code changed"
        return
    before, after = definition.read_code(then), definition.read_code(now)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield f"{path} {'changed' if path in before and path in after else 'is new' if path in after else 'is no more'}"
    yield from _changes(definition.read_values(then), definition.read_values(now))


def _recorded_text(dependency: Any) -> str | None:
    """The content of a dependency as dvc.lock names it: of the file, or from DVC's cache; None where neither has it."""
    digest = dependency.hash_info.value
    for file in (Path(dependency.fs_path), Path(dependency.repo.cache.local.oid_to_path(digest or "00"))):
        if file.is_file() and hashlib.md5(content := file.read_bytes()).hexdigest() == digest:
            return content.decode("utf-8")
    return None


def _overlap(output: Path, dependency: Path) -> bool:
    """Whether a stage that makes the one makes the other, or some of it."""
    return output.is_relative_to(dependency) or dependency.is_relative_to(output)


def _file_change(file: Any) -> Iterator[str]:
    """How a dependency or an output differs from what dvc.lock says."""
    words = {"deleted": "is missing", "modified": "changed", "new": "is new", "not in cache": "is not in DVC's cache"}
    for path, state in file.status().items():
        yield f"{path} {words[state]}"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Each value of params.yaml that changed, old -> new."""
    for key in {**before, **after}:
        if before.get(key, _MISSING) != after.get(key, _MISSING):
            yield f"{key}: {before.get(key, _MISSING)} -> {after.get(key, _MISSING)}"
