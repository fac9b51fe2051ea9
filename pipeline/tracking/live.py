"""Curves in MLflow while a training runs.

Used by a training, with the history file, which gets a row after every epoch:

    curves = live.Mirror(params, experiment)
    with curves.outcome(), stage("train", ...) as (_, history_file):
        with curves.shown(history_file):
            ...  # after each epoch: curves.epoch(number)

The training itself never talks to a tracking server. A child process reads the file and logs the new rows. It runs at a low priority,
retries silently if the server fails, and ends soon after the training, however the training ended. The run is FINISHED only when the outputs are
published; otherwise it is FAILED, with the reason, or KILLED. What could not be sent of those waits as a record (`records`); what is missing of a
finished training comes with its result. Errors are written to `.cnnkeras/live/EXPERIMENT.log`.

The run is found by its tag `cnnkeras.training`. A training that is started again uses the same run, and `cnnkeras log` turns it into
the run of the result.
"""

import contextlib
import json
import math
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.params import Params
from pipeline.runtime import paths, printable
from pipeline.runtime.errors import InputError
from pipeline.runtime.garbage import uncollected
from pipeline.tracking import fingerprints, times
from pipeline.tracking.curves import Dated, dated, digest, milliseconds, read_curves
from pipeline.tracking.times import Recorder, Times

_WAIT_SECONDS = 2  # how long a finished training waits for the child process
_MAX_REMAINING_SECONDS = 60  # until the child process gives up, after the end of the training
_POLL_SECONDS = 1  # between two looks at the history file
_RETRY_SECONDS, _LAST_RETRY_SECONDS = (
    30,
    5,
)  # between two tries after an error, while the training runs and after its end


