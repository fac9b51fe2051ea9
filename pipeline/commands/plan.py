"""`cnnkeras plan`: the stages that `dvc repro` would run, and the reasons, a line per stage.

Digests of the code are computed from its current files, not read from the files that the stage `check` wrote. `check` itself takes half
a second and makes no result; it is not listed.
"""

import atexit
import hashlib
import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import networkx
from dvc import logger as dvc_logger
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc.stage import Stage

from pipeline.backend import environment
from pipeline.params import Params, load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition, durations, dvc_files, paths, publishing
from pipeline.runtime.code import Code
from pipeline.runtime.errors import InputError
from pipeline.runtime.nested import leaves
from pipeline.runtime.seals import Seals, changed_values, overlap

# What DVC does to a terminal is no printable text: bars that draw over themselves, and a reset of the colours at the end.
logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)
atexit.unregister(dvc_logger.colorama.initialise.reset_all)

NOTHING_TO_DO = "nothing to do: every result is up to date"
_NEVER_RUN = "never run"
_FIXES = {
    NotDvcRepoError: ". Run `dvc init` (with --no-scm where there is no git)",
    SCMError: ". Run `git init`, or let DVC do without git: `dvc config --local core.no_scm true`",
}


@dataclass(frozen=True)
class Plan:
    """The stages that `dvc repro` would run.

    Attributes:
        reasons: Reasons of each stage, in the order in which DVC would run the stages. DVC skips a stage whose only reason is
            `follows ...` if the stages before it make the same bytes again.
        graph: The same stages, with an edge from each stage to every stage that depends on it.
        forced: Those stages that DVC takes for up to date, although their outputs are damaged or were made of something else.
        is_checked: Whether the files that `check` wrote have the current code.
        notes: Sentences on models that are kept although they were trained with other versions, or on another kind of processor.
    """

    reasons: dict[str, list[str]]
    graph: networkx.DiGraph
    forced: frozenset[str]
    is_checked: bool
    notes: Sequence[str] = ()


def run() -> None:
    """Print the stages that `dvc repro` would run, in its order, each with the time that it took last and its reasons; then the sum.

    Raises:
        InputError: As `make_plan`.
    """
    repair()
    plan = make_plan()
    for note in plan.notes:
        click.echo(note, err=True)
    reasons = plan.reasons
    if not reasons:
        click.echo(NOTHING_TO_DO)
        return
    known = {stage: seconds for stage in reasons if (seconds := durations.last(stage)) is not None}
    took = {stage: durations.in_words(known[stage]) if stage in known else "-" for stage in reasons}
    width, times_width = max(map(len, reasons)), max(map(len, took.values()))
    for stage, stage_reasons in reasons.items():
        click.echo(f"{stage:{width}}  {took[stage]:>{times_width}}  {'; '.join(stage_reasons)}")
    click.echo(_sum(known.values(), len(reasons)))


def _sum(seconds: Collection[float], count: int) -> str:
    """A sentence on how long the stages took last time, as far as that is known."""
    stages = f"{count} stage{'s' if count > 1 else ''}"
    if not seconds:
        return f"{stages}; how long they take is not known: they never ran here"
    unknown = f", without {count - len(seconds)} that never ran here" if len(seconds) < count else ""
    return f"{stages}; one after another they took {durations.in_words(sum(seconds))} last time{unknown}"


def repair() -> None:
    """Move what killed stages were about to publish, and repair the files that a killed DVC has left damaged, and say so.

    Raises:
        InputError: As `dvc_files.repair`.
    """
    publishing.finish_others()
    for sentence in dvc_files.repair():
        click.echo(sentence, err=True)


def make_plan() -> Plan:
    """Compare params.yaml, the code and all files with what dvc.lock records, and with the seals of results that it has as up to date.

    Raises:
        InputError: params.yaml is wrong, or DVC cannot read the project.
    """
    params, values = load_params(with_files=True), definition.read_yaml(paths.params_file())
    files = Code()
    code = code_of_stages(params, values, files)
    with opened() as repo:
        reasons, forced = _reasons(repo, code, values, Seals(params, files))
        names = {stage: stage.addressing for stage in repo.index.graph}
        graph = networkx.relabel_nodes(repo.index.graph, names).subgraph(reasons).reverse()
    dvc_files.keep()
    is_checked = all(_is_written(label, text) for label, text in code.items())
    return Plan(
        reasons,
        graph,
        forced,
        is_checked,
        _notes(params, [name for name in params.experiments if f"train@{name}" not in reasons]),
    )


def _notes(params: Params, experiments: Iterable[str]) -> list[str]:
    """A sentence for each difference between what some models were trained with and what there is now."""
    models, current = defaultdict(list), cache(environment.current)  # asks each library for its version
    for name in experiments:
        now = current(params.backend, params.experiment(name).train.profile)
        recorded = environment.read(paths.environment(name), seal=paths.seal(f"train@{name}"))["environment"]
        if differences := ", ".join(environment.differences(recorded, now)):
            models[differences].append(name)
    fix = "To train again when a version changes, write `other_versions: stale` into params.yaml"
    return [f"{', '.join(names)}: trained with {differences}. {fix}" for differences, names in models.items()]


