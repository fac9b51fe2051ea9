"""What `cnnkeras repro` shows of the stages that run.

In a terminal each running stage has a live line below everything that was printed, with its number among the stages to run:

    [ 6/57] predict vgg: outputs for 400 examples -> results/vgg/outputs
    [ 5/57] train yolo  ━━━━━━━━━━━━━━━━━━━━  246/500 steps  4.12 steps/s  1 min 2 s left  epoch 2/4  loss 0.412
    [ 7/57] postprocess vgg  3 s, last time 8 s

Elsewhere there are only lines: one when a stage begins, and what the stage prints. Each begins with the number of its stage.
"""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import click
from rich.live import Live
from rich.text import Text

from pipeline.runtime import definition, durations
from pipeline.runtime.console import Console
from pipeline.runtime.printable import printable
from pipeline.runtime.progress import RECORD, RECORDS, Task, is_live, live_lines, read_record

_BEGINS = re.compile(r"Running stage '(.*)':$")
_PASSED = re.compile(r"Stage '(.*)' (?:is cached - skipping run|(didn't change), skipping)")
_NOISE = re.compile(
    r"\s*$|> |To (track|enable)|Use `dvc push`|(Updating|Generating) lock file|\t(git add|dvc config) |Data and pipelines are up to date"
    r"|ERROR: failed to reproduce '\S+': .* exited with (130|-2)$"  # by Ctrl-C, of which we say a line
)


@dataclass
class _Running:
    """A stage that runs: its number as text, its name, its tasks that have told how far they are, and the task that did last."""

    number: str
    label: str
    tasks: dict[str, Task] = field(default_factory=dict)
    task: Task = field(init=False)

    def __post_init__(self) -> None:
        self.task = Task(self.words)

    @property
    def words(self) -> str:
        """The stage's command: `train yolo`."""
        return self.label.replace("@", " ")


class StageLines:
    """The lines of the stages that run; the methods may be called from any thread. `with` shows the live lines.

    Args:
        total: Number of stages to run, without `check`.
    """

    def __init__(self, total: int):
        self._console, self._lock = Console(soft_wrap=True), threading.RLock()
        self._total, self._numbers, self._running = total, dict[str, str](), dict[str, _Running]()
        self._live = (
            Live(get_renderable=self._lines, console=self._console, transient=True, vertical_overflow="visible")
            if is_live(self._console)
            else None
        )

    def __enter__(self) -> "StageLines":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._live.stop()

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables of the environment for the processes that run the stages."""
        return {RECORDS: "1"} if self._live else {}

    def read(self, process: str, line: str, *, shows_passed: bool = True) -> None:
        """Show a line of the output of a DVC process.

        Args:
            process: Name of the process, which runs one stage at a time.
            line: DVC's line or its stage's, without its end.
            shows_passed: Whether stages that DVC takes for up to date are named and counted.
        """
        with self._lock:
            text, _, record = line.partition(RECORD)
            if record:
                self._move(process, read_record(record))
            if record and not text:
                return
            if begins := _BEGINS.match(text):
                self._begin(process, begins[1])
            elif passed := _PASSED.match(text):
                if shows_passed or not passed[2]:
                    self._pass(passed[1], "is up to date" if passed[2] else "taken from DVC's cache")
            elif not _NOISE.match(text):
                self._print(self._running[process].number if process in self._running else "", text)

    def say(self, text: str) -> None:
        """Show a line that is of no stage."""
        with self._lock:
            self._print("", text)

    @property
    def begun(self) -> int:
        """Number of stages that began, or that DVC passed over."""
        return len(self._numbers)

    def end(self, process: str) -> None:
        """Take the line of a process away, which has ended."""
        with self._lock:
            self._running.pop(process, None)

    def _begin(self, process: str, label: str) -> None:
        number = self._number(label)
        self._running[process] = _Running(number, label)
        if number and not self._live:
            self._print(number, label)

    def _pass(self, label: str, words: str) -> None:
        if label != definition.CHECK and label not in self._numbers:  # DVC looks again at a chain that it had to leave
            self._print(self._number(label), f"{label} {words}")

    def _number(self, label: str) -> str:
        """The number of a stage, in the order of their beginnings; `check` has none."""
        if label not in self._numbers and label != definition.CHECK:
            begun = len(self._numbers) + 1
            self._total = max(self._total, begun)
            self._numbers[label] = f"[{begun:{len(str(self._total))}}/{self._total}] "
        return self._numbers.get(label, "")

    def _move(self, process: str, record: Mapping | None) -> None:
        running = self._running.get(process)
        if running is None or record is None:
            return
        description = record.pop("description")
        if description not in running.tasks:  # a stage may have several tasks, as a download of several files
            is_own = description.partition(" ")[0] == running.label.partition("@")[0]
            running.tasks[description] = Task(running.words if is_own else f"{running.words}  {description}")
        running.task = running.tasks[description]
        running.task.move(**record)

    def _print(self, number: str, text: str) -> None:
        if self._live:
            self._console.print(f"{number}{text}")
        else:
            click.echo(f"{number}{text}")

    def _lines(self) -> Text:
        with self._lock:
            lines = [self._line(running) for running in self._running.values()]
        return Text("\n".join(map(printable, lines)), no_wrap=True, overflow="crop")

    def _line(self, running: _Running) -> str:
        width = self._console.width - len(running.number)
        task = running.task
        if not task.unit:
            took, last = time.monotonic() - task.start, durations.last(running.label)
            task.facts = [durations.in_words(took) + (f", last time {durations.in_words(last)}" if last else "")]
        return running.number + live_lines(task, width, max_lines=1)[0]