class Mirror:
    """Shows a training's curves in MLflow (see the top of this file), and writes down when it ran. Errors of MLflow never reach the training.

    Args:
        params: Params of the project.
        experiment: Name of the experiment that is trained.
    """

    def __init__(self, params: Params, experiment: str):
        self._params, self._experiment = params, experiment
        self._recorder, self._child = Recorder(), None

    @contextmanager
    def outcome(self) -> Iterator[None]:
        """Notice how the block ends: it trains and publishes."""
        try:
            yield
        except Exception as error:
            self._end("failed", str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")
            raise
        except BaseException:  # Ctrl-C, SIGTERM
            self._end("killed")
            raise
        self._end("finished")

    @contextmanager
    def shown(self, history: Path) -> Iterator[None]:
        """Show the curves while the block trains.

        Args:
            history: CSV file with a header, a column `epoch` and a row for each finished epoch. It need not exist yet.
        """
        training = fingerprints.training_fingerprint(self._params, self._experiment)
        self._recorder.of(training)
        self._child = _start(
            {
                "experiment": self._experiment,
                "history": str(history.absolute()),
                "training": training,
                "params": fingerprints.training_params(self._params, self._experiment),
                "max_remaining_seconds": _MAX_REMAINING_SECONDS,
            }
        )
        try:
            yield
        finally:
            if history.is_file():  # the stage moves it away, or deletes it
                self._tell({"history": history.read_text(encoding="utf-8")})

    @property
    def times(self) -> dict[str, Any]:
        """The times so far, as JSON can hold them."""
        return self._recorder.facts

    def go_on(self, times: Mapping[str, Any]) -> None:
        """The training goes on from a state that was kept with these `times`."""
        self._recorder.go_on(times)

    def epoch(self, number: int) -> None:
        """An epoch has ended; the first is number 1."""
        self._recorder.epoch(number)

    def _end(self, ending: str, reason: str = "") -> None:
        self._recorder.end(is_finished=ending == "finished")
        if self._child is None:
            return
        self._tell({"ending": ending, "reason": " ".join(reason.split())[:1000]})
        with contextlib.suppress(OSError):
            self._child.stdin.close()
        try:
            self._child.wait(_WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            threading.Thread(target=self._child.wait, daemon=True).start()  # it ends by itself

    def _tell(self, message: Mapping[str, Any]) -> None:
        if self._child is not None:
            with contextlib.suppress(OSError, ValueError):  # the child may have ended
                self._child.stdin.write(json.dumps(message).encode() + b"\n")
                self._child.stdin.flush()


def _start(order: Mapping[str, Any]) -> subprocess.Popen | None:
    log = paths.state() / "live" / f"{order['experiment']}.log"
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


class _Follower:
    """What the child process knows of the training that started it."""

    def __init__(self, order: Mapping[str, Any], parent: int):
        self.order, self._parent = order, parent
        self._history, self._text = Path(order["history"]), ""
        self._messages: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.ending, self.reason = "", ""
        # A thread of its own: the training must not wait for a pipe that is full because a server is slow.
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._messages.put(json.loads(line))
        self._messages.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until the training says something, at most so long; then see how far it is."""
        with contextlib.suppress(queue.Empty):
            self._hear(self._messages.get(timeout=seconds))
            while True:
                self._hear(self._messages.get_nowait())
        if os.getppid() != self._parent:
            self._hear(None)
        if not self.ending:
            with contextlib.suppress(OSError):
                self._text = self._history.read_text(encoding="utf-8") or self._text

    def _hear(self, message: dict[str, Any] | None) -> None:
        if message and "history" in message:
            self._text = message["history"]
        elif not self.ending:
            self.ending = message["ending"] if message else "killed"
            self.reason = message["reason"] if message else ""

    def span(self) -> Times:
        """When the training ran, so far."""
        span = times.read(self.order["training"]) or Times(time.time())
        if self.ending and span.end is None:  # it was killed, a moment ago
            span.end = max(time.time(), span.latest)
        return span

    def points(self) -> Dated:
        """The points of all epochs so far."""
        return dated(read_curves(self._text), self.span())


def _show_until_end(order: Mapping[str, Any], parent: int) -> None:
    """Main function of the child process: show new points until the training ends. `parent` is the training's process number."""
    os.nice(10)
    training = _Follower(order, parent)
    with uncollected():
        from pipeline.tracking import sending  # noqa: F401 - all of MLflow, before the alarm could interrupt the import

    signal.signal(signal.SIGALRM, _give_up)
    try:
        _show(training)
    except TimeoutError:
        _keep(training)


def _show(training: _Follower) -> None:
    """Show the training until its end.

    Raises:
        TimeoutError: The training has ended, and the store did not take all of it soon after.
    """
    run, next_try, deadline = None, 0.0, math.inf
    while True:
        training.wait(_POLL_SECONDS)
        if training.ending and deadline == math.inf:
            remaining = training.order["max_remaining_seconds"]
            deadline, next_try = time.monotonic() + remaining, 0.0
            signal.alarm(remaining)  # interrupts a request that takes longer
        if time.monotonic() < next_try:
            continue
        try:
            run = run or _LiveRun(training)
            run.update()
            if training.ending:
                run.finish()
                return
        except Exception:  # a server that is down may come back
            traceback.print_exc()
            if time.monotonic() >= deadline:
                raise TimeoutError from None
            run = None
            next_try = time.monotonic() + (_LAST_RETRY_SECONDS if training.ending else _RETRY_SECONDS)


def _give_up(*_: object) -> None:
    raise TimeoutError("the tracking store took too long")


def _keep(training: _Follower) -> None:
    """Keep what the store did not take of a training that gave no result; the others come with their result."""
    if training.ending == "finished":
        return
    from pipeline.tracking import records

    order = training.order
    records.of_training(
        order["experiment"],
        order["training"],
        order["params"],
        training.points(),
        training.span(),
        training.ending,
        training.reason,
    )


class _LiveRun:
    """The run that shows a training, with the points that it shows so far."""

    def __init__(self, training: _Follower):
        self._training = training
        self._open()

    def _open(self) -> None:
        from pipeline.tracking.store import Store, exclusive

        order, span = self._training.order, self._training.span()
        facts = {"cnnkeras.experiment": order["experiment"], "cnnkeras.training": order["training"]}
        with exclusive():
            self._store = store = Store()
            runs = store.unlogged(order["training"])
            name = f"{order['experiment']} (training)"
            self._run = runs[0] if runs else store.create(name, milliseconds(span.start), facts)
        if runs:
            self._run.begin()
        self._run.add(params=order["params"])
        self._shown = {(metric, step): value for metric, step, value, _ in self._run.points()}

    def update(self) -> None:
        """Show the points of new epochs."""
        points = self._training.points()
        if any(self._shown.get((metric, step), value) != value for metric, step, value, _ in points):
            self._run.delete()  # it shows an earlier training, which gave other numbers
            self._open()
        new = [point for point in points if point[:2] not in self._shown]
        if new:
            self._run.add(points=new)
            self._shown |= {(metric, step): value for metric, step, value, _ in new}

    def finish(self) -> None:
        """Mark the run as ended; delete it if it repeats what the run of a result shows."""
        training, shown = self._training, digest(self._training.points())
        known = self._store.find(training=training.order["training"])
        if training.ending == "finished" and any(
            run.fact("curves") == shown and run.fact("fingerprint") for run in known
        ):
            self._run.delete()
            return
        tags = {"cnnkeras.curves": shown}
        if training.reason:
            tags |= {
                "cnnkeras.reason": training.reason,
                "mlflow.note.content": f"The training failed: {training.reason}",
            }
        self._run.add(tags=tags)
        self._run.finish(training.ending, milliseconds(training.span().latest))


if __name__ == "__main__":
    with printable.streams():
        _show_until_end(json.loads(sys.argv[1]), os.getppid())
