"""When a result was made: `.cnnkeras/times/FINGERPRINT.json`, by the fingerprint of the training or claim.

history.csv has no times, so that equal trainings give equal files. The file of times stays on the machine that trained. Where it is missing, as in a
fresh clone, the times are not known, and the run says so.

The clock may jump meanwhile. It is read once, at the start; later times are that time plus the seconds that have passed since, those of a sleeping
machine included. A training that goes on in another process has the times that were kept with its state, and never goes back behind the last one.
"""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
        is_finished: Whether it ended well.
    """

    start: float
    epochs: dict[int, float] = field(default_factory=dict)
    end: float | None = None
    is_finished: bool = False

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "Times":
        """Times that JSON has held."""
        epochs = {int(epoch): float(end) for epoch, end in facts["epochs"].items()}
        return cls(float(facts["start"]), epochs, facts["end"], facts["is_finished"])

    @property
    def latest(self) -> float:
        """The last time that is known."""
        return max(self.start, *self.epochs.values(), self.end or self.start)


def read(fingerprint: str) -> Times | None:
    """The times of a training or claim; None if they are not known here."""
    try:
        return Times.of_facts(json.loads(_file(fingerprint).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


class Recorder:
    """Writes the times of a training or claim down as they pass, from now on."""

    def __init__(self) -> None:
        self._times, self._fingerprint = Times(time.time()), ""
        self._offset = self._times.start - time.clock_gettime(_CLOCK)

    @property
    def facts(self) -> dict[str, Any]:
        """The times so far, as JSON can hold them."""
        return asdict(self._times)

    def of(self, fingerprint: str) -> None:
        """Say whose times they are."""
        self._fingerprint = fingerprint
        self._write()

    def go_on(self, facts: Mapping[str, Any]) -> None:
        """Go on from earlier times, which `facts` returned, in another process as a rule."""
        self._times = Times.of_facts(facts)
        self._offset += max(self._times.latest - self._now(), 0)
        self._write()

    def epoch(self, number: int) -> None:
        """An epoch has ended; the first is number 1."""
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
