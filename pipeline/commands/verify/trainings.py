"""Trainings in processes of their own (`pipeline/stages/train/again.py`), followed step by step."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.commands.verify.differences import Difference, of_variables
from pipeline.formats import checkpoint
from pipeline.runtime.code import SOURCES
from pipeline.runtime.errors import InputError
from pipeline.runtime.progress import Bar
from pipeline.runtime.workers import available

_MODULE, _VALUES = "pipeline.stages.train.again", "values.checkpoint"
_END_SECONDS = 5.0


@dataclass(frozen=True)
class Parting:
    """Where two trainings part.

    Attributes:
        first: The first step of the execution after which they differ, counted from 1.
        last: Its last step; the same, unless several steps are one execution.
        epoch: Its epoch, counted from 1.
        variables: The variables that differ; none if one training was over and the other was not.
    """

    first: int
    last: int
    epoch: int
    variables: list[Difference]


class Training:
    """A training in a process of its own.

    Args:
        order: As the process takes it, without the keys `folder`, `workers` and `parent`.
        folder: Where it writes; is made.
        workers: Number of processes that augment images.

    Attributes:
        folder: Where its model and its history lie at its end.
    """

    def __init__(self, order: Mapping[str, Any], folder: Path, *, workers: int):
        folder.mkdir()
        self.folder = folder
        order = {**order, "folder": str(folder), "workers": workers, "parent": os.getpid()}
        search_path = os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH")]))
        # Two processes of JAX on one accelerator: by default the first takes most of its memory at once.
        memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE", "false")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", _MODULE, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **memory, "PYTHONPATH": search_path},
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends the other
        )

    def read(self) -> dict[str, Any]:
        """What it says next.

        Raises:
            InputError: It is refused, it fails, or it was killed.
        """
        line = self._process.stdout.readline()
        if line:
            facts = json.loads(line)
            if "error" in facts:
                raise InputError(facts["error"])
            return facts
        code = self._process.wait()
        if code == -signal.SIGKILL:
            raise InputError(
                "expected a training that goes on to its end; received: one that was killed, as the system does where memory is short. "
                "Trainings that are compared step by step need the memory of two"
            )
        raise InputError(
            f"expected a training that goes on to its end; received: one that ended with exit code {code}, and what stands above"
        )

    def answer(self, word: str) -> None:
        """Answer what it said."""
        with suppress(BrokenPipeError):  # it has ended, and `read` says why
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()

    def values(self) -> list[tuple[str, Any]]:
        """Names and values of its variables, after the answer `values`."""
        while "is_over" not in self.read():
            pass
        facts, arrays = checkpoint.read(self.folder / _VALUES)
        return list(zip(facts["names"], arrays["values"], strict=True))

    def end(self) -> None:
        """End it, if it has not ended."""
        with self._process:
            self._process.terminate()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()


@contextmanager
def started(order: Mapping[str, Any], folders: Sequence[Path]) -> Iterator[list[Training]]:
    """A training for each folder, side by side, while the block runs."""
    workers = max(1, available() // len(folders))
    with ExitStack() as ends:
        trainings = []
        for folder in folders:
            trainings.append(Training(order, folder, workers=workers))
            ends.callback(trainings[-1].end)
        yield trainings


def follow(trainings: Sequence[Training], bar: Bar, *, total: int) -> tuple[int, Parting | None]:
    """Follow trainings to their end, or to the first step after which their variables differ.

    Args:
        trainings: One, or two that send digests; they have said how many steps there are.
        bar: Counts steps.
        total: Number of steps.

    Returns:
        The number of steps after which all was equal, and where they part; None: nowhere.
    """
    done = epoch = 0
    while True:
        said = [training.read() for training in trainings]
        if any("is_over" in facts for facts in said):
            is_parting = not all("is_over" in facts for facts in said)  # one stopped early, the other did not
            return done, Parting(done + 1, done + 1, epoch, []) if is_parting else None
        digests, first, done_now, epoch = (
            {facts.get("digest") for facts in said},
            done + 1,
            said[0]["step"],
            said[0]["epoch"],
        )
        if len(digests) > 1:
            for training in trainings:
                training.answer("values")
            return done, Parting(first, done_now, epoch, of_variables(*(training.values() for training in trainings)))
        done = done_now
        bar.update(min(done, total), f"epoch {epoch}", total=total)
        if len(trainings) > 1:
            for training in trainings:
                training.answer("on")
