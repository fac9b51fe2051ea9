"""Progress on standard error: a bar on a terminal, a plain line every ten seconds elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import filesize
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from pipeline.runtime.console import Console
from pipeline.runtime.printable import printable

BYTES = "bytes"

_LINE_SECONDS = 10  # at least, between two plain lines


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
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        *(
            (DownloadColumn(), TransferSpeedColumn())
            if unit == BYTES
            else (MofNCompleteColumn(), TextColumn(unit, markup=False))
        ),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn(
            "{task.fields[state]}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        ),
    )
    with Progress(*columns, console=console, expand=True, disable=not console.is_terminal) as progress:
        yield lambda description, total: Bar(progress, console, description, total, unit)


class Bar:
    """Progress of one task; `bar` and `bars` make it. Its methods may be called from any thread."""

    def __init__(self, progress: Progress, console: Console, description: str, total: int | None, unit: str):
        self._progress, self._console, self._total = progress, console, total
        self._description = description = printable(description)
        self._unit = unit
        self._task = progress.add_task(description, total=total, state="")
        self._start = self._last_line = time.monotonic()
        self._done_before = 0

    def begin(self, done: int) -> None:
        """Start from `done` units of an earlier run, which count for neither the rate nor the time left."""
        self._progress.reset(self._task, completed=done, total=self._total)
        self._start, self._done_before = time.monotonic(), done

    def update(self, done: int, state: str = "", *, total: int | None = None, final: bool = True) -> None:
        """Move the bar, or write a line if the last one is ten seconds old.

        Args:
            done: Number of units that are done.
            state: A few words on the state, shown after the numbers.
            total: Number of units, if `bar` was not given it.
            final: Whether the task ends with its last unit; if not, a later call ends it.
        """
        self._total, state = self._total if total is None else total, printable(state)
        self._progress.update(self._task, completed=done, total=self._total, state=state)
        now = time.monotonic()
        is_over = final and self._total is not None and done >= self._total
        if self._console.is_terminal or (now - self._last_line < _LINE_SECONDS and not is_over):
            return
        self._last_line = now
        line = f"{self._description}: {self._count(done)}, {now - self._start:.0f} s"
        if self._total is not None:
            line += f", {(now - self._start) * (self._total - done) / max(done - self._done_before, 1):.0f} s left"
        self._console.print(f"{line}  {state}".rstrip(), soft_wrap=True)

    def _count(self, done: int) -> str:
        """Units done and in all: `3/7 steps`, `4.2 MB/26.4 MB`."""
        to_text = filesize.decimal if self._unit == BYTES else str
        count = f"{to_text(done)}/{'?' if self._total is None else to_text(self._total)}"
        return count if self._unit == BYTES else f"{count} {self._unit}"
