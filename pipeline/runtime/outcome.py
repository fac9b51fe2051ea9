"""The line that a stage ends with: what came out and where it lies."""

from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.console import Console


def say(stage: str, entry: str, what: str, where: Path) -> None:
    """Print `evaluate yolo: map_voc07 0.648 -> results/yolo/metrics.json`."""
    place = where.relative_to(paths.root())
    Console(soft_wrap=True).print(f"{stage} {entry}: {what} -> {place}")
