"""The contract of a kind of sources (`pipeline/sources/__init__.py`)."""

from types import ModuleType

from cnnkeras import tasks
from pipeline import sources
from pipeline.commands.plugin_contract import require_arguments, require_below, require_names
from pipeline.files.classes import Classified


def check(module: ModuleType) -> None:
    """Check a module.

    Raises:
        ValueError: It lacks a name, serves an unknown task, or a function takes other arguments.
    """
    require_names(module, ("TASKS", "Source", "fetch", "examples"))
    if unknown := [task for task in module.TASKS if task not in tasks.names()]:
        raise ValueError(f"TASKS: expected tasks of {', '.join(tasks.names())}; received: {', '.join(unknown)}")
    source = require_below(module, "Source", sources.SourceEntry)
    if not issubclass(source, Classified) and "classes" not in source.model_fields and not hasattr(source, "classes"):
        raise ValueError("Source: expected a key or a property `classes`, the names in order; received: none")
    require_arguments(module, "fetch", ("source", "folder"), ("mirrors",))
    require_arguments(module, "examples", ("source", "folder"), ("masks", "split"))
