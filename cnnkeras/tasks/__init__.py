"""What a network is used for: one file, one task, and the file's name is its name in params.yaml.

Every task has `encode_targets` (from annotations to what the loss takes), `build_loss`, `build_metrics` (shown while
training) and `decode_outputs` (from the network's outputs to predictions). Encoding and decoding are NumPy; Keras is
imported when a loss or a metric is built.
"""

import difflib
import importlib
import pkgutil
from types import ModuleType


def names() -> list[str]:
    """Names of the tasks, in alphabetical order."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> ModuleType:
    """The task's module.

    Raises:
        ValueError: There is no such task.
    """
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        fix = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"expected a task of {', '.join(known)}; received: {name!r}{fix}")
    return importlib.import_module(f"{__name__}.{name}")
