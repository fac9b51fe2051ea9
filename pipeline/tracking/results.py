"""Shows a result in the tracking store, once, however often it is logged.

The run of a result is found by its fingerprint. A finished one is left alone, one that an interrupted log left is completed, and
otherwise the run that showed the training's curves while it ran becomes the run of its first result.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.tracking.curves import Points
from pipeline.tracking.models import TrainedModel
from pipeline.tracking.runs import Data, Run
from pipeline.tracking.store import Store, exclusive, outage_is_input_error

_LIVE_SECONDS = 5  # to wait for the process that shows the curves of a training that has just ended


@dataclass(frozen=True)
class Result:
    """A result as it is to be shown, read from the local files.

    Attributes:
        run_name: Of its run.
        facts: Tags of the run; `fingerprint` finds it again, `training`, where there was one, the run of its curves.
        command: The command that logs it.
        description: Markdown.
        params: By their keys in params.yaml.
        metrics: Its figures of merit.
        files: Files and folders, each with its folder in the run, None for the uppermost. Taken only when the result is to be
            shown.
        part: Of the store: "" or "lab".
        curves: Of its training.
        data: The data that it was trained on. Called only when the result is to be shown: it may read gigabytes.
        model: The trained model. Called only then.
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
    """Make sure that one finished run shows a result; returns what to say of it.

    Raises:
        InputError: The store cannot be used, or stopped answering.
    """
    with exclusive():
        store = Store(result.part)
        with outage_is_input_error(store.uri):
            is_new = _show(store, result)
    verb = "logged" if is_new else "was logged already"
    return f"{verb} as {result.run_name} in {store.uri}"


def _show(store: Store, result: Result) -> bool:
    runs, training = store.find(fingerprint=result.facts["fingerprint"]), result.facts.get("training")
    is_new = not any(run.is_finished for run in runs)
    if is_new:
        run = runs[0] if runs else (training and _adopt(store, training, result.curves))
        _complete(run or store.create(result.run_name, **result.facts), result)
    for repetition in store.unlogged(training) if training else ():
        if not repetition.is_running:  # its curves are those of this result, or of none that can be shown
            repetition.delete()
    return is_new


def _adopt(store: Store, training: str, curves: Points) -> Run | None:
    """The run that showed this result's training while it ran."""
    deadline = time.monotonic() + _LIVE_SECONDS
    while any(run.is_running for run in store.unlogged(training)) and time.monotonic() < deadline:
        time.sleep(0.2)
    for run in store.unlogged(training):
        if all(curves.get(point) == value for point, value in run.points().items()):
            return run
    return None


def _complete(run: Run, result: Result) -> None:
    """Log whatever the run does not show yet. It is finished only when everything is there."""
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
