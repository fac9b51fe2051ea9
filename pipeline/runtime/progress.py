"""Progress of a stage on standard error: a live line in a terminal, a plain line every ten seconds elsewhere.

    train yolo ━━━━━━━━━━━━━━━━━━━━ 246/500 steps  4.12 steps/s  1 min 2 s left  epoch 2/4  loss 0.412  val_loss 0.42

Nothing is cut: what does not fit into the width of the terminal goes to the next line.

`cnnkeras repro` shows the lines of all stages that run. A stage that it started writes records in place of lines: `RECORD`, then JSON, a
line each (`cnnkeras repro` sets the variable `RECORDS`).
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich import filesize
from rich.cells import cell_len, chop_cells
from rich.live import Live
from rich.text import Text

from pipeline.runtime import durations
from pipeline.runtime.console import Console
from pipeline.runtime.printable import printable

BYTES = "bytes"
RECORDS = "CNNKERAS_PROGRESS_RECORDS"  # variable of the environment
RECORD = "\x1e"  # begins a record, as in RFC 7464

_LINE_SECONDS = 10.0  # at least, between two plain lines
_RECORD_SECONDS = 0.2  # at least, between two records
_RATE_SECONDS = 30.0  # the rate is that of so many last seconds
_BAR_WIDTHS = 6, 20  # characters, min and max
_GAP = "  "


@dataclass
class Task:
    """How far a task is.

    Attributes:
        description: The task: `train yolo`.
        total: Number of units; None if not known yet.
        unit: Name of the units, or `BYTES`.
        done: Number of units that are done.
        facts: What else is known, the most important first: `loss 0.412`.
        start: When it began, a time of `time.monotonic`.
    """

    description: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    facts: Sequence[str] = ()
    start: float = field(default_factory=lambda: time.monotonic())
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, done: int) -> None:
        """Go on from `done` units of an earlier run, which count for neither the rate nor the time left."""
        self._samples.clear()
        self.done = done

    def move(self, done: int, *, total: int | None, facts: Sequence[str], unit: str) -> None:
        """Note how far it is now; arguments as the attributes."""
        now = time.monotonic()
        self._samples.append((now, done))
        while len(self._samples) > 2 and self._samples[1][0] < now - _RATE_SECONDS:
            self._samples.popleft()
        self.done, self.total, self.facts, self.unit = done, total, facts, unit

    @property
    def is_over(self) -> bool:
        """Whether all units are done."""
        return self.total is not None and self.done >= self.total

    @property
    def rate(self) -> float | None:
        """Units per second lately, the first ones apart, before which a training compiles its step; None if not known yet."""
        if len(self._samples) < 2:
            return None
        (first, before), (last, done) = self._samples[0], self._samples[-1]
        return (done - before) / (last - first) if last > first and done > before else None

    @property
    def numbers(self) -> list[str]:
        """In words: `246/500 steps`, `4.12 steps/s`, `1 min 2 s left`."""
        words = [self._count] if self.unit else []
        if self.rate is not None:
            words.append(
                f"{self._amount(self.rate)}/s" if self.unit == BYTES else f"{_number(self.rate)} {self.unit}/s"
            )
        if self.is_over:
            words.append(f"in {durations.in_words(time.monotonic() - self.start)}")
        elif self.rate is not None and self.total is not None:
            words.append(f"{durations.in_words((self.total - self.done) / self.rate)} left")
        return words

    @property
    def _count(self) -> str:
        count = f"{self._amount(self.done)}/{'?' if self.total is None else self._amount(self.total)}"
        return count if self.unit == BYTES else f"{count} {self.unit}"

    def _amount(self, number: float) -> str:
        return filesize.decimal(int(number)) if self.unit == BYTES else str(number)


def live_lines(task: Task, width: int, *, max_lines: int | None = None) -> list[str]:
    """A task in lines of at most `width` characters. Of more than `max_lines` lines the last facts are left out, each as a whole."""
    numbers = task.numbers
    room = min(width - cell_len(_GAP.join([task.description, "", *numbers])), _BAR_WIDTHS[1])
    drawn = []
    if task.total and room >= _BAR_WIDTHS[0]:
        full = min(room, room * task.done // task.total)
        drawn = ["━" * full + "─" * (room - full)]
    return _flowed([task.description, *drawn, *numbers, *task.facts], width)[:max_lines]


def _flowed(words: Sequence[str], width: int) -> list[str]:
    """Words in lines of at most `width` characters, the later ones indented; a word that is longer than a line is folded."""
    lines = [""]
    for word in words:
        gap = _GAP if lines[-1] else ""
        if lines[-1] and cell_len(lines[-1] + gap + word) > width:
            lines.append("")
            gap = _GAP
        *full, last = chop_cells(gap + word, width) if not lines[-1] else [lines[-1] + gap + word]
        lines[-1:] = [*full, last]
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def is_live(console: Console) -> bool:
    """Whether a console is a terminal whose lines can be written again; a variable such as FORCE_COLOR makes a file none."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal


