"""What every mapping in params.yaml has in common: its keys are known, and it does not change."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


def unknown(received: str, known: Iterable[str], what: str) -> str:
    """Sentence for a name that is not one of the known ones, with the nearest."""
    known = sorted(known)
    nearest = difflib.get_close_matches(str(received), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {received!r}{hint} (known: {', '.join(known) or 'none'})"


class Entry(BaseModel):
    """A mapping in params.yaml whose keys are all known."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, entry: Any) -> Any:
        if isinstance(entry, Mapping):
            for key in entry:
                if key not in cls.model_fields:
                    message = unknown(key, cls.model_fields, "key")
                    raise PydanticCustomError("unknown_key", "{message}", {"key": key, "message": message})
        return entry
