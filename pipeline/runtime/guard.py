"""Guards one run of a stage: one at a time, outputs replaced in one step, nothing published if an input changed meanwhile.

    def run(name: str) -> None:
        experiment = load_params().experiments[name]
        with stage(
            "train", name,
            inputs=[paths.augmented(experiment.dataset)],
            outputs=[paths.model_folder(name), paths.history(name)],
        ) as (model_folder, history_file):
            ...  # write below model_folder (an empty folder) and to history_file (does not exist yet)

The block writes to temporary paths beside the final ones: `results/yolo/.partial-model` and `.partial-history.csv`. They keep the
final name's ending, because writers choose a format by it; a name without an ending is a folder, and the guard makes it, empty. When
the block ends, the new outputs replace the former ones. After an exception, Ctrl-C or SIGTERM the new outputs are deleted and the
former ones stay.

The guard also does this:

- One run at a time: a second run of the same stage and entry is refused, and the message names the process that holds the lock.
- A full disk is an error of one line, like wrong input, and so is a place that cannot be written to, before the work is done.
- The error for a missing input names the command that makes it.
- A result never mixes two states. DVC hashes dependencies and parameters *after* the command, so that its lock would record the new
  state for a result of the old one (treeverse/dvc#11058). If an input, a value of params.yaml or a line of code that the stage
  depends on changed while it ran, the stage fails and publishes nothing. dvc.yaml lists the values, `runtime/code.py` finds the code.
- A long stage may ask in between: `outputs.require_unchanged()` on what the block is given raises the same error before the end.
- A stage that DVC started ends when DVC ends: after a SIGTERM to `dvc repro`, no process goes on writing.
"""

import fcntl
import functools
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.runtime import definition, durations, dvc_files, paths, places
from pipeline.runtime.code import SOURCES, Code
from pipeline.runtime.errors import InputError, first_reason, lacks_room
from pipeline.runtime.replacing import partial_path, remove
from pipeline.runtime.signals import end_with_parent, ends_on_signals, is_adopted, on_abrupt_end, signals_held

_MIN_FREE_BYTES = 2**20  # a disk with less is full: no useful output fits
_WORKERS_END_SECONDS = 5.0  # at most, from the end of a killed run to the end of its workers


class Partials(tuple[Path, ...]):
    """The temporary paths of a stage's outputs, in order.

    Attributes:
        require_unchanged: A function that raises an `InputError` if an input, a value or the code changed since the stage began. While
            all files are as it saw them last it only looks at their sizes and times; otherwise it compares as the end of the stage does,
            so that an edit that changes nothing is no change.
    """

    require_unchanged: Callable[[], None]

    def __new__(cls, partials: Iterable[Path], require_unchanged: Callable[[], None]) -> "Partials":
        """The paths, with the function."""
        self = super().__new__(cls, partials)
        self.require_unchanged = require_unchanged
        return self


@contextmanager
def stage(name: str, entry: str, *, inputs: Sequence[Path], outputs: Sequence[Path]) -> Iterator[Partials]:
    """Guard one run of a stage (see the top of this file); yields one temporary path for each of `outputs`, in order.

    Args:
        name: The stage's name, a key of dvc.yaml: `train`.
        entry: The entry of params.yaml that it runs for: `yolo`.
        inputs: Files and folders that it reads. All must exist.
        outputs: Final paths of the files and folders that it makes.

    Raises:
        InputError: The same stage of the same entry is running; an input is missing; the code is not the code that `check` gave
            to DVC; an input, a parameter or a source file changed during the run; the disk is full.
        FileNotFoundError: The block ended without writing an output.
    """
    label, begin = definition.label(name, entry), time.monotonic()
    with ExitStack() as guard:
        guard.enter_context(ends_on_signals())
        _die_with_dvc()
        places.require_temporary_folder()
        for output in outputs:
            places.require_replaceable(output)
        guard.enter_context(_lock(label))
        dvc_files.keep()
        _require(inputs, label)
        before = _state(name, entry, inputs)
        _require_checked(label, before)
        require_unchanged = _comparison(name, entry, inputs, before)
        partials = Partials(map(partial_path, outputs), require_unchanged)
        for partial in partials:
            remove(partial)  # left by a killed run: this process holds the lock, so that run has ended
            (partial.parent if partial.suffix else partial).mkdir(parents=True, exist_ok=True)
            guard.callback(remove, partial)
            guard.enter_context(on_abrupt_end(functools.partial(remove, partial)))
        guard.enter_context(_room(label, outputs))
        yield partials
        _require_unchanged(before, _state(name, entry, inputs), label)
        _publish(partials, outputs)
        durations.record(label, time.monotonic() - begin)


def fingerprint(name: str, entry: str, inputs: Sequence[Path]) -> str:
    """SHA-256 (hexadecimal) of the state of a stage's inputs, parameters and source files; equal states give equal results.

    Args:
        name: The stage's name.
        entry: The entry of params.yaml that it runs for.
        inputs: Files and folders that it reads; their sizes and modification times count, not their bytes.
    """
    return hashlib.sha256(repr(sorted(_state(name, entry, inputs).items())).encode()).hexdigest()


def _die_with_dvc() -> None:
    """End when DVC ends. DVC is the parent process: the commands in dvc.yaml replace the shell by `exec`."""
    if _is_run_by_dvc():
        end_with_parent(signal.SIGTERM, is_adopted)


