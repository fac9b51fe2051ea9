"""Sends records to the tracking store: one finished run for each result, and none without need.

The run of a result is found by its fingerprint. A finished run is not changed, and an unfinished run of an interrupted `log` is
completed. If there is none, the run that showed the curves during the training becomes the result's run, or a new one is created. A training that
failed has the run that showed it, until the same training succeeds.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import RestException

from pipeline.runtime.console import Console
from pipeline.runtime.errors import first_reason, lacks_room
from pipeline.runtime.guard import is_running
from pipeline.tracking import records, times, waiting
from pipeline.tracking.curves import Dated, digest, milliseconds
from pipeline.tracking.records import Record
from pipeline.tracking.results import RUN_ID, Result
from pipeline.tracking.runs import Run
from pipeline.tracking.store import FAILURES, Store, StoreError, exclusive

_LIVE_SECONDS = 5  # how long to wait for the process of `live`, if the training has just ended


@contextmanager
def view() -> Iterator["View"]:
    """The tracking store while the block runs. At the block's end everything that waits is sent; whatever the store does, nothing fails.

    It prints what was logged, and in one line how many records wait.
    """
    with exclusive():
        opened = View()
        yield opened
        opened.send()
    opened.report()


class View:
    """What the tracking store shows, and what it is to show. `view` makes it."""

    def __init__(self) -> None:
        self._stores: dict[str, Store] = {}
        self._shown: dict[str, set[str]] = {}
        self._failure = ""
        self._said: dict[str, str] = {}  # a sentence by fingerprint

    def lacks(self, fingerprint: str, part: str) -> bool:
        """Whether a result is neither shown nor waits to be. If the store does not answer, it shows nothing."""
        store = self._store(part)
        return not records.is_waiting(fingerprint) and not (store and fingerprint in self._shown[part])

    def add(self, result: Result) -> None:
        """Have a result shown at the end of the block."""
        fingerprint = result.facts["fingerprint"]
        if self.lacks(fingerprint, result.part):
            records.of_result(result)
        elif not records.is_waiting(fingerprint):
            place = self._stores[result.part].place
            self._said[fingerprint] = (
                f"{result.facts['experiment']}: was logged already as {result.run_name} in {place}"
            )

    def send(self) -> None:
        """Send everything that waits, the oldest first. After a store that does not answer the others are not tried."""
        for record in records.all_waiting():
            store = self._store(record.part)
            if not store:
                return
            try:
                _send(store, record)
            except FAILURES as error:
                if lacks_room(error):
                    raise
                self._failure = f"expected {store.place} to take {record.name}; received: {first_reason(error)}"
                if isinstance(error, RestException):  # the server's answer to this one
                    continue
                return
            record.remove()
            verb = "logged" if record.ending == "finished" else f"shown as {record.ending},"
            self._said[str(record.folder)] = f"{record.facts['experiment']}: {verb} as {record.name} in {store.place}"

    def end_killed(self) -> None:
        """Mark the trainings of this machine as killed that ended without a word, with the process that showed them: in a power cut."""
        store = self._store("")
        try:
            for run in store.running() if store else ():
                span = times.read(run.fact("training"))
                if span and span.end is None and not is_running(f"train@{run.fact('experiment')}"):
                    run.finish("killed", milliseconds(span.latest))
        except FAILURES as error:
            self._failure = f"expected {store.place} to answer; received: {first_reason(error)}"

    def report(self) -> None:
        """Print what happened."""
        for sentence in self._said.values():
            Console(soft_wrap=True).print(sentence)
        sys.stdout.flush()
        if sentence := waiting.sentence(self._failure):
            Console(stderr=True, soft_wrap=True).print(sentence)

    def _store(self, part: str) -> Store | None:
        """A part of the store; None if it cannot be used."""
        if self._failure and part not in self._stores:
            return None
        if part not in self._stores:
            try:
                store = Store(part)
                self._shown[part] = store.shown()
            except StoreError as error:
                self._failure = str(error)
                return None
            except FAILURES as error:
                self._failure = f"expected {store.place} to answer; received: {first_reason(error)}"
                return None
            self._stores[part] = store
        return self._stores[part]


def _send(store: Store, record: Record) -> None:
    """Make sure that one run shows a record."""
    fingerprint, training = record.facts.get("fingerprint"), record.facts.get("training")
    if fingerprint is None:
        _send_training(store, record)
        return
    runs, live = store.find(fingerprint=fingerprint), _live_runs(store, training) if training else []
    if not any(run.is_finished for run in runs):
        adopted = next((run for run in live if _shows_part_of(run, record.points)), None)
        run = runs[0] if runs else adopted
        live = [other for other in live if other is not run]
        _complete(run, store, record)
    for repetition in live:
        if not repetition.is_running:  # it repeats the curves of this result, or has curves of no result
            repetition.delete()


def _live_runs(store: Store, training: str) -> list[Run]:
    """The runs that showed this training while it ran, once they have ended."""
    deadline = time.monotonic() + _LIVE_SECONDS
    runs = store.unlogged(training)
    while any(run.is_running for run in runs) and time.monotonic() < deadline:
        time.sleep(0.2)
        runs = store.unlogged(training)
    return runs


def _shows_part_of(run: Run, points: Dated) -> bool:
    """Whether a run shows the curves of a training, perhaps not to the end, and no others."""
    if known := run.fact("curves"):
        last = int(known.split()[0])
        return known == digest([point for point in points if point[1] <= last])
    return {point[:3] for point in run.points()} <= {point[:3] for point in points}


def _complete(run: Run | None, store: Store, record: Record) -> None:
    """Log everything that the run does not show yet, then mark it as finished."""
    tags = {f"cnnkeras.{key}": value for key, value in record.facts.items()} | record.tags
    if "parent" in record.facts:
        parents = store.find(fingerprint=record.facts["parent"])
        tags |= {"mlflow.parentRunId": parents[0].id} if parents else {}
    former = {(metric, step) for metric, step, _, _ in run.points()} if run and "times" in record.facts else set()
    if run is None:
        run = store.create(record.name, record.start, {key: tags[key] for key in tags if key.startswith("cnnkeras.")})
    else:
        run.begin(record.name)
    tags = {key: value.replace(RUN_ID, run.id) for key, value in tags.items()}
    if record.data:
        run.add_data(record.data)
    run.add_files(record.folder / "files")
    model = run.add_model(record.model, record.folder / "model", record.params) if record.model else None
    points = [point for point in record.points if point[:2] not in former]
    points += [(metric, 0, value, record.end) for metric, value in record.metrics.items()]
    run.add(tags=tags, params=record.params, points=points, model_id=model, data=record.data)
    run.finish(record.ending, record.end)


def _send_training(store: Store, record: Record) -> None:
    """Show a training that failed or was killed, unless it has succeeded since."""
    runs = store.find(training=record.facts["training"])
    if any(run.fact("fingerprint") for run in runs):
        return
    tags = {f"cnnkeras.{key}": value for key, value in record.facts.items()} | record.tags
    run = runs[0] if runs else store.create(record.name, record.start, tags)
    run.add(tags=tags, params=record.params, points=record.points)
    run.finish(record.ending, record.end)
