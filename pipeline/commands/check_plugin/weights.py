"""The contract of a format of weights (`cnnkeras/weights/__init__.py`)."""

from types import ModuleType

from pipeline.commands.plugin_contract import require_arguments


def check(module: ModuleType) -> None:
    """Check a module.

    Raises:
        ValueError: It lacks a function, or one takes other arguments.
    """
    require_arguments(module, "statistics", ("architecture", "variant"), ())
    require_arguments(module, "read", ("file", "network"), ("classes",))