def _is_run_by_dvc() -> bool:
    return "DVC_STAGE" in os.environ


@contextmanager
def _lock(label: str) -> Iterator[None]:
    """Hold the lock of a stage and entry. The system frees it when the process ends in any way, so it is never stale."""
    file = paths.state() / "locks" / f"{label}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as lock:
        deadline = time.monotonic() + _WORKERS_END_SECONDS
        while not _take(lock):
            lock.seek(0)
            holder = lock.read().strip()
            # The workers of a killed run end a moment after it and hold its lock until then.
            if _is_running(holder) or time.monotonic() > deadline:
                raise InputError(
                    f"{label}: expected to be the only run; received: process {holder} is running it. Wait for it or end it"
                )
            time.sleep(0.05)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _take(lock: IO[str]) -> bool:
    """Take the lock; returns False if another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(holder: str) -> bool:
    """Whether the process of this number exists. A text that is no number yet belongs to a process that is about to write it."""
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _require(inputs: Sequence[Path], label: str) -> None:
    """Refuse to run without an input; the error names the first missing one and the command that makes it."""
    for path in inputs:
        if not path.exists():
            maker = definition.maker(path)
            raise InputError(
                f"{label}: expected {path.relative_to(paths.root())}; received: no such file or folder. "
                f"Run {f'`{maker}` or ' if maker else ''}`dvc repro {label}` first"
            )


def _state(name: str, entry: str, inputs: Sequence[Path]) -> dict[str, Any]:
    """State of everything that the stage depends on, by the name that an error gives it: a path, or params.yaml and a key."""
    state: dict[str, Any] = {str(path.relative_to(paths.root())): _file_stats(path) for path in inputs}
    if name == definition.CHECK or not (paths.root() / paths.DEFINITION).is_file():
        return state  # without dvc.yaml there is no dvc.lock to falsify
    values = definition.read_yaml(paths.params_file())
    for key in (*definition.params_of(name, entry, values), *definition.checked_params_of(name, entry, values)):
        state[f"{paths.PARAMS} {key}"] = definition.lookup(values, key)
    return state | Code().dependencies(name, entry, values)


def _require_checked(label: str, state: dict[str, Any]) -> None:
    """Refuse to run under DVC if the code changed since `check` wrote it down: dvc.lock would record the old code with a result of the new."""
    file = paths.code(label)
    if not _is_run_by_dvc() or not file.is_file():
        return
    checked = definition.read_code(file.read_text(encoding="utf-8"))
    changed = sorted(path for path in checked if state.get(path) != checked[path])
    if changed:
        raise InputError(
            f"{label}: expected the code that the stage {definition.CHECK} recorded; received: a changed {changed[0]}. Run `dvc repro` again"
        )


def _file_stats(path: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time in nanoseconds of a file, or of every file below a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file.relative_to(path)), stat.st_size, stat.st_mtime_ns) for file, stat in stats]


def _comparison(name: str, entry: str, inputs: Sequence[Path], before: dict[str, Any]) -> Callable[[], None]:
    """A function that compares the state now with that before; made when the stage begins."""
    code = [SOURCES / key for key in before if key.endswith(".py")]
    watched = [paths.params_file(), paths.root() / paths.DEFINITION, *inputs, *code]
    stamps = _stamps(watched)

    def require_unchanged() -> None:
        nonlocal stamps
        if stamps != (current := _stamps(watched)):
            _require_unchanged(before, _state(name, entry, inputs), definition.label(name, entry))
            stamps = current

    return require_unchanged


def _stamps(watched: Iterable[Path]) -> list[Any]:
    """Sizes and times of files and of all files below folders; None in place of what does not exist."""
    return [_file_stats(path) if path.exists() else None for path in watched]


@contextmanager
def _room(label: str, outputs: Sequence[Path]) -> Iterator[None]:
    """Turn an error of the block into one line if the disk is full. The block's files must not have been deleted yet."""
    try:
        yield
    except Exception as error:
        # NumPy, HDF5 and SQLite raise errors of their own, without the system's error number.
        is_full = lacks_room(error) or any(
            shutil.disk_usage(output.parent).free < _MIN_FREE_BYTES for output in outputs
        )
        if isinstance(error, InputError) or not is_full:
            raise
        names = ", ".join(str(output.relative_to(paths.root())) for output in outputs)
        raise InputError(
            f"{label}: expected room on the disk for {names}; received: {first_reason(error)}. "
            "Make room and run the stage again; nothing was half-written"
        ) from error


def _require_unchanged(before: dict[str, Any], after: dict[str, Any], label: str) -> None:
    """Refuse to publish a result whose inputs, values or code changed while the stage ran."""
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            raise InputError(
                f"{label}: expected {key} to stay as it was while the stage ran; received: a change. "
                "The result was dropped; run the stage again"
            )


def _publish(partials: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Replace the former outputs by the new ones. Signals wait meanwhile, so that no output is left missing."""
    for partial in partials:
        if not partial.exists():
            raise FileNotFoundError(f"the stage should have written {partial}")
    with signals_held():
        for partial, output in zip(partials, outputs, strict=True):
            former = output.with_name(f".partial-replaced-{output.name}")
            remove(former)
            if output.is_dir():  # a folder, unlike a file, cannot be replaced in one step
                output.rename(former)
            partial.replace(output)
            remove(former)
