"""Where runs wait that MLflow does not have yet, and how many do. `records` says what they hold; this file does not import MLflow."""

from pathlib import Path

from pipeline.runtime import paths


def folder() -> Path:
    """Folder of the records: one for all copies that `dvc exp run --temp` makes of the project."""
    return paths.home() / ".cnnkeras" / "unlogged"


def names() -> list[str]:
    """Names of the records that are complete."""
    return [file.parent.name for file in folder().glob("*/record.json") if not file.parent.name.startswith(".")]


def sentence(reason: str = "") -> str:
    """How many runs wait, why, and how to send them; "" if none waits."""
    count = len(names())
    if not count:
        return ""
    noun = "run waits" if count == 1 else "runs wait"
    return f"{count} {noun} for MLflow: {reason + '. ' if reason else ''}`cnnkeras log` sends what waits"
