"""Curves in MLflow while a training runs.

In a training, with the file that gets a row after every epoch:

    with live.mirror(params, experiment, history_file):
        model.fit(...)

The training itself never talks to a tracking server: a process of its own reads the file and passes on what is new. It is
nice to the training's processors, retries in silence when the server fails, and ends by itself soon after the training,
however that ended. Whatever it did not manage, `cnnkeras log` adds. What went wrong is in `.cnnkeras/live/EXPERIMENT.log`.

The run is found by its tag `cnnkeras.training`. A training that is started again goes on in the same run; `cnnkeras log`
turns it into the run of the result.
"""

import contextlib
import json
import math
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

from pipeline.formats.history import read
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.tracking import fingerprints

_PATIENCE_SECONDS = 2  # that a finished training waits for its last epoch to be passed on
_FAREWELL_SECONDS = 60  # that the process may live on after that
_LOOK_SECONDS = 1
_RETRY_SECONDS = 30


@contextmanager
def mirror(params: Params, experiment: str, history: Path) -> Iterator[None]:
    """Show a training's curves in MLflow while the block runs (see the top of this file). Never raises anything of its own.

    Args:
        params: The project's.
        experiment: That is trained.
        history: CSV file with a header, a column `epoch` and a row for each epoch that is over. It need not exist yet.
    """
    child = _start(params, experiment, history)
    try:
        yield
    except Exception:
        _end(child, "FAILED")
        raise
    except BaseException:  # Ctrl-C, SIGTERM
        _end(child, "KILLED")
        raise
    _end(child, "FINISHED")


def read_points(history: Path) -> dict[tuple[str, int], float]:
    """Finite values of a history file by (metric, epoch); a last line that is still being written is left out.

    The metric of the column `loss` is `training/loss`: metrics.json has a `top1_accuracy` too, measured on the test split.
    """
    columns = read(history)
    epochs = columns.pop("epoch", ())
    points = {
        (f"training/{name}", int(epoch)): float(value)
        for name, column in columns.items()
        for epoch, value in zip(epochs, column, strict=True)
    }
    return {point: value for point, value in points.items() if math.isfinite(value)}


def _start(params: Params, experiment: str, history: Path) -> subprocess.Popen | None:
    order = {
        "experiment": experiment,
        "history": str(history.absolute()),
        "training": fingerprints.training_fingerprint(params, experiment),
        "params": fingerprints.training_params(params, experiment),
    }
    log = paths.state() / "live" / f"{experiment}.log"
    # The child must run this very code, wherever the training was started from.
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
                start_new_session=True,  # Ctrl-C is the training's; this process hears of it through its input
            )
    except OSError:
        return None  # no memory, no disk: a training is worth more than its image


def _end(child: subprocess.Popen | None, status: str) -> None:
    if child is None:
        return
    with contextlib.suppress(OSError):
        child.stdin.write(status.encode())
    with contextlib.suppress(OSError):
        child.stdin.close()
    try:
        child.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        threading.Thread(target=child.wait, daemon=True).start()  # it ends by itself


def _pass_on(order: Mapping, parent: int) -> None:
    """The child process: mirror until the training has said how it ended, or is gone."""
    os.nice(10)
    history, mirrored, next_try = Path(order["history"]), None, 0.0
    status = None
    while status is None:
        status = _word_from(parent)
        if status:
            signal.alarm(_FAREWELL_SECONDS)  # its default action ends this process
        if time.monotonic() < next_try and not status:
            continue
        try:
            mirrored = mirrored or _Mirrored(order)
            mirrored.update(history)
            if status:
                mirrored.finish(status)
        except Exception:  # a server that is down must not end this: it may come back
            traceback.print_exc()
            mirrored = None
            next_try = time.monotonic() + _RETRY_SECONDS


def _word_from(parent: int) -> str | None:
    """How the training ended, or None when it has not within a second."""
    readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
    if readable:
        return os.read(0, 64).decode() or "KILLED"
    return None if os.getppid() == parent else "KILLED"


class _Mirrored:
    """The run that shows a training, and what it shows so far."""

    def __init__(self, order: Mapping):
        self._order = order
        self._open()

    def _open(self) -> None:
        from pipeline.tracking import store

        training, experiment = self._order["training"], self._order["experiment"]
        with store.exclusive():
            self._store = store.Store()
            found = self._store.unlogged(training)
            tags = {store.TRAINING: training, store.EXPERIMENT: experiment}
            run = found[0] if found else self._store.create(f"{experiment} (training)", tags)
        self._run = run.info.run_id
        self._store.client.update_run(self._run, status="RUNNING")
        self._store.log_params(run, self._order["params"])
        self._shown = self._store.points(run)

    def update(self, history: Path) -> None:
        """Show the epochs that are new."""
        if not history.is_file():
            return  # before the first epoch, or published under its final name
        points = read_points(history)
        if any(self._shown.get(place, value) != value for place, value in points.items()):
            self._store.client.delete_run(self._run)  # of an earlier training whose numbers this one does not repeat
            self._open()
        new = {place: value for place, value in points.items() if place not in self._shown}
        if new:
            self._store.log_points(self._run, new)
            self._shown |= new

    def finish(self, status: str) -> None:
        self._store.client.set_terminated(self._run, status)


if __name__ == "__main__":
    _pass_on(json.loads(sys.argv[1]), os.getppid())