@contextmanager
def opened() -> Iterator[Repo]:
    """This project, opened by DVC.

    Raises:
        InputError: DVC cannot read it.
    """
    try:
        with Repo(str(paths.root())) as repo:
            yield repo
    except DvcException as error:
        fix = next((words for kind, words in _FIXES.items() if isinstance(error, kind)), "")
        raise InputError(f"expected a project that DVC can read; received: {error}{fix}") from error


def _is_written(label: str, text: str) -> bool:
    """Whether the file on a stage's code has the text that the stage `check` would write."""
    file = paths.code(label)
    return file.is_file() and file.read_text(encoding="utf-8") == text


def _reasons(
    repo: Repo, code: Mapping[str, str], values: Mapping[str, Any], seals: Seals
) -> tuple[dict[str, list[str]], frozenset[str]]:
    """The reasons of each stale stage, in the order in which DVC would run the stages; and the stages that DVC would not run."""
    reasons: dict[str, list[str]] = {}
    forced: set[str] = set()
    unchanged: dict[str, str] = {}  # hashes of outputs that are up to date, by path
    graph = repo.index.graph  # with an edge from each stage to every stage that it depends on
    positions = {stage: position for position, stage in enumerate(repo.index.stages)}
    for stage in networkx.lexicographical_topological_sort(graph.reverse(), key=positions.__getitem__):
        if stage.addressing == definition.CHECK:
            continue
        stale_before = [before for before in graph.successors(stage) if before.addressing in reasons]
        remade = [Path(output.fs_path) for before in stale_before for output in before.outs]
        stage_reasons = list(_own_reasons(stage, remade, unchanged, code[stage.addressing], values))
        if not stage_reasons and (stage_reasons := list(_against_seal(stage.addressing, seals, remade))):
            forced.add(stage.addressing)
        if stale_before and stage_reasons != [_NEVER_RUN]:
            stage_reasons.append(f"follows {', '.join(before.addressing for before in stale_before)}")
        if stage_reasons:
            reasons[stage.addressing] = stage_reasons
        else:
            unchanged |= {output.fs_path: output.hash_info.value for output in stage.outs}
    seals.save()
    return reasons, frozenset(forced)


def _against_seal(label: str, seals: Seals, remade: Sequence[Path]) -> Iterator[str]:
    """Differences of a result from its seal that DVC does not see, without inputs in `remade`, which stale stages make again."""
    stage, _, entry = label.partition("@")
    for damage in seals.damage(stage, entry):
        yield f"{damage}, which DVC does not see"
    for change in seals.changes(stage, entry, besides=remade):
        yield f"made before {change}, which DVC does not see"


def _own_reasons(
    stage: Stage,
    remade: Sequence[Path],
    unchanged: Mapping[str, str],
    code: str,
    values: Mapping[str, Any],
) -> Iterator[str]:
    """Changes of a stage's definition, params, code, inputs and outputs, without inputs in `remade`, which stale stages make again."""
    if not any(output.hash_info for output in stage.outs):
        yield _NEVER_RUN
        return
    if stage.changed_stage():
        yield "its definition in dvc.yaml changed"
    for dependency in stage.deps:
        path = Path(dependency.fs_path)
        if isinstance(dependency, ParamsDependency):
            # Compared here: DVC would read params.yaml once for each stage.
            current = {key: definition.lookup(values, key) for key in dependency.params}
            yield from changed_values(dict(leaves(dependency.hash_info.value or {})), dict(leaves(current)))
        elif path == paths.code(stage.addressing):
            yield from _code_changes(dependency, code)
        elif unchanged.get(dependency.fs_path) != dependency.hash_info.value and not any(
            overlap(output, path) for output in remade
        ):
            yield from _file_change(dependency)
    for output in stage.outs:
        yield from _file_change(output)


def _code_changes(dependency: Any, current: str) -> Iterator[str]:
    """Files of code, and values that `check` writes for DVC to compare, that changed since the result was made."""
    if dependency.hash_info.value == hashlib.md5(current.encode()).hexdigest():
        return
    recorded = _recorded_text(dependency)
    if recorded is None:
        yield "its code changed"
        return
    before, after = definition.read_code(recorded), definition.read_code(current)
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield f"{path} {'changed' if path in before and path in after else 'is new' if path in after else 'is no more'}"
    yield from changed_values(definition.read_values(recorded), definition.read_values(current))
    yield from changed_values(definition.read_versions(recorded), definition.read_versions(current))


def _recorded_text(dependency: Any) -> str | None:
    """The text of a dependency that dvc.lock records, from the file or from DVC's cache; None if neither has it any more."""
    digest = dependency.hash_info.value
    for file in (Path(dependency.fs_path), Path(dependency.repo.cache.local.oid_to_path(digest or "00"))):
        if file.is_file() and hashlib.md5(content := file.read_bytes()).hexdigest() == digest:
            return content.decode("utf-8")
    return None


def _file_change(file: Any) -> Iterator[str]:
    """Difference of a dependency or an output from the hash in dvc.lock."""
    words = {"deleted": "is missing", "modified": "changed", "new": "is new", "not in cache": "is not in DVC's cache"}
    for path, state in file.status().items():
        yield f"{path} {words[state]}"
