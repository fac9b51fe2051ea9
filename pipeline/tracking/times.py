"""When a result was made: `.cnnkeras/times/FINGERPRINT.json`, by the fingerprint of the training or claim.

history.csv has no times, so that equal trainings give equal files. The file of times stays on the machine that trained. Where it is missing, as in a
fresh clone, the times are not known, and the run says so.

The clock may jump meanwhile. It is read once, at the start; later times are that time plus the seconds that have passed since, those of a sleeping
machine included. A training that goes on in another process never goes back behind its own last time.
"""

import contextlib
import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from pipeline.runtime import paths
from pipeline.runtime.replacing import replacing

UNKNOWN = "the time of logging: this machine does not know when the result was made"

# Unlike CLOCK_MONOTONIC it goes on while the machine sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass
class Times:
    """Times in seconds since 1970.

    Attributes:
        start: The begin.
        epochs: End of each epoch, by its number from 1.
        end: The end; None while it runs, and after a kill.
        is_finished: Whether it ended well. A training that did not may go on, from where it was.
    """

    start: float
    epochs: dict[int, float] = field(default_factory=dict)
    end: float | None = None
    is_finished: bool = False

    @property
    def latest(self) -> float:
        """The last time that is known."""
        return max(self.start, *self.epochs.values(), self.end or self.start)


def read(fingerprint: str) -> Times | None:
    """The times of a training or claim; None if they are not known here."""
    try:
        content = json.loads(_file(fingerprint).read_text(encoding="utf-8"))
        epochs = {int(epoch): float(end) for epoch, end in content["epochs"].items()}
        return Times(float(content["start"]), epochs, content["end"], content["is_finished"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Recorder:
    """Writes the times of a training or claim down as they pass, from now on. One that was interrupted goes on."""

    def __init__(self) -> None:
        self._times, self._fingerprint = Times(time.time()), ""
        self._offset = self._times.start - time.clock_gettime(_CLOCK)
        self._start = self._times.start

    def of(self, fingerprint: str) -> None:
        """Say whose times they are."""
        self._fingerprint, former = fingerprint, read(fingerprint)
        if former and not former.is_finished and former.epochs:
            self._offset += max(former.latest - self._now(), 0)
            self._times = replace(former, end=None)
        self._write()

    def epoch(self, number: int) -> None:
        """An epoch has ended; the first is number 1."""
        if number == 1:  # from the beginning again
            self._times = Times(self._start)
        self._times.epochs = {epoch: end for epoch, end in self._times.epochs.items() if epoch < number}
        self._times.epochs[number] = self._now()
        self._write()

    def end(self, *, is_finished: bool = True) -> None:
        """All has ended, well or not."""
        self._times.end, self._times.is_finished = self._now(), is_finished
        if self._fingerprint:
            self._write()

    def _now(self) -> float:
        return time.clock_gettime(_CLOCK) + self._offset

    def _write(self) -> None:
        with (
            contextlib.suppress(OSError),
            replacing(_file(self._fingerprint)) as partial,
        ):  # a full disk stops no training
            partial.write_text(json.dumps(asdict(self._times)) + "\n", encoding="utf-8")


def _file(fingerprint: str) -> Path:
    return paths.state() / "times" / f"{fingerprint}.json"
