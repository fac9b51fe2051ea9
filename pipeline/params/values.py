"""Types of values in several sections of params.yaml: names, counts, rates, fractions, transforms."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field

# A name becomes part of file names, together with `.partial-` and the like; a file name has at most 255 bytes.
_MAX_NAME_LENGTH = 100


# Maximum of epochs, examples per step, copies and pixels of a side; a larger number is a slip. Published recipes have up to 65,536
# examples per step and a few thousand epochs.
MAX_COUNT = 1_000_000


def _checked_name(name: str) -> str:
    """A name that is safe as a folder's name and in a shell command, into which DVC puts it unquoted."""
    if not re.fullmatch("[a-z0-9][a-z0-9_]*", name):
        raise ValueError(f"expected a name of lower-case letters, digits and _; received: {name!r}")
    if len(name) > _MAX_NAME_LENGTH:
        raise ValueError(f"expected a name of at most {_MAX_NAME_LENGTH} characters; received: {len(name)}")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Positive = Annotated[int, Field(gt=0, le=MAX_COUNT)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Transforms = tuple[Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=1)], ...]
