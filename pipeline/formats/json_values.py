"""Values as JSON can hold them: without NumPy's types, and with rounded numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def json_value(value: Any, rounding: Callable[[float], float]) -> Any:
    """A value, with all that is in its mappings and sequences, for JSON; None for a number that is not finite.

    Args:
        value: Text, numbers of Python or NumPy, and mappings and sequences of them.
        rounding: Rounds a finite number that is no integer.
    """
    if isinstance(value, Mapping):
        return {key: json_value(entry, rounding) for key, entry in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [json_value(entry, rounding) for entry in value]
    if isinstance(value, float | np.floating):
        return rounding(float(value)) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.integer | np.bool_) else value
