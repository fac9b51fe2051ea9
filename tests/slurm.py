"""A SLURM of one machine for tests: its real daemons on the loopback interface, with settings, key and state in a folder of their own."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.tracked_project import free_port, until

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "squeue", "scancel")
SBIN = "/usr/sbin"
# Two processors are claimed, whatever the machine has: tasks wait for each other as on a cluster, and two run side by side.
SETTINGS = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why it cannot run here; empty if it can."""
    search = os.pathsep.join([os.environ["PATH"], SBIN])
    missing = [program for program in PROGRAMS if not shutil.which(program, path=search)]
    if missing:
        return f"needs {', '.join(missing)} (Debian: slurm-wlm, munge)"
    return "" if os.geteuid() == 0 else "needs root, for SLURM's daemons"


@contextmanager
def running() -> Iterator[dict[str, str]]:
    """Yields the variables of the environment by which SLURM's commands find it."""
    host = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    with ExitStack() as ends:
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))  # a socket's path is short
        folder.chmod(0o755)
        for name in ("state", "spool"):
            (folder / name).mkdir()
        settings, key = folder / "slurm.conf", folder / "munge.key"
        settings.write_text(SETTINGS.format(host=host, folder=folder, ports=[free_port(), free_port()]))
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        variables = {"SLURM_CONF": str(settings)}
        files = {"key-file": key, "socket": folder / "munge.socket"}
        files |= {f"{what}-file": folder / f"munge.{what}" for what in ("pid", "log", "seed")}
        munge = ["munged", "--foreground", "--force", *(f"--{name}={file}" for name, file in files.items())]
        for command in (munge, ["slurmctld", "-D"], ["slurmd", "-D"]):
            ends.callback(_end, _start(command, folder, variables))
            if command is munge:
                until((folder / "munge.socket").exists, seconds=60)
        until(lambda: _said(["sinfo", "-h", "-o", "%t"], variables) == "idle", seconds=120)
        ends.callback(_cancel, variables)
        yield variables


def jobs(variables: dict[str, str]) -> dict[str, str]:
    """The number of each job that runs or waits, by its name."""
    return dict(line.split() for line in _said(["squeue", "-h", "-o", "%j %i"], variables).splitlines())


def _start(command: list[str], folder: Path, variables: dict[str, str]) -> subprocess.Popen:
    environment = {**os.environ, **variables, "PATH": os.pathsep.join([os.environ["PATH"], SBIN])}
    with (folder / f"{command[0]}.said").open("wb") as said:
        return subprocess.Popen(command, env=environment, stdout=said, stderr=said, start_new_session=True)


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _cancel(variables: dict[str, str]) -> None:
    _said(["scancel", "--user=root"], variables)
    until(lambda: not jobs(variables), seconds=60)


def _said(command: list[str], variables: dict[str, str]) -> str:
    ended = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    return ended.stdout.strip()
