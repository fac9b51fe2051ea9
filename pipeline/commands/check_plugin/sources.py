"""The contract of a kind of sources (`pipeline/sources/__init__.py`)."""

from types import ModuleType

from pipeline import sources
from pipeline.commands.plugin_contract import require_arguments, require_below, require_tasks
from pipeline.files.classes import Classified


def check(module: ModuleType) -> None:
    """Check a module.

    Raises:
        ValueError: It lacks a name, serves an unknown task, or a function takes other arguments.
    """
    require_tasks(module)
    source = require_below(module, "Source", sources.SourceEntry)
    if not issubclass(source, Classified) and "classes" not in source.model_fields and not hasattr(source, "classes"):
        raise ValueError("Source: expected a key or a property `classes`, the names in order; received: none")
    require_arguments(module, "fetch", ("source", "folder"), ("mirrors",))
    require_arguments(module, "examples", ("source", "folder"), ("masks", "split"))
