"""Curves in MLflow while a training runs.

Used by a training, with the history file, which gets a row after every epoch:

    with live.mirror(params, experiment, history_file):
        model.fit(...)

The training itself never talks to a tracking server. A child process reads the file and logs the new rows. It runs at a low priority,
retries silently if the server fails, and ends soon after the training, however the training ended. `cnnkeras log` adds the points that
are missing. Errors are written to `.cnnkeras/live/EXPERIMENT.log`.

The run is found by its tag `cnnkeras.training`. A training that is started again uses the same run, and `cnnkeras log` turns it into
the run of the result.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.params import Params
from pipeline.runtime import paths, printable
from pipeline.tracking import fingerprints
from pipeline.tracking.curves import read_curves

_WAIT_SECONDS = 2  # how long a finished training waits for the child process
_MAX_REMAINING_SECONDS = 60  # until the child process is ended, after the end of the training
_POLL_SECONDS = 1  # between two looks at the history file
_RETRY_SECONDS = 30  # between two tries after an error


@contextmanager
def mirror(params: Params, experiment: str, history: Path) -> Iterator[None]:
    """Show a training's curves in MLflow while the block runs (see the top of this file). Errors of MLflow never reach the training.

    Args:
        params: Params of the project.
        experiment: Name of the experiment that is trained.
        history: CSV file with a header, a column `epoch` and a row for each finished epoch. It need not exist yet.
    """
    child = _start(params, experiment, history)
    try:
        yield
    except Exception:
        _end(child, "failed")
        raise
    except BaseException:  # Ctrl-C, SIGTERM
        _end(child, "killed")
        raise
    _end(child, "finished")


def _start(params: Params, experiment: str, history: Path) -> subprocess.Popen | None:
    order = {
        "experiment": experiment,
        "history": str(history.absolute()),
        "training": fingerprints.training_fingerprint(params, experiment),
        "params": fingerprints.training_params(params, experiment),
    }
    log = paths.state() / "live" / f"{experiment}.log"
    # The child process must run the code of this copy of the project.
    search_path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pipeline.tracking.live", json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": search_path},
                start_new_session=True,  # Ctrl-C then reaches only the training, which tells the child through its standard input
            )
    except OSError:
        return None  # no memory or disk for the child: the training goes on without curves


def _end(child: subprocess.Popen | None, ending: str) -> None:
    if child is None:
        return
    with contextlib.suppress(OSError):
        child.stdin.write(ending.encode())
    with contextlib.suppress(OSError):
        child.stdin.close()
    try:
        child.wait(_WAIT_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=child.wait, daemon=True).start()  # it ends by itself


def _show_until_end(order: Mapping, parent: int) -> None:
    """Main function of the child process: show new points until the training ends. `parent` is the training's process number."""
    os.nice(10)
    history, run, next_try = Path(order["history"]), None, 0.0
    ending = None
    while ending is None:
        ending = _ending(parent)
        if ending:
            signal.alarm(_MAX_REMAINING_SECONDS)  # the signal's default action ends this process
        if time.monotonic() < next_try and not ending:
            continue
        try:
            run = run or _LiveRun(order)
            run.update(history)
            if ending:
                run.finish(ending)
        except Exception:  # a server that is down may come back
            traceback.print_exc()
            run = None
            next_try = time.monotonic() + _RETRY_SECONDS


def _ending(parent: int) -> str | None:
    """How the training ended: finished, failed or killed; None if it still runs after a second."""
    readable, _, _ = select.select([0], [], [], _POLL_SECONDS)
    if readable:
        return os.read(0, 64).decode() or "killed"
    return None if os.getppid() == parent else "killed"


class _LiveRun:
    """The run that shows a training, with the points that it shows so far."""

    def __init__(self, order: Mapping):
        self._order = order
        self._open()

    def _open(self) -> None:
        from pipeline.tracking.store import Store, exclusive

        training, experiment = self._order["training"], self._order["experiment"]
        with exclusive():
            store = Store()
            runs = store.unlogged(training)
            if not runs:
                runs = [store.create(f"{experiment} (training)", training=training, experiment=experiment)]
        self._run = runs[0]
        self._run.begin()
        self._run.add_params(self._order["params"])
        self._shown = self._run.points()

    def update(self, history: Path) -> None:
        """Show the points of new epochs."""
        if not history.is_file():
            return  # before the first epoch, or after the guard has moved it to its final path
        points = read_curves(history)
        if any(self._shown.get(point, value) != value for point, value in points.items()):
            self._run.delete()  # it shows an earlier training, which gave other numbers
            self._open()
        new = {point: value for point, value in points.items() if point not in self._shown}
        if new:
            self._run.add_points(new)
            self._shown |= new

    def finish(self, ending: str) -> None:
        self._run.finish(ending)


if __name__ == "__main__":
    with printable.streams():
        _show_until_end(json.loads(sys.argv[1]), os.getppid())
