"""`cnnkeras repro`: `dvc repro`, with independent stages in parallel.

DVC runs one stage after another. Its manual recommends starting DVC several times, each time for stages that share only inputs
(https://dvc.org/doc/command-reference/repro, "Parallel stage execution"). Here the stages that `cnnkeras plan` lists are cut into
chains. Each chain is one `dvc repro --single-item`, started when the chains before it have ended. At the end a plain `dvc repro` runs
whatever is still stale, normally nothing.

Nearly all stages except training use one core, and so does a training with `threads: 1`. The bytes of the results do not depend on the
number of jobs: nothing that a stage reads is written by a stage beside it.
"""

import contextlib
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import networkx

from pipeline.commands import plan
from pipeline.runtime import definition, paths
from pipeline.runtime.signals import ends_on_sigterm
from pipeline.runtime.workers import available

MAX_DEFAULT_JOBS = 4  # each job may be a training, which takes a gigabyte of memory

_DVC = (sys.executable, "-m", "dvc")
_DVC_BESIDE = "\n".join(
    (
        "import sys",
        "from dvc.cli import main",
        "import signal",
        "from pipeline.runtime.signals import end_with_parent, is_adopted",
        "end_with_parent(signal.SIGTERM, is_adopted)",
        "sys.exit(main(['--wait-for-lock', 'repro', '--single-item', *sys.argv[1:]]))",
    )
)
_HINTS = re.compile(r"\s*$|To (track|enable)|Use `dvc push`|Updating lock file|\t(git add|dvc config) ")
_INTERRUPT_SECONDS = 10.0  # how long a run may take to end by itself after Ctrl-C


@dataclass(frozen=True)
class Chain:
    """Stages that run one after another in one DVC process.

    Attributes:
        stages: DVC's names of the stages, in the order of running.
        follows: First stages of the chains that must end before.
        depth: Number of stages on the longest path from the chain's first stage to the end of the graph.
    """

    stages: tuple[str, ...]
    follows: frozenset[str]
    depth: int


def run(jobs: int | None) -> None:
    """Run the stale stages, then replace this process by a plain `dvc repro`.

    Args:
        jobs: Number of stages at a time. None: one per core, at most `MAX_DEFAULT_JOBS`.

    Raises:
        InputError: As `plan.make_plan`.
        SystemExit: A stage failed; raised with DVC's exit code when the stages beside it have ended.
    """
    os.chdir(paths.root())
    if not shutil.which("cnnkeras"):  # an environment that is not activated
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    jobs = jobs or min(available(), MAX_DEFAULT_JOBS)
    if jobs > 1:
        stale = plan.make_plan()
        if not stale.reasons and stale.is_checked:
            click.echo(plan.NOTHING_TO_DO)
            return
        # With --single-item DVC does not run the stages before: `check` becomes the first stage of the graph.
        graph = networkx.DiGraph(stale.graph)
        graph.add_edges_from([(definition.CHECK, name) for name in list(graph)])
        parts = chains(graph)
        if len(parts) > 1:
            with ends_on_sigterm():
                _run_chains(parts, jobs)
    os.execv(sys.executable, [*_DVC, "repro"])


def chains(graph: networkx.DiGraph) -> dict[str, Chain]:
    """Cut a graph, with edges from each stage to those that follow it, into chains; returns the chains by their first stage."""
    graph = networkx.transitive_reduction(graph)
    order = list(networkx.lexicographical_topological_sort(graph))
    depths: dict[str, int] = {}
    for name in reversed(order):
        depths[name] = 1 + max((depths[after] for after in graph.successors(name)), default=0)
    members: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name in order:
        before = list(graph.predecessors(name))
        continues = len(before) == 1 and graph.out_degree(before[0]) == 1
        first[name] = first[before[0]] if continues else name
        members.setdefault(first[name], []).append(name)
    return {
        start: Chain(tuple(stages), frozenset(first[before] for before in graph.predecessors(start)), depths[start])
        for start, stages in members.items()
    }


def _run_chains(parts: Mapping[str, Chain], jobs: int) -> None:
    """Run all chains, up to `jobs` at a time, the deepest first; after a failure no further chain is started."""
    waiting, done, failure = dict(parts), set[str](), 0
    running: dict[str, subprocess.Popen] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        while (waiting and not failure) or running:
            ready = [name for name, chain in waiting.items() if chain.follows <= done]
            ready.sort(key=lambda name: -waiting[name].depth)
            for name in ready[: 0 if failure else jobs - len(running)]:
                running[name] = _start(waiting.pop(name).stages)
                threading.Thread(target=_relay, args=(name, running[name], ended), daemon=True).start()
            name = ended.get()
            code = running.pop(name).returncode
            failure = failure or code
            done.add(name)
    except KeyboardInterrupt:
        # The terminal has sent Ctrl-C to the child processes too.
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in running.values():
                process.wait(_INTERRUPT_SECONDS)
        raise
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    if failure:
        sys.exit(failure)


def _start(stages: Sequence[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", _DVC_BESIDE, *stages],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _relay(name: str, process: subprocess.Popen, ended: "queue.SimpleQueue[str]") -> None:
    """Print the output of a run line by line, without DVC's hints; then put the name into the queue `ended`."""
    try:
        for line in process.stdout:
            if not _HINTS.match(line):
                click.echo(line.rstrip("\n"))
    except BrokenPipeError:  # the reader of our output (head, less) has ended
        process.terminate()
    process.wait()
    ended.put(name)
