"""Stages that something else starts: a scheduler, MPI, a container, another host. `launch.yaml` says which, and by what.

    train: srun --gpus=1 --cpus-per-task=8            # every training
    train@large: srun --gpus=1 --cpus-per-task=32     # this one
    predict@small: null                               # this one here

The file belongs to one place: git and DVC do not see it, and no stage depends on it. The command in dvc.yaml and dvc.lock stays `cnnkeras train
yolo`; when it starts, it becomes another command, in the same process:

    srun --gpus=1 --cpus-per-task=8 env CNNKERAS_LAUNCHED=train@yolo cnnkeras train yolo

A launcher runs what follows it in the same folder, waits for it, ends with its exit code, and hands SIGTERM on; `srun`, `mpirun` and `docker run` do.
"""

import os
import shlex
import shutil
import signal
import sys
from pathlib import Path

from cnnkeras.by_name import unknown
from pipeline.runtime import cores, definition, paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.signals import end_with_parent, is_adopted

LAUNCHED = "CNNKERAS_LAUNCHED"  # variable of the environment: the stage that a launcher has started
_DVC = "DVC_STAGE"  # set by DVC: the stage that it runs
_OWN = "CNNKERAS_"  # begins the names of this project's variables
# Number of processes that SLURM, Open MPI and MPICH have started for one command.
_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")


def is_run_by_dvc() -> bool:
    """Whether DVC started this stage, itself or through a launcher."""
    return _DVC in os.environ


def end_with_dvc() -> None:
    """End when DVC ends, if DVC is the parent process: the commands in dvc.yaml replace the shell by `exec`. A launched stage's is the launcher."""
    if is_run_by_dvc() and LAUNCHED not in os.environ:
        end_with_parent(signal.SIGTERM, is_adopted)


def put_command_on_path() -> None:
    """Let this process' children find `cnnkeras` where the environment is not activated."""
    if not shutil.which("cnnkeras"):
        os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def launchers() -> dict[str, list[str]]:
    """The launchers by stage, `train`, or stage of an entry, `train@yolo`: words of a command, or none, which means here.

    Raises:
        InputError: launch.yaml names no stage or entry of this project, or no command whose program is installed.
    """
    file = paths.launchers()
    content = (definition.read_yaml(file) if file.is_file() else None) or {}
    if not isinstance(content, dict):
        raise InputError(
            f"{file.name}: expected stages with launchers, such as `train: srun --gpus=1`; received: {content!r}"
        )
    known = _known()
    for name in content:
        if name not in known:
            raise InputError(f"{file.name}: {unknown(str(name), known, 'stage')}")
    return {name: _words(f"{file.name}: {name}", value) for name, value in content.items()}


def _known() -> list[str]:
    """The names that launch.yaml may have."""
    values = definition.read_yaml(paths.params_file())
    labels = [(definition.command(stage), entry) for stage, entry in definition.labels(values)]
    return [*dict.fromkeys(stage for stage, _ in labels), *(definition.label(*label) for label in labels)]


def _words(place: str, value: object) -> list[str]:
    """The words of a launcher."""
    if value is None:
        return []
    try:
        words = shlex.split(value) if isinstance(value, str) else []
    except ValueError:  # a quotation mark without its partner
        words = []
    if not words:
        raise InputError(f"{place}: expected a command, such as `srun --gpus=1`, or null; received: {value!r}")
    if not shutil.which(words[0]):
        raise InputError(
            f"{place}: expected a program that is installed; received: {words[0]}. Install it, write its whole path, or null for this machine"
        )
    return words


def launcher(stage: str, entry: str) -> list[str]:
    """The launcher of a stage of an entry; empty: it runs here. `stage` may be a key of dvc.yaml or a command."""
    if not paths.launchers().is_file():  # a stage alone needs no dvc.yaml
        return []
    command, found = definition.command(stage), launchers()
    return found.get(definition.label(command, entry), found.get(command, []))


def launch(stage: str, entry: str) -> None:
    """Become the launcher of a stage of an entry, with the same command, unless it runs here.

    Raises:
        InputError: As `launchers`; or a launcher has started this command several times.
    """
    if LAUNCHED in os.environ:
        _require_single(definition.label(stage, entry))
        return
    words = launcher(stage, entry)
    if not words:
        return
    end_with_dvc()  # the launcher inherits that
    put_command_on_path()
    os.environ.pop(cores.CORE, None)  # a core of this machine
    # A container or another host does not inherit the environment.
    handed = [f"{name}={value}" for name, value in os.environ.items() if name == _DVC or name.startswith(_OWN)]
    own = ["env", f"{LAUNCHED}={definition.label(stage, entry)}", *handed, "cnnkeras", *sys.argv[1:]]
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execvp(words[0], [*words, *own])


def _require_single(label: str) -> None:
    for name in _COUNTS:
        if (count := os.environ.get(name, "1")) != "1":
            raise InputError(
                f"{label}: expected a launcher that starts one process; received: {name}={count}. A stage runs in one: for SLURM add --ntasks=1 to "
                f"the launcher in {paths.launchers().name}"
            )