@contextmanager
def bar(description: str, total: int | None, *, unit: str) -> Iterator["Bar"]:
    """Show the progress of a task while the block runs; yields the `Bar` to update.

    Args:
        description: The task: `train yolo`.
        total: Number of units; None if not known yet.
        unit: Name of the units: `steps`; `BYTES` are shown as kB, MB and so on.
    """
    with bars(unit=unit) as start:
        yield start(description, total)


@contextmanager
def bars(*, unit: str) -> Iterator[Callable[[str, int | None], "Bar"]]:
    """Show the progress of several tasks at once; yields a function that starts the bar of a task, from its description and total."""
    console, tasks = Console(stderr=True), list[Task]()
    send: Callable[[Task], None] | None = None
    if os.environ.get(RECORDS):
        send = _record
    elif not is_live(console):
        send = _line

    def start(description: str, total: int | None) -> Bar:
        tasks.append(Task(printable(description), total, unit))
        return Bar(tasks[-1], send, _RECORD_SECONDS if send is _record else _LINE_SECONDS)

    def lines() -> Text:
        return Text("\n".join(line for task in tuple(tasks) for line in live_lines(task, console.width)), no_wrap=True)

    if send is not None:
        yield start
        return
    with Live(get_renderable=lines, console=console, vertical_overflow="visible"):
        yield start


class Bar:
    """Progress of one task; `bar` and `bars` make it. Its methods may be called from any thread."""

    def __init__(self, task: Task, send: Callable[[Task], None] | None, seconds: float):
        self._task, self._send, self._seconds = task, send, seconds
        self._sent, self._lock = time.monotonic(), threading.Lock()

    def begin(self, done: int) -> None:
        """Start from `done` units of an earlier run, which count for neither the rate nor the time left."""
        with self._lock:
            self._task.begin(done)

    def update(self, done: int, *facts: str, total: int | None = None, final: bool = True) -> None:
        """Move the bar, or write a line if the last one is ten seconds old.

        Args:
            done: Number of units that are done.
            facts: A few words each, shown after the numbers, the most important first.
            total: Number of units, if `bar` was not given it.
            final: Whether the task ends with its last unit; if not, a later call ends it.
        """
        with self._lock:
            task, printed = self._task, [printable(fact) for fact in facts]
            task.move(done, total=task.total if total is None else total, facts=printed, unit=task.unit)
            now = time.monotonic()
            if self._send is None or (now - self._sent < self._seconds and not (final and task.is_over)):
                return
            self._sent = now
            self._send(task)


def _line(task: Task) -> None:
    Console(stderr=True, soft_wrap=True).print(f"{task.description}: {', '.join([*task.numbers, *task.facts])}")


def _record(task: Task) -> None:
    values = {
        "description": task.description,
        "total": task.total,
        "unit": task.unit,
        "done": task.done,
        "facts": task.facts,
    }
    stream = Console(stderr=True).file
    stream.write(f"{RECORD}{json.dumps(values)}\n")
    stream.flush()


def read_record(text: str) -> dict[str, Any] | None:
    """The attributes of a `Task` in a record, which begins with `RECORD`; None if it is cut."""
    try:
        return json.loads(text.removeprefix(RECORD))
    except ValueError:
        return None
