"""What every mapping in params.yaml has in common: its keys are known, and it does not change; and a seed."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

# NumPy's global generator, which `keras.utils.set_random_seed` sets, takes 32 bits; a `numpy.random.SeedSequence` of
# (seed, number) would take a larger seed for two numbers.
_LARGEST_SEED = 2**32 - 1


def _in_range(seed: Any) -> Any:
    if isinstance(seed, int) and not 0 <= seed <= _LARGEST_SEED:
        raise ValueError(f"expected a seed from 0 to {_LARGEST_SEED}; received: {seed}")
    return seed


Seed = Annotated[int, BeforeValidator(_in_range)]


def unknown(received: str, known: Iterable[str], what: str) -> str:
    """Sentence for a name that is not one of the known ones, with the nearest."""
    known = sorted(known)
    nearest = difflib.get_close_matches(str(received), known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"unknown {what} {received!r}{hint} (known: {', '.join(known) or 'none'})"


def _without_lists(value: Any) -> Any:
    return tuple(map(_without_lists, value)) if isinstance(value, list) else value


class Entry(BaseModel):
    """A mapping in params.yaml whose keys are all known."""

    # Strict: `true` is no number, and "5" no 5, as they are none to DVC and to whoever reads the file.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, entry: Any) -> Any:
        if isinstance(entry, Mapping):
            for key in entry:
                if key not in cls.model_fields:
                    message = unknown(key, cls.model_fields, "key")
                    raise PydanticCustomError("unknown_key", "{message}", {"key": key, "message": message})
            # YAML has lists only; tuples do not change.
            return {key: _without_lists(value) for key, value in entry.items()}
        return entry
