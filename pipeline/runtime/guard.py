"""Guards one run of a stage: one at a time, outputs replaced in one step, nothing published if an input changed meanwhile.

    def run(name: str) -> None:
        experiment = load_params().experiments[name]
        with stage(
            "train", name,
            inputs=[paths.augmented(experiment.dataset)],
            outputs=[paths.model_folder(name), paths.history(name)],
        ) as (model_folder, history_file):
            ...  # write below model_folder (an empty folder) and to history_file (does not exist yet)

The block writes beside the final paths: to `results/yolo/.partial-model` and `.partial-history.csv`. The name's ending is kept,
because writers choose a format by it; a name without an ending is a folder, which is made empty. Only when the block ends well does
what it wrote replace what was there before. An exception, Ctrl-C or SIGTERM removes it and leaves the former result alone.

The guard also sees to these:

- One run at a time: a second run of the same stage and entry is refused, and the message names the process that holds the lock.
- A full disk is one line, like other wrong input.
- Inputs that do not exist are named together with the command that makes them.
- A result never mixes two states. DVC hashes dependencies and parameters *after* the command, so that its lock would record the new
  state for a result of the old one (treeverse/dvc#11058). If an input, a value of params.yaml or a line of code that the stage
  depends on changed while it ran, it fails and publishes nothing. dvc.yaml says which values those are, `runtime/code.py` which code.
- Run by DVC, a stage ends when DVC ends: a SIGTERM to `dvc repro` leaves no process behind that goes on writing.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.errors import InputError, first_reason, lacks_room
from pipeline.runtime.replacing import partial_path, remove
from pipeline.runtime.signals import end_with_parent, ends_on_sigterm, is_adopted, signals_held

_LEAST_FREE_BYTES = 2**20  # a disk with less is full: no output of any use fits
_WORKERS_END_SECONDS = 5.0  # at most, after a run was killed


@contextmanager
def stage(name: str, entry: str, *, inputs: Sequence[Path], outputs: Sequence[Path]) -> Iterator[tuple[Path, ...]]:
    """Guard one run of a stage (see the top of this file); yields one temporary path for each of `outputs`, in order.

    Args:
        name: The stage's name, a key of dvc.yaml: `train`.
        entry: The entry of params.yaml that it runs for: `yolo`.
        inputs: Files and folders that it reads. All must exist.
        outputs: Files and folders that it makes, at their final places.

    Raises:
        InputError: The same stage of the same entry is running; an input is missing; an input, a parameter or a source file
            changed during the run; there is no room on the disk.
    """
    label = definition.label(name, entry)
    with ExitStack() as guard:
        guard.enter_context(ends_on_sigterm())
        _die_with_dvc()
        guard.enter_context(_lock(label))
        _require(inputs, label)
        before = _state(name, entry, inputs)
        _require_checked(label, before)
        partials = tuple(map(partial_path, outputs))
        for partial in partials:
            remove(partial)  # left by a run that was killed: the lock says that it is not running any more
            (partial.parent if partial.suffix else partial).mkdir(parents=True, exist_ok=True)
            guard.callback(remove, partial)
        guard.enter_context(_room(label, outputs))
        yield partials
        _require_unchanged(before, _state(name, entry, inputs), label)
        _publish(partials, outputs)


def fingerprint(name: str, entry: str, inputs: Sequence[Path]) -> str:
    """Of the inputs, parameters and source files of a stage: while it is the same, another run would give the same result.

    Args:
        name: The stage's name.
        entry: The entry of params.yaml that it runs for.
        inputs: Files and folders that it reads.
    """
    return hashlib.sha256(repr(sorted(_state(name, entry, inputs).items())).encode()).hexdigest()


def _die_with_dvc() -> None:
    """End when DVC ends: it is the parent itself, since dvc.yaml's commands `exec` away the shell between."""
    if _is_run_by_dvc():
        end_with_parent(signal.SIGTERM, is_adopted)


def _is_run_by_dvc() -> bool:
    return "DVC_STAGE" in os.environ


@contextmanager
def _lock(label: str) -> Iterator[None]:
    """Hold the stage's lock file. The system frees it however the process ends, so it can never be stale."""
    file = paths.state() / "locks" / f"{label}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a+") as held:
        deadline = time.monotonic() + _WORKERS_END_SECONDS
        while not _is_free(held):
            held.seek(0)
            holder = held.read().strip()
            # The workers of a killed run end with it, a moment later, and until then share its lock.
            if _is_running(holder) or time.monotonic() > deadline:
                raise InputError(
                    f"{label}: expected to be the only run; received: process {holder} is running it. Wait for it or end it"
                )
            time.sleep(0.05)
        held.truncate(0)
        held.write(str(os.getpid()))
        held.flush()
        yield


