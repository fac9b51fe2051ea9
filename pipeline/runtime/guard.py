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
- A result never mixes two states. If an input, a value of params.yaml or a line of code that the stage depends on changed while it
  ran, the stage fails and publishes nothing. dvc.yaml lists inputs and values, `runtime/code.py` finds the code.
- Outputs get a seal, and inputs that do not fit to theirs are refused (`runtime/seals.py`).
- A long stage may ask in between: `outputs.require_unchanged()` on what the block is given raises the same error before the end.
- A stage that DVC started ends when DVC ends: after a SIGTERM to `dvc repro`, no process goes on writing.
"""

import fcntl
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NoReturn

from pipeline.runtime import definition, durations, dvc_files, launching, loaded, paths, places, publishing
from pipeline.runtime.code import Code, file_of
from pipeline.runtime.digests import Digests, digest, files_of, join, sha256, stamp
from pipeline.runtime.errors import InputError, first_reason, lacks_room
from pipeline.runtime.replacing import partial_path, remove
from pipeline.runtime.seals import Origin, Params, Seal, Seals
from pipeline.runtime.signals import ends_on_signals, on_abrupt_end

_MIN_FREE_BYTES = 2**20  # a disk with less is full: no useful output fits
_WORKERS_END_SECONDS = 5.0  # at most, from the end of a killed run to the end of its workers


class Partials(tuple[Path, ...]):
    """The temporary paths of a stage's outputs, in order.

    Attributes:
        require_unchanged: A function that raises an `InputError` if an input, a value or the code changed since the stage began. While
            all files are as it saw them last it only looks at their sizes and times; otherwise it compares as the end of the stage does,
            so that an edit that changes nothing is no change.
        seconds_before: How long earlier processes worked on what this one goes on from; the stage sets it.
    """

    require_unchanged: Callable[[], None]
    seconds_before: float = 0.0

    def __new__(cls, partials: Iterable[Path], require_unchanged: Callable[[], None]) -> "Partials":
        """The paths, with the function."""
        self = super().__new__(cls, partials)
        self.require_unchanged = require_unchanged
        return self


@contextmanager
def stage(
    name: str, entry: str, *, inputs: Sequence[Path], outputs: Sequence[Path], params: Params | None = None
) -> Iterator[Partials]:
    """Guard one run of a stage (see the top of this file); yields one temporary path for each of `outputs`, in order.

    Args:
        name: The stage's name, a key of dvc.yaml: `train`.
        entry: The entry of params.yaml that it runs for: `yolo`.
        inputs: Files and folders that it reads. All must exist.
        outputs: Final paths of the files and folders that it makes.
        params: The params that it runs with; None: only the values that params.yaml has count.

    Raises:
        InputError: The same stage of the same entry is running; an input is missing, damaged or made of other values or code than the
            current ones; the code is not the code that `check` gave to DVC; an input, a value or a source file changed during the run;
            the disk is full.
        FileNotFoundError: The block ended without writing an output.
    """
    label, begin = definition.label(name, entry), time.monotonic()
    with ExitStack() as guard:
        guard.enter_context(ends_on_signals())
        launching.end_with_dvc()
        places.require_temporary_folder()
        for output in (*outputs, *([paths.seal(label)] if _has_seal(name) else ())):
            places.require_replaceable(output)
        guard.enter_context(_lock(label))
        publishing.finish(label)
        publishing.finish_others()
        dvc_files.keep()
        _require(inputs, label)
        run = _Run(name, entry, inputs, params)
        partials = Partials(map(partial_path, outputs), run.require_unchanged)
        for partial in partials:
            remove(partial)  # left by a killed run: this process holds the lock, so that run has ended
            (partial.parent if partial.suffix else partial).mkdir(parents=True, exist_ok=True)
            guard.callback(remove, partial)
            guard.enter_context(on_abrupt_end(functools.partial(remove, partial)))
        guard.enter_context(_room(label, outputs))
        yield partials
        run.require_unchanged(thoroughly=True)
        run.publish(partials, outputs)
        durations.record(label, partials.seconds_before + time.monotonic() - begin)


@contextmanager
def repetition(
    name: str, entry: str, *, inputs: Sequence[Path], params: Params | None = None
) -> Iterator[Callable[[], None]]:
    """Guard a run of a stage that publishes nothing: it demands of inputs, params and code what `stage` does. Arguments as for `stage`.

    Yields `require_unchanged`, as the `Partials` of a stage have it.

    Raises:
        InputError: As `stage`, except that other runs are no reason.
    """
    _require(inputs, definition.label(name, entry))
    run = _Run(name, entry, inputs, params)
    yield run.require_unchanged
    run.require_unchanged(thoroughly=True)


def fingerprint(name: str, entry: str, inputs: Sequence[Path], params: Params | None = None) -> str:
    """SHA-256 (hexadecimal) of all that a stage makes its outputs of: equal ones give equal results. Arguments as for `stage`."""
    origin = asdict(_origin(name, entry, inputs, params))
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()


@contextmanager
def _lock(label: str) -> Iterator[None]:
    """Hold the lock of a stage and entry. The system frees it when the process ends in any way, so it is never stale."""
    file = paths.lock(label)
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


def is_running(label: str) -> bool:
    """Whether a process of this project runs a stage now."""
    file = paths.lock(label)
    if not file.is_file():
        return False
    with file.open("r+") as lock:
        return not _take(lock)


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


class _Run:
    """One run of a stage, with the state in which it began. Arguments as for `stage`.

    Raises:
        InputError: An input is damaged or not what its stage would make now, or the code is not the code that `check` gave to DVC.
    """

    def __init__(self, name: str, entry: str, inputs: Sequence[Path], params: Params | None):
        self._arguments, self._label = (name, entry, inputs, params), definition.label(name, entry)
        self._has_seal = _has_seal(name)
        self._origin = _origin(*self._arguments)
        code = [file_of(path) for path in self._origin.code]
        self._watched = [paths.params_file(), paths.root() / paths.DEFINITION, *inputs, *code]
        self._stamps = _stamps(self._watched)
        if params and params.text_sha256 != sha256(paths.params_file()):
            self._refuse(f"{paths.PARAMS} changed")
        self._compare(as_loaded=False)  # a module may have been edited after it was loaded
        self._require_checked(has_defaults=params is not None)
        if self._has_seal:
            seals = Seals(params)
            for path in inputs:
                seals.require(path, self._label)

    def require_unchanged(self, *, thoroughly: bool = False) -> None:
        """Refuse to go on if an input, a value or the code changed, or if code was loaded that its file does not have any more.

        Args:
            thoroughly: Whether to compare contents even where all sizes and times are as they were.
        """
        current = _stamps(self._watched)
        if self._stamps == current and not thoroughly:
            return
        self._compare(as_loaded=False)
        self._compare(as_loaded=True)
        self._stamps = current

    def _compare(self, *, as_loaded: bool) -> None:
        if change := next(self._origin.changes(_origin(*self._arguments, as_loaded=as_loaded)), None):
            self._refuse(change)

    def publish(self, partials: Sequence[Path], outputs: Sequence[Path]) -> None:
        """Replace the former outputs and their seal by the new ones."""
        for partial in partials:
            if not partial.exists():
                raise FileNotFoundError(f"the stage should have written {partial}")
        digests = Digests()
        written = {
            output: digests.listing(partial, as_if=output) for partial, output in zip(partials, outputs, strict=True)
        }
        moves = dict(zip(partials, outputs, strict=True))
        if self._has_seal:
            seal = paths.seal(self._label)
            Seal(join(written.values()), self._origin).write(partial_path(seal))
            moves[partial_path(seal)] = seal
        publishing.publish(self._label, moves)
        for listing in written.values():
            digests.remember(listing)
        digests.save()

    def _require_checked(self, *, has_defaults: bool) -> None:
        """Refuse to run under DVC if code or values changed since `check` wrote them down: dvc.lock would record them with this result."""
        file = paths.code(self._label)
        if not launching.is_run_by_dvc() or not file.is_file():
            return
        text = file.read_text(encoding="utf-8")
        now = self._origin.code | self._origin.values
        values = definition.read_values(text) if has_defaults else {}
        for key, value in {**definition.read_code(text), **values}.items():
            if now.get(key) != value:
                raise InputError(
                    f"{self._label}: expected the code and the values that the stage {definition.CHECK} recorded; "
                    f"received: a changed {key}. Run `dvc repro` again"
                )

    def _refuse(self, change: str) -> NoReturn:
        raise InputError(
            f"{self._label}: expected params.yaml, code and inputs to stay as they were while the stage ran; "
            f"received: {change}. The result was dropped; run the stage again"
        )


def _has_seal(name: str) -> bool:
    """Whether a stage of this name seals its outputs; `check` does not, nor does any stage in a folder without dvc.yaml."""
    return name != definition.CHECK and (paths.root() / paths.DEFINITION).is_file()


def _origin(name: str, entry: str, inputs: Sequence[Path], params: Params | None, *, as_loaded: bool = True) -> Origin:
    """What a stage makes its outputs of now."""
    if _has_seal(name):
        seals = Seals(params, Code(loaded.TEXTS if as_loaded else None))
        origin = seals.origin(name, entry)
        seals.save()
        return origin
    digests = Digests()
    names = [path.relative_to(paths.root()).as_posix() for path in inputs]
    return Origin({name: digest(digests.listing(path), name) for name, path in zip(names, inputs, strict=True)}, {}, {})


def _stamps(watched: Iterable[Path]) -> list[Any]:
    """Sizes and times of files and of all files below folders; empty in place of what does not exist."""
    return [{file: stamp(file) for file in files_of(path)} for path in watched]


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
