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
from pipeline.runtime import paths
from pipeline.tracking import fingerprints
from pipeline.tracking.curves import read_curves

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
        return None  # no memory, no disk: a training is worth more than its curves


def _end(child: subprocess.Popen | None, ending: str) -> None:
    if child is None:
        return
    with contextlib.suppress(OSError):
        child.stdin.write(ending.encode())
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
    ending = None
    while ending is None:
        ending = _word_from(parent)
        if ending:
            signal.alarm(_FAREWELL_SECONDS)  # its default action ends this process
        if time.monotonic() < next_try and not ending:
            continue
        try:
            mirrored = mirrored or _Mirrored(order)
            mirrored.update(history)
            if ending:
                mirrored.finish(ending)
        except Exception:  # a server that is down must not end this: it may come back
            traceback.print_exc()
            mirrored = None
            next_try = time.monotonic() + _RETRY_SECONDS


def _word_from(parent: int) -> str | None:
    """How the training ended, or None when it has not within a second."""
    readable, _, _ = select.select([0], [], [], _LOOK_SECONDS)
    if readable:
        return os.read(0, 64).decode() or "killed"
    return None if os.getppid() == parent else "killed"


class _Mirrored:
    """The run that shows a training, and the points that it shows so far."""

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
        """Show the epochs that are new."""
        if not history.is_file():
            return  # before the first epoch, or published under its final name
        points = read_curves(history)
        if any(self._shown.get(point, value) != value for point, value in points.items()):
            self._run.delete()  # of an earlier training whose numbers this one does not repeat
            self._open()
        new = {point: value for point, value in points.items() if point not in self._shown}
        if new:
            self._run.add_points(new)
            self._shown |= new

    def finish(self, ending: str) -> None:
        self._run.finish(ending)


if __name__ == "__main__":
    _pass_on(json.loads(sys.argv[1]), os.getppid())
