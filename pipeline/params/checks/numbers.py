"""Whole numbers that only a slip explains, wherever they stand."""

from collections.abc import Mapping
from typing import Any

from pipeline.params.parsed import ParsedFile

# The largest seed has 32 bits, 4.3e9; nothing else is counted so far.
MAX_NUMBER = 10**10


def check_numbers(file: ParsedFile, node: Any, location: tuple[Any, ...] = (), *, most: int = MAX_NUMBER) -> None:
    """Refuse a number that no key can mean; run last, as most keys have bounds of their own and say so."""
    if isinstance(node, Mapping | list):
        for key, value in node.items() if isinstance(node, Mapping) else enumerate(node):
            check_numbers(file, value, (*location, key), most=most)
    elif isinstance(node, int) and abs(node) > most:
        raise file.error(location, f"expected a whole number of at most {most:,}; received: {node}")
