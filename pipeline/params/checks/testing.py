"""Checks of `predict`, `postprocess` and `evaluate` against the task of the dataset."""

from collections.abc import Mapping
from typing import Any

from cnnkeras import metrics, tasks
from cnnkeras.by_name import unknown
from cnnkeras.protocols import views
from pipeline.formats.metrics import RESERVED
from pipeline.params.checks.transforms import with_tuples
from pipeline.params.experiments import Experiment
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import checked_arguments
from pipeline.params.testing import Evaluate, Predict
from pipeline.params.whole import Params, input_shape
from pipeline.runtime.entries import Arguments

# Views per image; the papers' densest protocol, VGG's, has 150 (section 4.4).
MAX_VIEWS = 10_000
# Pixels of an image's shorter side; a square image of this size with three channels fills 1.2 GB in float32.
MAX_SCALE = 10_000


def checked_postprocess(
    file: ParsedFile, params: Params, location: tuple[str, ...], dataset: str, entry: Mapping[str, Any]
) -> Arguments:
    """Keyword arguments of the task's `postprocess`. Arguments that are None, their default, are left out, so that results keep their fingerprint."""
    task = tasks.load(params.datasets[dataset].task)
    arguments = checked_arguments(file, location, task.postprocess, entry)
    classes = params.known_classes(dataset)
    limits = {} if classes is None else task.max_settings(classes=len(classes))
    for key, limit in limits.items():
        if key in entry and entry[key] > limit:
            raise file.error(
                (*location, key),
                f"expected at most {limit}, the number of classes of {dataset}; received: {entry[key]}",
            )
    return Arguments({key: value for key, value in arguments.items() if value is not None})


def check_predict(file: ParsedFile, params: Params, location: tuple[str, ...], experiment: Experiment) -> None:
    """Refuse views or regions that the task does not use, and views with images smaller than the model's input."""
    dataset, size = params.datasets[experiment.dataset], input_shape(params, experiment)[:-1]
    predict, protocol = experiment.predict, tasks.load(dataset.task).PROTOCOL
    for key, chosen in (("views", predict.views), ("regions", (predict.regions,) if predict.regions else ())):
        if chosen and (key != protocol or dataset.is_signal):
            raise file.error(
                (*location, "predict", key),
                f"expected none for {dataset.task} of size {list(size)}; "
                f"received: {', '.join(named.name for named in chosen)}",
            )
    for position, named in enumerate(predict.views):
        try:
            named.call(views).require(size)
        except ValueError as error:
            raise file.error((*location, "predict", "views", position, "scales"), str(error)) from error
    _check_extent(file, (*location, "predict", "views"), predict)


def completed_predict(file: ParsedFile, location: tuple[str, ...], predict: Predict, postprocess: Arguments) -> Predict:
    """The section with `validation`, if a setting of `postprocess` is chosen on the validation split."""
    chosen = [key for key, value in postprocess.items() if value == tasks.BEST]
    if not chosen or predict.validation:
        return predict
    if "validation" in predict.model_fields_set:
        raise file.error(
            (*location, "predict", "validation"),
            f"expected true beside postprocess: {{{chosen[0]}: {tasks.BEST}}}, or a number there; received: false",
        )
    return predict.model_copy(update={"validation": True})


def _check_extent(file: ParsedFile, location: tuple[str, ...], predict: Predict) -> None:
    """Refuse views beyond `MAX_VIEWS` and images beyond `MAX_SCALE`, which can only be slips."""
    for position, view in enumerate(named.call(views) for named in predict.views):
        if max(view.scales) > MAX_SCALE:
            message = f"expected shorter sides of at most {MAX_SCALE:,} pixels; received: {max(view.scales)}"
            raise file.error((*location, position, "scales"), message)
        if view.count > MAX_VIEWS:
            raise file.error((*location, position), f"expected at most {MAX_VIEWS:,} views; received: {view.count:,}")


def check_similar_classes(
    file: ParsedFile, params: Params, location: tuple[str, ...], dataset: str, evaluate: Evaluate
) -> None:
    """Refuse groups of similar classes for a task without an analysis of errors, and unknown classes in them."""
    groups, location = evaluate.similar_classes, (*location, "evaluate", "similar_classes")
    if groups and not metrics.load(params.datasets[dataset].task).ERROR_KINDS:
        raise file.error(location, f"expected none, as only detections have an analysis of errors; received: {groups}")
    classes = params.known_classes(dataset)
    for position, group in enumerate(groups if classes is not None else ()):
        for label in group:
            if label not in classes:
                raise file.error((*location, position), unknown(label, classes, "class"))


def checked_evaluate(
    file: ParsedFile, params: Params, location: tuple[str, ...], dataset: str, evaluate: Evaluate
) -> Evaluate:
    """The section `evaluate` with the defaults of its metrics, which serve the task and write no key twice."""
    task, completed = params.datasets[dataset].task, []
    taken = dict.fromkeys(RESERVED, "the file itself") | dict.fromkeys(metrics.load(task).METRICS, task)
    for position, written in enumerate(evaluate.metrics):
        place, known = (*location, "evaluate", "metrics", position), metrics.names()
        if "name" not in written:
            raise file.error(place, f"expected the key 'name' ({', '.join(known)}); received: none")
        name = written["name"]
        if name not in known:
            raise file.error((*place, "name"), unknown(name, known, "metric"))
        module = metrics.load(name)
        if task not in module.TASKS:
            message = f"expected a metric of {task}; received: {name}, one of {', '.join(module.TASKS)}"
            raise file.error((*place, "name"), message)
        for key in module.METRICS:
            if other := taken.get(key):
                message = f"expected a metric with other keys than {key} of {other}; received: {name}"
                raise file.error((*place, "name"), message)
            taken[key] = name
        settings = with_tuples({key: value for key, value in written.items() if key != "name"})
        arguments = checked_arguments(file, place, module.measure, settings, reserved=metrics.SUPPLIED)
        completed.append(Arguments({"name": name, **arguments}))
    return evaluate.model_copy(update={"metrics": tuple(completed)}) if completed else evaluate
