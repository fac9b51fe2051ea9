"""Check for whole numbers that are too large to be meant, in all of params.yaml."""

from collections.abc import Mapping
from typing import Any

from pipeline.params.parsed import ParsedFile

# The largest meaningful numbers are seeds of 32 bits, up to 4.3e9.
MAX_NUMBER = 10**10


def check_numbers(file: ParsedFile, node: Any, location: tuple[Any, ...] = (), *, max_number: int = MAX_NUMBER) -> None:
    """Refuse whole numbers beyond ± `max_number`; run last, as most keys have narrower bounds and errors of their own."""
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            check_numbers(file, value, (*location, key), max_number=max_number)
    elif isinstance(node, int) and abs(node) > max_number:
        raise file.error(location, f"expected a whole number of at most {max_number:,}; received: {node}")
