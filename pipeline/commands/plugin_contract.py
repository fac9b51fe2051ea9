"""What several kinds' contracts compare."""

import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def require_names(module: ModuleType, names: Iterable[str]) -> None:
    """Refuse a module that lacks one of some names.

    Raises:
        ValueError: It lacks one.
    """
    if missing := [name for name in names if not hasattr(module, name)]:
        raise ValueError(f"expected {', '.join(names)}; received: none of {', '.join(missing)}")


def require_arguments(module: ModuleType, name: str, positional: tuple[str, ...], keywords: tuple[str, ...]) -> None:
    """Refuse a function that cannot be called with some arguments.

    Raises:
        ValueError: There is no such function, or it takes others.
    """
    require_names(module, (name,))
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
    require_names(module, (name,))
    found = getattr(module, name)
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise ValueError(f"expected {name}, a class below {base.__module__}.{base.__name__}; received: {found!r}")
    return found
