"""`cnnkeras repro`: `dvc repro`, with independent stages in parallel.

DVC runs one stage after another. Its manual recommends starting DVC several times, each time for stages that share only inputs
(https://dvc.org/doc/command-reference/repro, "Parallel stage execution"). Here the stages that `cnnkeras plan` lists are cut into
chains. Each chain is one `dvc repro --single-item`, started when the chains before it have ended. At the end a plain `dvc repro` runs
whatever is still stale, normally nothing.

Nearly all stages except training use one core, and so does a training with `threads: 1`; each that computes with Keras has a GPU, where
there are GPUs (`shares.py`). The bytes of the results do not depend on the
number of jobs: nothing that a stage reads is written by a stage beside it. dvc.lock is put into one order at the end.

Another `cnnkeras repro`, or a DVC that runs stages, is not joined but named. One that starts later and reads or writes what a chain needs
is waited for: DVC refuses the chain, and the chain is started again.
"""

import contextlib
import fcntl
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

import click
import networkx

from pipeline.backend import devices, gpus
from pipeline.commands import plan
from pipeline.commands.shares import Shares, computing
from pipeline.commands.stage_lines import StageLines
from pipeline.runtime import cores, definition, durations, dvc_files, launching, paths, places
from pipeline.runtime.errors import InputError
from pipeline.runtime.signals import ends_on_signals
from pipeline.runtime.workers import available
from pipeline.tracking import waiting

MAX_DEFAULT_JOBS = 4  # each job may be a training, which takes a gigabyte of memory

# Its own lock DVC waits for. For what another DVC reads or writes it does not wait.
_DVC = (sys.executable, "-m", "pipeline.commands.dvc_process", "--wait-for-lock", "repro")
_BUSY = re.compile(r"is busy, it is being blocked by|Unable to acquire lock")
_VIEW = "log"  # a failure to show a result keeps nothing else from running
_FAILED = re.compile(r"failed to reproduce(?: stages:)? (.*)")
_RETRY_SECONDS = 2.0
_REST = "rest"  # the run of what is still stale at the end
_INTERRUPT_SECONDS = 10.0  # how long a run may take to end by itself after Ctrl-C


@dataclass(frozen=True)
class Chain:
    """Stages that run one after another in one DVC process.

    Attributes:
        stages: DVC's names of the stages, in the order of running.
        follows: First stages of the chains that must end before.
        depth: Number of stages on the longest path from the chain's first stage to the end of the graph.
        height: Number of stages that must run before the first.
    """

    stages: tuple[str, ...]
    follows: frozenset[str]
    depth: int
    height: int


@dataclass
class Run:
    """A DVC process that runs a chain.

    Attributes:
        process: The process.
        failed: The stage that failed, as DVC names it.
        is_blocked: Whether DVC refused to go on, because another DVC reads or writes the same files.
    """

    process: subprocess.Popen
    failed: str = ""
    is_blocked: bool = False


@dataclass
class Outcome:
    """What became of the chains.

    Attributes:
        code: Exit code of the first DVC process that failed, otherwise 0.
        failed: Stages that failed.
        skipped: Stages that were not run because a stage before them failed.
    """

    code: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def run(jobs: int | None, *, keep_going: bool = False) -> None:
    """Run the stale stages, and a plain `dvc repro` after them.

    Args:
        jobs: Number of stages at a time. None: one per core, at most `MAX_DEFAULT_JOBS` beside one for each GPU. 1: a training may use all GPUs.
        keep_going: After a failure, run all stages that do not depend on what failed.

    Raises:
        InputError: As `plan.make_plan`; or stages of this project are being run already; or something changed while the stages ran.
        SystemExit: A stage failed; raised with DVC's exit code when the stages beside it have ended.
    """
    places.require_writable_project()
    places.require_temporary_folder()
    os.chdir(paths.root())
    launching.put_command_on_path()
    with _alone(), ends_on_signals():
        plan.repair()
        with plan.opened():
            pass  # what DVC would refuse is refused in our words
        values = definition.read_yaml(paths.params_file())
        labels = [definition.label(*pair) for pair in definition.labels(values)]
        stale = plan.make_plan()
        if not stale.reasons and stale.is_checked:
            click.echo(plan.NOTHING_TO_DO)
            return
        # With --single-item DVC does not run the stages before: `check` becomes the first stage of the graph.
        graph = networkx.DiGraph(stale.graph)
        graph.add_edges_from([(definition.CHECK, name) for name in list(graph)])
        jobs, shares = _shares(jobs, values)
        parts = chains(graph, alone=stale.forced, apart=shares.on_gpus)
        begin = time.monotonic()
        with _repaired_after_signals(), StageLines(len(stale.reasons)) as lines:
            outcome = _run_chains(parts, jobs, shares, stale.forced, lines, keep_going=keep_going)
            code = outcome.code or _run_rest(lines)
        dvc_files.order([definition.CHECK, *labels])
        dvc_files.keep()
        click.echo(f"{_count(lines.begun)} in {durations.in_words(time.monotonic() - begin)}")
        if outcome.failed:
            click.echo(f"failed: {', '.join(outcome.failed)}", err=True)
        if outcome.skipped:
            click.echo(f"not run because of that: {', '.join(outcome.skipped)}", err=True)
        if sentence := waiting.sentence():
            click.echo(sentence, err=True)
        if code:
            sys.exit(code)
        _require_up_to_date()


