"""Kinds of values that several sections of params.yaml have: names, counts, rates, transforms."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

# A name becomes part of file names, which have at most 255 bytes, with `.partial-` and the like around it.
_LONGEST_NAME = 100


# Of epochs, examples a step, copies, pixels of a side: what exceeds it is a slip. The largest numbers of published recipes are
# 65,536 examples a step and a few thousand epochs.
MOST = 1_000_000


def _checked_name(name: str) -> str:
    """A name that can stand in a path and in a shell command: it is a folder, and DVC puts it into commands unquoted."""
    if not re.fullmatch("[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"expected a name of lower-case letters, digits and _; received: {name!r}")
    if len(name) > _LONGEST_NAME:
        raise ValueError(f"expected a name of at most {_LONGEST_NAME} characters; received: {len(name)}")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]
Count = Annotated[int, Field(ge=0, le=MOST)]
Positive = Annotated[int, Field(gt=0, le=MOST)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Transforms = tuple[Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)], ...]
