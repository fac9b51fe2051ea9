"""Records a training: its history, its progress on the terminal, the duration of its epochs."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.backend import devices
from pipeline.formats import history
from pipeline.runtime.progress import Bar
from pipeline.stages.train.checkpoints import Checkpoints

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Followers:
    """Who follows a training, and how far.

    Attributes:
        bar: Begins the progress bar, given the number of steps.
        shown: Shows the history in this file while the block trains.
        epoch: Is called after each epoch with its number, from 1.
        checkpoints: Makes what keeps the states of a training that is watched; or None, which keeps none.
        go_on: Is called with what was kept beside the state that the training goes on from.
        require_unchanged: Is called before each epoch; raises an error to end the training.
        callbacks: Makes further callbacks of Keras, which has been imported by then.
    """

    bar: Callable[[int], AbstractContextManager[Any]]
    shown: Callable[[Path], AbstractContextManager[None]]
    epoch: Callable[[int], None]
    checkpoints: Callable[["Watch"], Checkpoints | None]
    require_unchanged: Callable[[], None]
    go_on: Callable[[Mapping[str, Any]], None] = lambda _past: None
    callbacks: "Callable[[], Sequence[keras.callbacks.Callback]]" = tuple


class Watch:
    """Writes the history, moves the progress bar and measures the duration of each epoch; Keras calls its methods.

    Args:
        file: File of the history.
        bar: Progress bar that counts steps.
        ended: Is called after each epoch with its number, from 1.
        steps: Number of steps in an epoch.
        epochs: Number of epochs of the training.

    Attributes:
        seconds: Duration of each epoch, with its validation.
    """

    def __init__(self, file: Path, bar: Bar, ended: Callable[[int], None], *, steps: int, epochs: int):
        self._file, self._bar, self._ended, self._steps, self._epochs = file, bar, ended, steps, epochs
        self._epoch, self._first, self._last = 0, 0, time.monotonic()
        self._metrics: dict[str, float] = {}
        self.seconds: list[float] = []

    @property
    def elapsed(self) -> float:
        """Seconds of the training so far, those before it was interrupted included."""
        return sum(self.seconds) + time.monotonic() - self._last

    def go_on(
        self, logs: Sequence[Mapping[str, float]], seconds: Sequence[float], *, elapsed: float, step: int
    ) -> None:
        """Begin after the epochs with these logs and durations, and after so many steps of the next epoch and seconds in all."""
        for epoch, metrics in enumerate(logs):
            history.append(self._file, epoch + 1, metrics)
        self.seconds, self._epoch, self._first = list(seconds), len(logs), step
        self._last = time.monotonic() - (elapsed - sum(seconds))
        self._bar.begin(self._epoch * self._steps + step)

    def on_step(self, step: int, logs: Mapping[str, float]) -> None:
        """Show the metrics of the epoch so far. `step` counts from 0, or from where the epoch was continued. The bar counts the last step only after the validation."""
        self._show(min(self._first + step + 1, self._steps - 1), logs)

    def on_epoch(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Record and show the metrics of an epoch, which counts from 0."""
        now = time.monotonic()
        self.seconds.append(now - self._last)
        self._last = now
        history.append(self._file, epoch + 1, logs)
        self._ended(epoch + 1)
        self._show(self._steps, logs)
        self._epoch, self._first = epoch + 1, 0

    def _show(self, steps: int, logs: Mapping[str, float]) -> None:
        self._metrics |= logs  # the metrics of a validation are shown until the next one
        facts = (f"{name} {self._metrics[name]:.3g}" for name in sorted(self._metrics, key=_rank))
        self._bar.update(self._epoch * self._steps + steps, f"epoch {self._epoch + 1}/{self._epochs}", *facts)


def _rank(name: str) -> tuple[Any, ...]:
    """Order of what is shown: the losses, then each metric with that of the validation, then the learning rate."""
    own = name.removeprefix("val_")
    return own == "learning_rate", own != "loss", own, name != own


def write_timings(path: Path, seconds: list[float]) -> None:
    """Write the machine and the duration of each epoch as JSON; `seconds` holds a duration per epoch, the first with the compilation."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": devices.describe(),
        "seconds": round(sum(seconds), 3),
        "seconds_per_epoch": [round(value, 3) for value in seconds],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
