"""Object proposals: a JSON list of {"id": the image's id, "bbox": [left, top, width, height] in pixels, "score": number}."""

import hashlib
import json
import math

from cnnkeras.protocols.windows import Proposal
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError


def read_proposals(file: str, sha256: str) -> dict[str, list[Proposal]]:
    """The boxes of each image by its id, the surest first; of equal scores the earlier one in the file.

    Args:
        file: Below the project's folder.
        sha256: Its checksum.

    Raises:
        InputError: The file is not there, is another one than the checksum says, or is not as described above.
    """
    path = paths.root() / file
    if not path.is_file():
        raise InputError(f"expected object proposals at {file}; received: no such file")
    content = path.read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != sha256:
        raise InputError(f"{file}: expected sha256 {sha256}; received: {digest}")
    proposals: dict[str, list[Proposal]] = {}
    try:
        for row in json.loads(content):
            left, top, width, height = row["bbox"]
            box = (round(left), round(top), round(left + width), round(top + height))
            score = float(row["score"])
            if not math.isfinite(score):
                raise ValueError(f"a score of {score}")
            proposals.setdefault(row["id"], []).append((score, box))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise InputError(
            f'{file}: expected a JSON list of {{"id", "bbox": [left, top, width, height], "score"}}; '
            f"received: {type(error).__name__} {error}"
        ) from error
    return {id: sorted(boxes, key=lambda scored: -scored[0]) for id, boxes in proposals.items()}
