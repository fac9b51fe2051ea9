"""The contract of a metric (`cnnkeras/metrics/__init__.py`): it gives the numbers that it names, of a few predictions of each of its tasks."""

import copy
from types import ModuleType

import numpy as np

from cnnkeras import metrics, tasks
from pipeline.commands.plugin_contract import require_arguments, require_keywords, require_tasks
from pipeline.formats.metrics import RESERVED, figures
from pipeline.runtime.entries import arguments_schema


def check(module: ModuleType) -> None:
    """Check a module; its numbers are computed.

    Raises:
        ValueError: A task, an argument or a key is wrong, or the numbers are not those that `METRICS` names.
    """
    require_tasks(module)
    if not isinstance(module.METRICS, tuple) or not module.METRICS or set(module.METRICS) & set(RESERVED):
        raise ValueError(
            f"METRICS: expected a tuple of keys, none of {', '.join(RESERVED)}; received: {module.METRICS!r}"
        )
    require_keywords(module.measure, positional=2, reserved=("name",))
    given = arguments_schema(module.measure, reserved=metrics.SUPPLIED).model_fields
    if needed := [name for name, field in given.items() if field.is_required()]:
        raise ValueError(f"measure: expected a default for each setting; received: none for {', '.join(needed)}")
    require_arguments(module, "measure", ("predictions", "truth"), metrics.SUPPLIED)
    for task in module.TASKS:
        predictions, truth, classes = tasks.load(task).tiny_predictions(np.random.default_rng(0))
        before = copy.deepcopy((predictions, truth))
        first, again = (figures(module.measure(predictions, truth, classes=classes), module.METRICS) for _ in range(2))
        if not np.array_equal(list(first.values()), list(again.values()), equal_nan=True):
            raise ValueError(f"measure: expected equal numbers for equal predictions; received: {first}, then {again}")
        if repr(before) != repr((predictions, truth)):
            raise ValueError(
                "measure: expected a metric that leaves its arguments as they are; received: one that writes into them"
            )
