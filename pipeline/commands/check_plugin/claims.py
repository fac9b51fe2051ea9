"""The contract of a claim of the lab (`pipeline/lab/claims/__init__.py`)."""

from types import ModuleType

from pipeline.commands.plugin_contract import require_arguments, require_below
from pipeline.lab.claims import ClaimEntry


def check(module: ModuleType) -> None:
    """Check a module.

    Raises:
        ValueError: It lacks a name, or the measurement takes other arguments.
    """
    require_below(module, "Settings", ClaimEntry)
    require_arguments(module, "measure", ("settings",), ("seed",))
