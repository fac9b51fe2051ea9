"""Shows a result as one run in the tracking store; showing it again adds no second run.

The run of a result is found by its fingerprint. A finished run is not changed, and an unfinished run of an interrupted `log` is
completed. If there is none, the run that showed the curves during the training becomes the result's run, or a new one is created.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.tracking.curves import Points
from pipeline.tracking.models import TrainedModel
from pipeline.tracking.runs import Data, Run
from pipeline.tracking.store import Store, exclusive, outage_is_input_error

_LIVE_SECONDS = 5  # how long to wait for the process of `live`, if the training has just ended


@dataclass(frozen=True)
class Result:
    """The content of a result's run, read from the local files.

    Attributes:
        run_name: Name of the run.
        facts: Tags of the run. `fingerprint` is used to find the run again; `training`, if the result has a training, to find the run
            with its curves.
        command: Command that logs the result.
        description: Markdown at the top of the run's page.
        params: Params as text, by key.
        metrics: Figures of merit.
        files: Files and folders to log, each with its folder in the run, None for the top folder. Iterated over only if the result is
            not shown yet.
        part: Part of the store: "" for experiments, "lab" for claims.
        curves: Points of the training's curves.
        data: Returns the data that the model was trained on. Called only if the result is not shown yet, as it may read gigabytes.
        model: Returns the trained model. Called only if the result is not shown yet.
    """

    run_name: str
    facts: Mapping[str, str]
    command: str
    description: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    files: Iterable[tuple[Path, str | None]]
    part: str = ""
    curves: Points = field(default_factory=dict)
    data: Callable[[], Data] | None = None
    model: Callable[[], TrainedModel] | None = None


def show(result: Result) -> str:
    """Make sure that one finished run shows a result; returns a message: `logged as RUN in STORE`.

    Raises:
        InputError: The store cannot be used, or stopped answering.
    """
    with exclusive():
        store = Store(result.part)
        with outage_is_input_error(store.uri):
            is_new = _show(store, result)
    verb = "logged" if is_new else "was logged already"
    return f"{verb} as {result.run_name} in {store.place}"


def _show(store: Store, result: Result) -> bool:
    runs, training = store.find(fingerprint=result.facts["fingerprint"]), result.facts.get("training")
    is_new = not any(run.is_finished for run in runs)
    if is_new:
        run = runs[0] if runs else (training and _adopt(store, training, result.curves))
        _complete(run or store.create(result.run_name, **result.facts), result)
    for repetition in store.unlogged(training) if training else ():
        if not repetition.is_running:  # it repeats the curves of this result, or has curves of no result
            repetition.delete()
    return is_new


def _adopt(store: Store, training: str, curves: Points) -> Run | None:
    """The run that showed this result's training while it ran; None if there is none with the same points."""
    deadline = time.monotonic() + _LIVE_SECONDS
    while any(run.is_running for run in store.unlogged(training)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for run in store.unlogged(training):
        if all(curves.get(point) == value for point, value in run.points().items()):
            return run
    return None


def _complete(run: Run, result: Result) -> None:
    """Log everything that the run does not show yet, then mark it as finished."""
    run.describe(result.facts, command=result.command, description=result.description)
    run.begin(result.run_name)
    run.add_params(result.params)
    former = run.points()
    run.add_points({point: value for point, value in result.curves.items() if point not in former})
    for path, folder in result.files:
        run.add_files(path, folder)
    data = result.data() if result.data else None
    if data:
        run.add_data(data)
    model_id = run.add_model(result.model()) if result.model else None
    run.add_points({(key, 0): value for key, value in result.metrics.items()}, model_id=model_id, data=data)
    run.finish()
