"""A checkpoint: the arrays of a training that is under way, and facts in JSON, in one file.

    line 1   SHA-256 (hexadecimal) of all bytes after this line
    line 2   JSON: {"facts": {...}, "arrays": {"variables": [["<f4", [3, 3, 64]], ...], ...}}
    then     the bytes of the arrays, in this order

A file appears whole or not at all: it is written under another name, flushed to the disk, renamed, and the folder is flushed too.
No code is run when it is read.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.runtime.replacing import flush, replacing

Arrays = Mapping[str, Sequence[np.ndarray]]


def write(path: Path, facts: Mapping[str, Any], arrays: Arrays) -> None:
    """Write a checkpoint.

    Args:
        path: The file.
        facts: What JSON can hold. Floats are read back exactly.
        arrays: Lists of arrays by name.
    """
    described = {name: [(value.dtype.str, value.shape) for value in values] for name, values in arrays.items()}
    header = json.dumps({"facts": facts, "arrays": described}).encode() + b"\n"
    digest = hashlib.sha256(header)
    for value in _flat(arrays):
        digest.update(value)
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(digest.hexdigest().encode() + b"\n" + header)
        for value in _flat(arrays):
            file.write(value)
        file.flush()
        flush(partial)
    flush(path.parent)


def read(path: Path) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """The facts and the arrays of a checkpoint.

    Raises:
        ValueError: The file is not a whole checkpoint.
    """
    with path.open("rb") as file:
        stated, header = file.readline().strip().decode("ascii", "replace"), file.readline()
        content = file.read()
    digest = hashlib.sha256(header)
    digest.update(content)
    if digest.hexdigest() != stated:
        raise ValueError("expected content with the SHA-256 in its first line; received: other content")
    described, start, arrays = json.loads(header), 0, {}
    for name, entries in described["arrays"].items():
        arrays[name] = []
        for dtype, shape in entries:
            value = np.frombuffer(content, dtype, math.prod(shape), start).reshape(shape)
            arrays[name].append(value)
            start += value.nbytes
    return described["facts"], arrays


def _flat(arrays: Arrays) -> Iterator[memoryview]:
    """The bytes of each array."""
    for values in arrays.values():
        for value in values:
            yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
