"""Kills at random moments of stages, of whole runs and of DVC's own writes; and what is there after the next `cnnkeras repro`."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.torture.place import CHECKPOINT_STEPS, ON_SIGNALS, REPRO, STEPS_PER_EPOCH, Place, kill

_START_SECONDS = 4.0  # what a command takes before the guard begins to measure, and DVC before the command
_GOES_ON = re.compile(r"train (\S+): goes on after (\d+) epochs? and (\d+) steps?")
_RAN = re.compile(r"^(?:Running stage '|\[ *\d+/\d+\] )(\S+@\S+?)(?:':)?$", re.MULTILINE)
_STAGES = 3  # that a whole run has to run: enough for one that is over, one that is killed and one that has not begun
_FINISHED_SECONDS = 15.0  # so long before the kill: DVC then had time to record what a stage had published


@dataclass
class Verdict:
    """What is there after a kill and the next run.

    Attributes:
        faults: What should not have happened, as sentences.
        lost: Finished work that was done again.
        is_equal: Whether all outputs are those of the run that nobody killed.
        is_false: Whether they are not, and `cnnkeras plan` says that all is up to date.
        trained: Steps of killed trainings that were trained again.
    """

    faults: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    is_equal: bool = False
    is_false: bool = False
    trained: int = 0


def prepare(reference: Place, folder, *labels: tuple[str, str]) -> Place:
    """A copy of the finished project in which some stages have not run."""
    place = reference.copy(folder)
    for label in labels:
        place.forget(*label)
    return place


def at_a_moment(process: subprocess.Popen, seconds: float) -> None:
    """Wait for a moment."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def at_a_write(place: Place) -> Callable[[subprocess.Popen, float], None]:
    """Wait, after a moment, until DVC has begun to write one of its own files: dvc.lock or .dvc/tmp/rwlock."""
    files = [place.folder / "dvc.lock", place.folder / ".dvc" / "tmp" / "rwlock"]

    def wait(process: subprocess.Popen, seconds: float) -> None:
        at_a_moment(process, seconds)
        sizes = [_size(file) for file in files]
        while process.poll() is None:
            for position, file in enumerate(files):
                if (size := _size(file)) < sizes[position]:
                    return
                sizes[position] = size

    return wait


def _size(file) -> int:
    try:
        return os.stat(file).st_size  # noqa: PTH116 - the loop has to be fast
    except FileNotFoundError:
        return 0


def kill_once(place: Place, command: tuple[str, ...], wait, seconds: float, *, only_the_stage: bool) -> str | None:
    """Start a command, wait, and kill all of it, or only the stage that it runs; returns what it printed, None if it had ended."""
    process = place.start(*command)
    wait(process, seconds)
    if process.poll() is not None:
        return None
    if only_the_stage and (stage := _stage_of(process)):
        with contextlib.suppress(psutil.Error):
            stage.send_signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
    kill(process)
    return place.said()


def _stage_of(process: subprocess.Popen) -> psutil.Process | None:
    """The process of a stage below a DVC."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            if "DVC_STAGE" in child.environ():
                return child
    return None


def examine(place: Place, expected: dict[str, str], killed_at: float) -> Verdict:
    """Run `cnnkeras plan` and `cnnkeras repro`, and compare."""
    verdict = Verdict()
    verdict.faults += [f"process {command} ran on" for command in place.orphans()]
    finished = _finished(place, killed_at)
    seen = {entry: _epochs(place, entry) for stage, entry in place.labels() if stage == "train"}
    for command in (("cnnkeras", "plan"), REPRO):
        code, said = place.run(*command)
        if code:
            verdict.faults.append(f"{' '.join(command)} ended with {code}: {said[-1500:]}")
            if (second := place.run(*command))[0]:
                verdict.faults.append(f"and again with {second[0]}")
    ran = set(_RAN.findall(said))
    verdict.lost += [f"{label} had been finished and ran again" for label in sorted(finished & ran)]
    _examine_trainings(verdict, seen, ran, said)
    verdict.faults += [f"{name} was left" for name in place.half_written()]
    found = place.results()
    verdict.is_equal = found == expected
    code, planned = place.run("cnnkeras", "plan")
    is_clean = not code and "nothing to do" in planned
    verdict.is_false = is_clean and not verdict.is_equal
    if not is_clean:
        verdict.faults.append(f"afterwards cnnkeras plan says: {planned[-800:]}")
    if not verdict.is_equal:
        verdict.faults.append(f"other than expected: {sorted(set(found.items()) ^ set(expected.items()))[:4]}")
    return verdict


def _finished(place: Place, killed_at: float) -> set[str]:
    """Stages that had been finished well before the kill."""
    files = (place.folder / ".cnnkeras" / "durations").glob("*")
    return {file.name for file in files if place.began < file.stat().st_mtime < killed_at - _FINISHED_SECONDS} - {
        "check"
    }


def _epochs(place: Place, entry: str) -> int:
    """Epochs that a killed training had finished, by its unfinished history."""
    file = place.folder / "results" / entry / ".partial-history.csv"
    return max(0, len(file.read_text(encoding="utf-8").splitlines()) - 1) if file.is_file() else 0


def _examine_trainings(verdict: Verdict, seen: dict[str, int], ran: set[str], said: str) -> None:
    """A killed training loses at most the steps between two checkpoints."""
    reached = {name: int(epochs) * STEPS_PER_EPOCH + int(steps) for name, epochs, steps in _GOES_ON.findall(said)}
    for name, epochs in seen.items():
        if name in ON_SIGNALS and epochs and f"train@{name}" in ran:
            again = max(0, epochs * STEPS_PER_EPOCH - reached.get(name, 0))
            verdict.trained += again
            if again > CHECKPOINT_STEPS:
                verdict.lost.append(f"{again} steps of train@{name} were trained again")


def kill_one(reference: Place, folder, expected: dict[str, str], rng: random.Random) -> tuple[str, Verdict]:
    """One kill: of a stage, of a whole run, or of a write of DVC's; returns what was killed, and the verdict."""
    labels = reference.labels()
    label = rng.choice([label for label in labels if label[0] == "train"] if rng.random() < 0.3 else labels)
    kind = rng.choices(("stage", "dvc repro", "cnnkeras repro", "a write of DVC's"), (4, 2, 2, 2))[0]
    command = {"stage": ("dvc", "repro", "@".join(label)), "cnnkeras repro": REPRO}.get(kind, ("dvc", "repro"))
    after = [other for other in labels[labels.index(label) :] if other[1] == label[1]][:_STAGES]  # of the same entry
    limit = reference.seconds("@".join(label)) + _START_SECONDS
    limit *= 1 if kind == "stage" else 2.5
    while True:
        place = prepare(reference, folder, *([label] if kind == "stage" else after))
        place.began = time.time()
        wait = at_a_write(place) if kind == "a write of DVC's" else at_a_moment
        only = kind == "stage" and rng.random() < 0.5
        moment = rng.uniform(0.0, limit)
        printed = kill_once(place, command, wait, moment, only_the_stage=only)
        if printed is not None:
            break
        limit /= 2
    what = f"{kind}{' alone' if only else ''} after {moment:.1f} s, with {'@'.join(label)} to run"
    return what, examine(place, expected, time.time())
