"""What several kinds' contracts compare."""

import inspect
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from cnnkeras import tasks
from pipeline.runtime.entries import arguments_schema


def require_tasks(module: ModuleType) -> None:
    """Refuse a module whose `TASKS` are no tuple of tasks that there are.

    Raises:
        ValueError: They are not.
    """
    if not isinstance(module.TASKS, tuple) or not set(module.TASKS) <= set(tasks.names()):
        raise ValueError(f"TASKS: expected a tuple of some of {', '.join(tasks.names())}; received: {module.TASKS!r}")


def require_keywords(function: Callable, *, positional: int = 0, reserved: Iterable[str] = ()) -> None:
    """Refuse a function with other arguments than `positional` ones and keyword-only ones, or one of a reserved name.

    Raises:
        ValueError: It has some.
    """
    parameters = inspect.signature(function).parameters
    wrong = [name for name, each in list(parameters.items())[positional:] if each.kind is not each.KEYWORD_ONLY]
    if wrong or len(parameters) < positional:
        kinds = f"{positional} positional arguments, then keyword-only ones" if positional else "keyword-only arguments"
        raise ValueError(f"{function.__name__}: expected {kinds}; received: {', '.join(wrong or parameters) or 'none'}")
    if taken := [name for name in reserved if name in parameters]:
        raise ValueError(
            f"{function.__name__}: expected another name than {taken[0]}, which params.yaml has beside it; received: it"
        )
    try:
        arguments_schema(function).model_rebuild()
    except Exception as error:  # pydantic's own, of any kind
        raise ValueError(
            f"{function.__name__}: expected type hints that say what params.yaml may hold; received: {error}"
        ) from error


def require_arguments(module: ModuleType, name: str, positional: tuple[str, ...], keywords: tuple[str, ...]) -> None:
    """Refuse a function that cannot be called with some arguments.

    Raises:
        ValueError: There is no such function, or it takes others.
    """
    signature = inspect.signature(getattr(module, name))
    try:
        signature.bind(*positional, **dict.fromkeys(keywords))
    except TypeError as error:
        expected = ", ".join((*positional, *(["*"] if keywords else ()), *keywords))
        raise ValueError(f"expected {name}({expected}); received: {name}{signature}, {error}") from error


def require_below(module: ModuleType, name: str, base: type) -> Any:
    """The class of a name, which has to be below another one.

    Raises:
        ValueError: There is none, or it is not.
    """
    found = getattr(module, name)
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ValueError(f"expected {name}, a class below {base.__module__}.{base.__name__}; received: {found!r}")
    return found
