"""Follows a training: its history, its bar on the terminal, its times."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.backend import devices
from pipeline.formats import history
from pipeline.runtime.progress import Bar


class Watch:
    """Writes the history, moves the bar and takes the time of each epoch, as Keras calls it.

    Args:
        file: The history.
        bar: Counts steps.
        steps: Of an epoch.
        epochs: Of the whole training.

    Attributes:
        seconds: How long each epoch took, its validation included.
    """

    def __init__(self, file: Path, bar: Bar, *, steps: int, epochs: int):
        self._file, self._bar, self._steps, self._epochs = file, bar, steps, epochs
        self._epoch, self._last = 0, time.monotonic()
        self._figures: dict[str, float] = {}
        self.seconds: list[float] = []

    def on_step(self, step: int, logs: Mapping[str, float]) -> None:
        """Show the figures of the epoch so far. `step` counts from 0; the last one ends with the validation."""
        self._show(min(step + 1, self._steps - 1), logs)

    def on_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keep and show the figures of an epoch, which counts from 0."""
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last = now
        history.append(self._file, epoch + 1, logs)
        self._show(self._steps, logs)
        self._epoch = epoch + 1

    def _show(self, steps: int, logs: Mapping[str, float]) -> None:
        self._figures |= logs  # those of the last validation stay until there is another
        names = sorted(self._figures, key=lambda name: (name not in ("loss", "val_loss"), name))
        figures = "  ".join(f"{name} {self._figures[name]:.3g}" for name in names)
        epoch = self._epoch + 1
        self._bar.update(self._epoch * self._steps + steps, f"epoch {epoch}/{self._epochs}  {figures}")


def write_timings(path: Path, seconds: list[float]) -> None:
    """Write how long each epoch took (the first one: with the compilation) and on what machine. Differs from run to run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": devices.describe(),
        "seconds": round(sum(seconds), 3),
        "seconds_per_epoch": [round(value, 3) for value in seconds],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
