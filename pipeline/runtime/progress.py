"""How far some work is, on the terminal: a bar where somebody looks, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich import filesize
from rich.console import Console
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

BYTES = "bytes"

_LINE_SECONDS = 10  # between two plain lines at least


@contextmanager
def bar(description: str, total: int | None, *, unit: str) -> Iterator["Bar"]:
    """Show how much of `total` is done while the block runs.

    Args:
        description: What is done: `train yolo`.
        total: How many units there are; None where that is not known yet.
        unit: What is counted: `steps`; `BYTES` are shown as kB, MB and so on.
    """
    with bars(unit=unit) as start:
        yield start(description, total)


@contextmanager
def bars(*, unit: str) -> Iterator[Callable[[str, int | None], "Bar"]]:
    """The same for several works at once; yields what starts a bar, given its description and total."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        *((DownloadColumn(), TransferSpeedColumn()) if unit == BYTES else (MofNCompleteColumn(), TextColumn(unit))),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, expand=True, disable=not console.is_terminal) as progress:
        yield lambda description, total: Bar(progress, console, description, total, unit)


class Bar:
    """What `bar` gives: say here how far the work is. May be called from another thread."""

    def __init__(self, progress: Progress, console: Console, description: str, total: int | None, unit: str):
        self._progress, self._console, self._description, self._total = progress, console, description, total
        self._unit = unit
        self._task = progress.add_task(description, total=total, state="")
        self._start = self._last_line = time.monotonic()
        self._begun = 0

    def begin(self, done: int) -> None:
        """Say that `done` units were over before: neither the rate nor the time left counts them."""
        self._progress.reset(self._task, completed=done, total=self._total)
        self._start, self._begun = time.monotonic(), done

    def update(self, done: int, state: str = "", *, total: int | None = None, final: bool = True) -> None:
        """Move the bar; without one, write a line now and then.

        Args:
            done: How many units are over.
            state: A few words.
            total: How many units there are, where `bar` did not know it.
            final: Whether the work is over when all units are; otherwise a later call says so.
        """
        self._total = self._total if total is None else total
        self._progress.update(self._task, completed=done, total=self._total, state=state)
        now = time.monotonic()
        is_over = final and self._total is not None and done >= self._total
        if self._console.is_terminal or (now - self._last_line < _LINE_SECONDS and not is_over):
            return
        self._last_line = now
        line = f"{self._description}: {self._share(done)}, {now - self._start:.0f} s"
        if self._total is not None:
            line += f", {(now - self._start) * (self._total - done) / max(done - self._begun, 1):.0f} s left"
        self._console.print(f"{line}  {state}".rstrip(), soft_wrap=True, highlight=False, markup=False)

    def _share(self, done: int) -> str:
        """What of how much is over: `3/7 steps`, `4.2 MB/26.4 MB`."""
        said = filesize.decimal if self._unit == BYTES else str
        share = f"{said(done)}/{'?' if self._total is None else said(self._total)}"
        return share if self._unit == BYTES else f"{share} {self._unit}"