def _is_free(held: IO[str]) -> bool:
    """Take the lock, unless another process has it."""
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_running(holder: str) -> bool:
    """Whether a process is there; one that has not yet written its number is."""
    try:
        os.kill(int(holder), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _require(inputs: Sequence[Path], label: str) -> None:
    """Name the first missing input and the command that makes it."""
    for path in inputs:
        if not path.exists():
            raise InputError(
                f"{label}: expected {path.relative_to(paths.root())}; received: no such file or folder. "
                f"Run {_maker(path)}`dvc repro {label}` first"
            )


def _maker(path: Path) -> str:
    """The command that makes the path, as part of a sentence; empty when no stage does."""
    found = definition.maker(path, definition.read_yaml(paths.params_file()))
    return f"`cnnkeras {definition.command(found[0])} {found[1]}` or " if found else ""


def _state(name: str, entry: str, inputs: Sequence[Path]) -> dict[str, Any]:
    """What the stage depends on, each under the name to be said when it changed; code under its path."""
    state: dict[str, Any] = {str(path.relative_to(paths.root())): _signature(path) for path in inputs}
    if name == definition.CHECK or not (paths.root() / paths.DEFINITION).is_file():
        return state  # without dvc.yaml there is no lock that could be falsified
    values = definition.read_yaml(paths.params_file())
    for key in (*definition.params_of(name, entry, values), *definition.checked_params_of(name, entry, values)):
        state[f"{paths.PARAMS} {key}"] = definition.lookup(values, key)
    return state | Code().dependencies(name, entry, values)


def _require_checked(label: str, state: dict[str, Any]) -> None:
    """Refuse to run by DVC with other code than `check` told DVC of: the lock would name that for this code's result."""
    file = paths.code(label)
    if not _is_run_by_dvc() or not file.is_file():
        return
    told = definition.read_code(file.read_text(encoding="utf-8"))
    changed = sorted(path for path in told if state.get(path) != told[path])
    if changed:
        raise InputError(
            f"{label}: expected the code that the stage {definition.CHECK} saw; received: another {changed[0]}. Run `dvc repro` again"
        )


def _signature(path: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time in nanoseconds of a file, or of every file below a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file.relative_to(path)), fact.st_size, fact.st_mtime_ns) for file, fact in facts]


@contextmanager
def _room(label: str, outputs: Sequence[Path]) -> Iterator[None]:
    """Turn what a full disk makes of the block into one line. What the block has written must still be there."""
    try:
        yield
    except Exception as error:
        # NumPy, HDF5 and SQLite say it in words of their own, without the system's number.
        is_full = lacks_room(error) or any(
            shutil.disk_usage(output.parent).free < _LEAST_FREE_BYTES for output in outputs
        )
        if isinstance(error, InputError) or not is_full:
            raise
        places = ", ".join(str(output.relative_to(paths.root())) for output in outputs)
        raise InputError(
            f"{label}: expected room on the disk for {places}; received: {first_reason(error)}. "
            "Make room and run the stage again; nothing was half-written"
        ) from error


def _require_unchanged(before: dict[str, Any], after: dict[str, Any], label: str) -> None:
    """Refuse to publish a result of a state that is gone."""
    for key in {**before, **after}:
        if before.get(key) != after.get(key):
            raise InputError(
                f"{label}: expected {key} to stay as it was while the stage ran; received: a change. "
                "The result was dropped; run the stage again"
            )


def _publish(partials: Sequence[Path], outputs: Sequence[Path]) -> None:
    """Put what the stage wrote in place of what was there. Signals wait, so that a folder is never without its content."""
    for partial in partials:
        if not partial.exists():
            raise FileNotFoundError(f"the stage should have written {partial}")
    with signals_held():
        for partial, output in zip(partials, outputs, strict=True):
            replaced = output.with_name(f".partial-replaced-{output.name}")
            remove(replaced)
            if output.is_dir():  # a folder, unlike a file, cannot be replaced in one step
                output.rename(replaced)
            partial.replace(output)
            remove(replaced)
