"""A training or a prediction on the terminal: a bar where somebody looks, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

_LINE_SECONDS = 10  # between two plain lines at least


@contextmanager
def bar(description: str, total: int, *, unit: str) -> Iterator["Bar"]:
    """Show how much of `total` is done while the block runs.

    Args:
        description: What is done: `train yolo`.
        total: How many units there are.
        unit: What is counted: `steps`.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("left"),
        TextColumn("{task.fields[state]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
    )
    with Progress(*columns, console=console, expand=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, console, description, total, unit)


class Bar:
    """What `bar` gives: say here how far the work is. May be called from another thread."""

    def __init__(self, progress: Progress, console: Console, description: str, total: int, unit: str):
        self._progress, self._console, self._description, self._total = progress, console, description, total
        self._unit = unit
        self._task = progress.add_task(description, total=total, state="")
        self._start = self._last_line = time.monotonic()

    def update(self, done: int, state: str = "") -> None:
        """Move the bar: `done` units are over; `state` is a few words. Without a bar, write a line now and then."""
        self._progress.update(self._task, completed=done, state=state)
        now = time.monotonic()
        if self._console.is_terminal or (now - self._last_line < _LINE_SECONDS and done < self._total):
            return
        self._last_line = now
        left = (now - self._start) * (self._total - done) / max(done, 1)
        line = f"{self._description}: {done}/{self._total} {self._unit}, {now - self._start:.0f} s, {left:.0f} s left"
        self._console.print(f"{line}  {state}".rstrip(), soft_wrap=True, highlight=False, markup=False)
