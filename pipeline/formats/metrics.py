"""metrics.json: how good an experiment's predictions are.

Figures of merit first, as fractions, then what they were measured on and how, then rows per class and further tables. Numbers are
rounded to 6 decimals; null stands for what is not defined, such as the average precision of a class without objects. Texts and tables
are in lists, which `dvc metrics show` and `dvc exp show` leave out: each would be a column.

With several seeds the figures of merit are means over the trainings, and all else is of the first one. Those of each are under `seeds`:

    "standard_deviation": [{"top1_accuracy": 0.004}], "seeds": [{"seed": 1, "top1_accuracy": 0.88}, {"seed": 2, ...}]
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.formats.json_values import json_value
from pipeline.runtime.reading import read_object

DECIMALS = 6
# Keys that no figure of merit may have: those of this file, and of the tasks' analyses.
RESERVED = ("examples", "protocol", "conditions", "per_class", "error_analysis", "standard_deviation", "seeds")


def figures(measured: Any, keys: Sequence[str]) -> dict[str, float]:
    """What a metric gave, as numbers for the file.

    Raises:
        ValueError: It is no mapping of these keys to numbers.
    """
    numbers = dict(measured) if isinstance(measured, Mapping) else measured
    if not isinstance(numbers, dict) or list(numbers) != list(keys):
        raise ValueError(f"expected a mapping with {', '.join(keys)} from measure; received: {numbers!r}")
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number):
            raise ValueError(f"expected a number for {key} from measure; received: {value!r}")
    return {key: float(value) for key, value in numbers.items()}


def over_seeds(content: Mapping[str, Any], by_seed: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """The content of the file for several trainings of one experiment.

    Args:
        content: That of the first training.
        by_seed: Figures of merit of each training, by its seed, the first one's first.

    Returns:
        The content with means; and the standard deviation of a training (of the sample, with n - 1) and each training's figures.
    """
    trainings, (first, *_) = list(by_seed.values()), by_seed
    means = {key: np.mean([values[key] for values in trainings]) for key in trainings[0]}
    deviations = {key: np.std([values[key] for values in trainings], ddof=1) for key in trainings[0]}
    seeds = ", ".join(map(str, by_seed))
    said = f"the mean of {len(by_seed)} trainings, with seeds {seeds}; tables and figures are those of seed {first}"
    return {
        **content,
        **means,
        "conditions": [*content["conditions"], said],
        "standard_deviation": [deviations],
        "seeds": [{"seed": seed, **values} for seed, values in by_seed.items()],
    }


def deviations_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Standard deviations of the figures of merit over several trainings, from the content of the file; none for one training."""
    return dict(*metrics.get("standard_deviation", ()))


def by_seed_of(metrics: Mapping[str, Any]) -> dict[int, dict[str, float | None]]:
    """Figures of merit of each of several trainings, by its seed, from the content of the file; none for one training."""
    rows = metrics.get("seeds", ())
    return {row["seed"]: {key: value for key, value in row.items() if key != "seed"} for row in rows}


def write_metrics(file: Path, content: Mapping[str, Any]) -> None:
    """Write the file; keys stay in order."""
    file.write_text(json.dumps(rounded(content), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_metrics(file: Path) -> dict[str, Any]:
    """The content of the file.

    Raises:
        InputError: The file is damaged.
    """
    return read_object(file)


def rounded(value: Any) -> Any:
    """Numbers as files of results hold them, in nested mappings and sequences; None for one that is not finite."""
    return json_value(value, lambda number: round(number, DECIMALS))
