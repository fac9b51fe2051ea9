"""`cnnkeras repro`: `dvc repro`, with stages that do not need each other side by side.

DVC runs one stage after another, and is started several times by those who want more, each time for stages that share nothing
but what they read (https://dvc.org/doc/command-reference/repro, "Parallel stage execution"). Here the stages that
`cnnkeras plan` names are cut into chains of which each has one `dvc repro --single-item`, started when what it follows is over. At
the end a plain `dvc repro` has the last word: it runs what is stale all the same, as a rule nothing.

Nearly all that is not training uses one core, and so does a training with `threads: 1`. The bytes are those of one job: nothing
that a stage reads depends on what runs beside it.
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

MOST_JOBS = 4  # unless asked for: each may train, which takes a gigabyte

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
_LEAVE_SECONDS = 10.0  # for a run to end by itself after Ctrl-C


@dataclass(frozen=True)
class Chain:
    """Stages that only follow one another.

    Attributes:
        stages: As DVC names them, in their order.
        follows: First stages of the chains that come before.
        depth: How many stages the longest way through it and what follows has.
    """

    stages: tuple[str, ...]
    follows: frozenset[str]
    depth: int


def run(jobs: int | None) -> None:
    """Run what is stale, then become a plain `dvc repro`.

    Args:
        jobs: How many stages run at a time. Default: one a core, at most `MOST_JOBS`.

    Raises:
        InputError: As `plan.make_plan`.
        SystemExit: A stage failed, with DVC's exit code, once those beside it are over.
    """
    os.chdir(paths.root())
    if not shutil.which("cnnkeras"):  # an environment that is not activated
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    jobs = jobs or min(available(), MOST_JOBS)
    if jobs > 1:
        found = plan.make_plan()
        if not found.reasons and found.is_checked:
            click.echo(plan.NOTHING_TO_DO)
            return
        # A stage by itself does not start what it follows: `check` is the first of all.
        graph = networkx.DiGraph(found.graph)
        graph.add_edges_from([(definition.CHECK, name) for name in list(graph)])
        parts = chains(graph)
        if len(parts) > 1:
            with ends_on_sigterm():
                _run_chains(parts, jobs)
    os.execv(sys.executable, [*_DVC, "repro"])


def chains(graph: networkx.DiGraph) -> dict[str, Chain]:
    """Cut a graph, from each stage to those that follow it, into chains, by their first stage."""
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
    """Run all, up to `jobs` at a time, the one with the longest way to go first; after a failure none is started."""
    waiting, over, failure = dict(parts), set[str](), 0
    running: dict[str, subprocess.Popen] = {}
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        while (waiting and not failure) or running:
            ready = [name for name, chain in waiting.items() if chain.follows <= over]
            ready.sort(key=lambda name: -waiting[name].depth)
            for name in ready[: 0 if failure else jobs - len(running)]:
                running[name] = _start(waiting.pop(name).stages)
                threading.Thread(target=_relay, args=(name, running[name], ended), daemon=True).start()
            name = ended.get()
            code = running.pop(name).returncode
            failure = failure or code
            over.add(name)
    except KeyboardInterrupt:
        # The terminal has told them too.
        with contextlib.suppress(subprocess.TimeoutExpired):
            for process in running.values():
                process.wait(_LEAVE_SECONDS)
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
    """Pass on what a run says, but for DVC's hints, line by line; then say that it ended."""
    try:
        for line in process.stdout:
            if not _HINTS.match(line):
                click.echo(line.rstrip("\n"))
    except BrokenPipeError:  # who read our output left
        process.terminate()
    process.wait()
    ended.put(name)
