"""What every stage of the pipeline does around its work, so that a result is whole, single and honest.

    def run(name: str) -> None:
        experiment = load_params().experiments[name]
        with stage(
            "train", name,
            inputs=[paths.augmented(experiment.dataset)],
            outputs=[paths.model_folder(name), paths.history(name)],
        ) as (model_folder, history_file):
            ...  # write below model_folder (an empty folder) and to history_file (does not exist yet)

The block writes to temporary places beside the final ones: `results/yolo/.partial-model`, `.partial-history.csv`. The name's
ending is kept, because writers choose a format by it; a name without an ending is a folder, made empty. Only when the block ends
well do they replace what was there before. An exception, Ctrl-C or SIGTERM removes them and leaves the former result alone.

What `stage` guarantees besides:

- One run at a time: a second one of the same stage and entry is refused, naming the process that holds the lock.
- A full disk is one line, like other wrong input.
- Inputs that do not exist are named together with the command that makes them.
- A result never mixes two states: if an input, a parameter or a source file that the stage uses changed while it ran, it fails and
  publishes nothing. DVC hashes dependencies and parameters *after* the command, so that its lock would record the new
  state for a result of the old one (treeverse/dvc#11058). Which parameters and source files belong to a stage is written in one
  place, dvc.yaml; of the source files only those count that the process imported.
- Run by DVC, it dies with DVC: a SIGTERM to `dvc repro` leaves no process behind that goes on writing.
"""

import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from ruamel.yaml import YAML, YAMLError

from pipeline.runtime import paths
from pipeline.runtime.errors import InputError, first_reason, lacks_room

_SOURCES = Path(__file__).parents[2]  # the folder that holds the packages cnnkeras and pipeline

_LEAST_FREE_BYTES = 2**20  # a disk with less is full: no output of any use fits

_WORKERS_END_SECONDS = 5.0  # at most, after a run was killed
_EXPRESSION = re.compile(r"\$\{([^}]+)\}")  # of dvc.yaml: ${key}, ${item.source}

# Which command makes what of the entries of which section, for the message about a missing input.
_MAKERS = (
    ("sources", "download", (paths.raw,)),
    ("datasets", "augment", (paths.augmented, paths.dataset_report)),
    ("imports", "import-weights", (paths.model_folder,)),
    ("experiments", "train", (paths.model_folder, paths.history)),
    ("experiments", "predict", (paths.outputs,)),
    ("ensembles", "combine", (paths.outputs,)),
    *(
        (section, command, places)
        for section in ("experiments", "ensembles")
        for command, places in (
            ("postprocess", (paths.predictions,)),
            ("evaluate", (paths.metrics, paths.plots, paths.figures)),
            ("log", (paths.receipt,)),
        )
    ),
    ("lab", "lab", (paths.claim,)),
)


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
    label = f"{name}@{entry}"
    with ExitStack() as guard:
        guard.enter_context(ends_on_sigterm())
        _die_with_dvc()
        guard.enter_context(_lock(label))
        _require(inputs, label)
        before = _state(name, entry, inputs)
        partials = tuple(output.with_name(f".partial-{output.name}") for output in outputs)
        for partial in partials:
            _remove(partial)  # left by a run that was killed: the lock says that it is not running any more
            (partial.parent if partial.suffix else partial).mkdir(parents=True, exist_ok=True)
            guard.callback(_remove, partial)
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


@contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into SystemExit (143 = 128 + SIGTERM, as shells report it), so that the clean-up runs."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    former = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def _die_with_dvc() -> None:
    """End when DVC ends, the parent itself, since dvc.yaml's commands `exec` away the shell between; without DVC, do not."""
    if "DVC_STAGE" in os.environ:
        die_with_parent()


def die_with_parent() -> None:
    """Ask Linux for a SIGTERM when the parent ends; elsewhere nothing happens. The parent is in this process group."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(set_parent_death_signal, signal.SIGTERM)
    # It may have ended before that line. Then the parent is whoever adopts orphans, in another process group.
    try:
        orphaned = os.getpgid(os.getppid()) != os.getpgrp()
    except ProcessLookupError:
        orphaned = True
    if orphaned:
        sys.exit(128 + signal.SIGTERM)


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
    values = _read_yaml(paths.params_file())
    for section, command, places in _MAKERS:
        for entry in values.get(section) or {}:
            if not {place(entry) for place in places}.isdisjoint((path, *path.parents)):
                return f"`cnnkeras {command} {entry}` or "
    return ""


def _state(name: str, entry: str, inputs: Sequence[Path]) -> dict[str, Any]:
    """What the stage depends on, each under the name to be said when it changed."""
    state: dict[str, Any] = {str(path.relative_to(paths.root())): _signature(path) for path in inputs}
    if not (paths.root() / "dvc.yaml").is_file():
        return state  # a params.yaml by itself: no lock that could be falsified
    values = _read_yaml(paths.params_file())
    definition = _read_yaml(paths.root() / "dvc.yaml")["stages"][name]
    item = f"{definition['foreach'].strip('${}')}.{entry}"

    def resolve(expression: re.Match) -> str:
        key = expression.group(1)
        return entry if key == "key" else str(_lookup(values, key.replace("item", item, 1)))

    for template in definition["do"].get("params", []):
        key = _EXPRESSION.sub(resolve, template)
        state[f"{paths.PARAMS} {key}"] = _lookup(values, key)
    for template in definition["do"]["deps"]:
        path = _SOURCES / _EXPRESSION.sub(resolve, template)
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            if file.suffix == ".py" and file.is_file():
                state[str(file.relative_to(_SOURCES))] = hashlib.sha256(file.read_bytes()).digest()
    return state


def _signature(path: Path) -> list[tuple[str, int, int]]:
    """Name, size in bytes and modification time in nanoseconds of a file, or of every file below a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    facts = [(file, file.stat()) for file in files if file.is_file()]
    return [(str(file.relative_to(path)), fact.st_size, fact.st_mtime_ns) for file, fact in facts]


def _read_yaml(file: Path) -> Any:
    """A YAML file's content, as DVC reads it."""
    try:
        return YAML(typ="safe").load(file)
    except YAMLError as error:
        raise InputError(f"{file.name}: expected valid YAML; received: {' '.join(str(error).split())}") from None


def _lookup(values: Any, dotted_key: str) -> Any:
    """The value under a dotted key; None where there is none."""
    for part in dotted_key.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values


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
    imported = {
        str(Path(module.__file__).relative_to(_SOURCES))
        for name, module in list(sys.modules.items())
        # Only these are asked for their file: asking a module that is lazily imported, as Keras is, would import it.
        if name.partition(".")[0] in ("cnnkeras", "pipeline") and getattr(module, "__file__", None)
    }
    for key in {**before, **after}:
        unused = key.endswith(".py") and key not in imported
        if before.get(key) != after.get(key) and not unused:
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
            _remove(replaced)
            if output.is_dir():  # a folder, unlike a file, cannot be replaced in one step
                output.rename(replaced)
            partial.replace(output)
            _remove(replaced)


@contextmanager
def signals_held() -> Iterator[None]:
    """Deliver Ctrl-C and SIGTERM only after the block. Other threads than the main one never get them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    former = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        for number in received:
            signal.raise_signal(number)


def _remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
