"""The files that the report is written to; no other file is ever replaced by one."""

import os
from pathlib import Path

from pipeline.runtime.errors import InputError
from pipeline.runtime.printable import without_secrets
from pipeline.runtime.replacing import replacing

MARK = "Written by `cnnkeras report`."
_HEAD_BYTES = 1000  # of a report, among which the mark is


def require_own(file: Path) -> None:
    """Refuse a place that a report may not take.

    Raises:
        InputError: Something is there that is neither a report nor an empty file.
    """
    received = None
    if file.is_dir():
        received = "a folder"
    elif file.is_file():
        with file.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
        received = None if MARK.encode() in head or not head else "another file, which would be lost"
    elif os.path.lexists(file):
        received = "a device or a broken link"
    elif any(folder.is_file() for folder in file.absolute().parents):
        received = "a path through a file"
    if received:
        raise InputError(
            f"{file}: expected a new file, or one that `cnnkeras report` has written; received: {received}. "
            "Give another file by --output, or move that away"
        )


def write(file: Path, text: str) -> None:
    """Replace a report in one step."""
    with replacing(file) as partial:
        partial.write_text(without_secrets(text), encoding="utf-8")