def _shares(jobs: int | None, values: Mapping) -> tuple[int, Shares]:
    """The number of stages at a time, and what each has for itself; nothing, if one runs at a time."""
    launching.launchers()  # what is wrong there is said before anything runs
    free = gpus.separate(devices.chosen_backend()) if jobs != 1 else []
    jobs = jobs or min(available(), MAX_DEFAULT_JOBS + len(free))
    return jobs, Shares(computing(values) if free else frozenset(), free, cores.separate()) if jobs > 1 else Shares()


def _require_up_to_date() -> None:
    """Refuse to end as if all were well when something changed while the stages ran: DVC may have recorded it with results of before."""
    for stage, reasons in plan.make_plan().reasons.items():
        raise InputError(
            f"{stage}: expected everything to be up to date at the end; received: {'; '.join(reasons)}. "
            "Something changed while the stages ran: run `cnnkeras repro` again"
        )


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Refuse to run beside another `cnnkeras repro` or a DVC that runs stages."""
    file = paths.state() / "locks" / "repro.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:
        others = dvc_files.running()
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            others = [f"process {lock.read().strip()} (`cnnkeras repro`)"]
        if others:
            raise InputError(
                f"expected nothing else to run stages of this project; received: {' and '.join(others)}. Wait for it or end it"
            )
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def chains(graph: networkx.DiGraph, alone: Set[str] = frozenset(), apart: Set[str] = frozenset()) -> dict[str, Chain]:
    """Cut a graph, with edges from each stage to those that follow it, into chains; returns the chains by their first stage.

    Args:
        graph: The stages.
        alone: Those that are a chain each.
        apart: Those that are in no chain with others than these.
    """
    graph = networkx.transitive_reduction(graph)
    order = list(networkx.lexicographical_topological_sort(graph))
    depths: dict[str, int] = {}
    for name in reversed(order):
        depths[name] = 1 + max((depths[after] for after in graph.successors(name)), default=0)
    members: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name in order:
        before = list(graph.predecessors(name))
        continues = len(before) == 1 and graph.out_degree(before[0]) == 1 and not alone & {name, before[0]}
        continues = continues and (name in apart) == (before[0] in apart)
        first[name] = first[before[0]] if continues else name
        members.setdefault(first[name], []).append(name)
    return {
        start: Chain(
            stages=tuple(stages),
            follows=frozenset(first[before] for before in graph.predecessors(start)),
            depth=depths[start],
            height=len(networkx.ancestors(graph, start)),
        )
        for start, stages in members.items()
    }


def _run_chains(
    parts: Mapping[str, Chain], jobs: int, shares: Shares, forced: Set[str], lines: StageLines, *, keep_going: bool
) -> Outcome:
    """Run all chains, up to `jobs` at a time; after a failure only what does not depend on it, or nothing.

    The deepest begin first, and of equally deep ones those that much had to run before: what could begin last shall not also end last.

    Args:
        parts: The chains by their first stage.
        jobs: Number of chains at a time.
        shares: Gives each what it has for itself.
        forced: Stages that run although DVC takes them for up to date.
        lines: Shows what runs.
        keep_going: Whether what does not depend on a failure goes on.
    """
    left, done, outcome = dict(parts), set[str](), Outcome()
    running: dict[str, Run] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    with _ends(running.values()):
        while left or running:
            if not keep_going and any(definition.command(stage.partition("@")[0]) != _VIEW for stage in outcome.failed):
                left.clear()
            ready = [name for name, chain in left.items() if chain.follows <= done]
            ready.sort(key=lambda name: (-left[name].depth, -left[name].height))
            for name in ready:
                stages = parts[name].stages
                if len(running) == jobs or not shares.has(stages):
                    continue
                options = ["--single-item", *(["--force"] if name in forced else ())]
                running[name] = _start(name, [*options, *stages], lines, ended, shares.take(name, stages))
                del left[name]
            if not running:
                break  # what waits follows what failed
            name = ended.get()
            ran = running.pop(name)
            shares.give_back(name)
            if ran.is_blocked and ran.process.returncode:
                _wait_for_others(lines)
                left[name] = parts[name]
            elif ran.process.returncode:
                outcome.code = outcome.code or ran.process.returncode
                stages = parts[name].stages
                failed = stages.index(ran.failed) if ran.failed in stages else 0
                outcome.failed.append(stages[failed])
                outcome.skipped += stages[failed + 1 :]
            else:
                done.add(name)
    outcome.skipped += [stage for chain in left.values() for stage in chain.stages]
    return outcome


def _start(
    name: str,
    arguments: Sequence[str],
    lines: StageLines,
    ended: "queue.SimpleQueue[str]",
    own: Mapping[str, str],
) -> Run:
    """Start a run of `dvc repro`, whose output is shown; its name is put into the queue `ended` when it has ended. `own`: its share."""
    process = subprocess.Popen(
        [*_DVC, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **lines.environment, **own},
    )
    ran = Run(process)
    threading.Thread(target=_relay, args=(name, ran, lines, ended), daemon=True).start()
    return ran


def _relay(name: str, ran: Run, lines: StageLines, ended: "queue.SimpleQueue[str]") -> None:
    """Show the output of a run line by line, and note what DVC says of failures."""
    try:
        with ran.process.stdout as output:
            for line in output:
                ran.is_blocked |= bool(_BUSY.search(line))
                if failed := _FAILED.search(line):
                    ran.failed = failed[1].split("'")[1]
                lines.read(name, line.rstrip("\n"), shows_passed=name != _REST)
    except BrokenPipeError:  # the reader of our output (head, less) has ended
        ran.process.terminate()
    ran.process.wait()
    lines.end(name)
    ended.put(name)


def _run_rest(lines: StageLines) -> int:
    """Run a plain `dvc repro`, again if another DVC was in the way; returns its exit code."""
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    while True:
        ran = _start(_REST, [], lines, ended, {})
        with _ends([ran]):
            ended.get()
        if not ran.process.returncode or not dvc_files.running():
            return ran.process.returncode
        _wait_for_others(lines)


@contextlib.contextmanager
def _ends(runs: Collection[Run]) -> Iterator[None]:
    """See to it that runs have ended after the block; after Ctrl-C, which the terminal has sent to them too, they may end by themselves."""
    try:
        yield
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            for ran in runs:
                ran.process.wait(_INTERRUPT_SECONDS)
        raise
    finally:
        for ran in runs:
            ran.process.terminate()
            ran.process.wait()


@contextlib.contextmanager
def _repaired_after_signals() -> Iterator[None]:
    """Repair DVC's files when Ctrl-C or SIGTERM ends the block: it ends a DVC that is writing them, too."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        with contextlib.suppress(InputError):  # another DVC runs
            plan.repair()
        raise


def _wait_for_others(lines: StageLines) -> None:
    """Wait until no other DVC runs stages of this project; stages that are running here go on."""
    for other in dvc_files.running():
        lines.say(f"waiting for {other}")
    while True:
        time.sleep(_RETRY_SECONDS)
        if not dvc_files.running():
            return


def _count(stages: int) -> str:
    return f"{stages} stage{'' if stages == 1 else 's'}"
