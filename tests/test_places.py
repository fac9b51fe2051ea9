"""Awkward surroundings: every command works or says in one line what is wrong with the place and what helps; so do signals at any moment."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.runtime import paths, places
from pipeline.runtime.errors import InputError

REPOSITORY = Path(__file__).parents[1]
# Root may write everywhere. Without these capabilities it may do what the modes of files say, as everybody else.
ORDINARY = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
UNKNOWN = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
FETCHED = "download", "scenes"


def run(*command: str, under: list[str] | None = None, **environment: str | None) -> subprocess.CompletedProcess:
    """Run a command as a process of its own, with variables of the environment added, or removed where they are None."""
    all_variables = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
    return subprocess.run(
        [*(under or []), sys.executable, "-m", "pipeline.cli", *command],
        env={name: value for name, value in all_variables.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def files() -> set[Path]:
    """Everything below the project's folder."""
    return set(Path().rglob("*"))


@pytest.fixture
def read_only(project):
    """The smallest project, with a source, and nothing that may be changed in it."""
    CliRunner().invoke(main, FETCHED, catch_exceptions=False)
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    folders = [project.folder, *(folder for folder in project.folder.rglob("*") if folder.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield project
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("command", "place"),
    [
        (("check",), ""),
        (FETCHED, "data/raw"),
        (("augment", "boxes"), "data"),
        (("repro",), ""),
        (("repro", "--jobs", "1"), ""),
    ],
)
@pytest.mark.usefixtures("read_only")
def test_a_checkout_that_may_not_be_written_to_is_refused_at_once(command, place):
    """In one line with the place and the fix, and without a trace."""
    before = files()
    ended = run(*command, under=ORDINARY)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line == (
        f"Error: expected to be able to write to {place or Path.cwd()}; received: Permission denied. "
        "Work in a clone of your own, or let its owner give you the right"
    )
    assert files() == before


@pytest.mark.usefixtures("read_only")
def test_what_only_looks_needs_no_right_to_write():
    """The plan; the help; a formula."""
    for command in (("plan",), ("--help",), ("train", "--help"), ("output-size", "40", "--kernel", "3")):
        ended = run(*command, under=ORDINARY)
        assert (ended.returncode, ended.stderr) == (0, ""), command


@pytest.mark.usefixtures("project")
def test_a_former_result_of_somebody_else_is_noticed_before_the_work():
    """It could not be replaced at the end."""
    CliRunner().invoke(main, FETCHED, catch_exceptions=False)
    inner = paths.augmented("boxes") / "train"
    inner.mkdir(parents=True)
    (inner / "inputs.npy").write_bytes(b"former")
    inner.chmod(0o555)
    ended = run("augment", "boxes", under=ORDINARY)
    assert (ended.returncode, "write to data/augmented/boxes/train; received: Permission denied" in ended.stderr) == (
        2,
        True,
    )
    assert (inner / "inputs.npy").read_bytes() == b"former"
    inner.chmod(0o755)


@pytest.mark.usefixtures("project")
def test_a_user_without_name_and_home_is_served():
    """As a container has them: DVC would end in a traceback over either, and Keras' settings lie in the home folder."""
    if subprocess.run([*UNKNOWN, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody be another user")
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    nobody = dict.fromkeys(("HOME", "USER", "LOGNAME", "LNAME", "USERNAME"))
    for command in (("plan",), ("check",), ("summary", "mnist1d_conv")):
        for home in (None, "/nonexistent"):
            ended = run(*command, under=UNKNOWN, **{**nobody, "HOME": home})
            assert (ended.returncode, ended.stderr) == (0, ""), command


@pytest.mark.parametrize("command", [FETCHED, ("summary", "vgg"), ("repro",)])
@pytest.mark.usefixtures("project")
def test_a_folder_for_temporary_files_that_is_not_there_is_refused(command):
    """Python would take another one without a word; looking needs none."""
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    ended = run(*command, TMPDIR="/nonexistent/scratch")
    assert (ended.returncode, ended.stdout, ended.stderr) == (
        2,
        "",
        "Error: TMPDIR: expected a folder; received: /nonexistent/scratch, which is not there. Make it, or unset TMPDIR\n",
    )
    assert run("plan", TMPDIR="/nonexistent/scratch").returncode == 0


@pytest.mark.usefixtures("project")
def test_a_folder_for_temporary_files_that_may_not_be_written_to_is_refused():
    """The same."""
    Path("scratch").mkdir(mode=0o555)
    ended = run(*FETCHED, under=ORDINARY, TMPDIR=str(Path("scratch").absolute()))
    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: TMPDIR: expected a folder that can be written to; received: ")


@pytest.mark.parametrize("command", ["plan", "repro"])
@pytest.mark.usefixtures("project")
def test_a_project_without_dvc_or_git_is_told_what_to_do(command):
    """DVC's own words name no fix."""
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    ended = run(command)
    assert ended.returncode == 2
    assert ended.stderr.endswith(". Run `dvc init` (with --no-scm where there is no git)\n")
    subprocess.run(["dvc", "init", "--quiet", "--no-scm"], check=True)
    subprocess.run(["dvc", "config", "--quiet", "--unset", "core.no_scm"], check=True)
    ended = run(command)
    assert ended.returncode == 2
    assert ended.stderr.endswith(
        "is not a git repository. Run `git init`, or let DVC do without git: `dvc config --local core.no_scm true`\n"
    )


@pytest.mark.usefixtures("project")
def test_what_a_place_is_to_blame_for_is_one_sentence():
    """With the file as a person knows it; what may be a bug of ours keeps its traceback."""
    file = str(Path.cwd() / "results" / ".partial-README.md")
    said = places.said(OSError(errno.EROFS, "Read-only file system", file))
    assert said == (
        "expected to be able to write to results/README.md; received: Read-only file system. "
        "Clone or copy the project to a disk that can be written to"
    )
    assert places.said(OSError(errno.ENOSPC, "No space left on device")).startswith("expected room on the disk")
    assert places.said(FileNotFoundError(errno.ENOENT, "No such file", file)) is None
    assert places.said(OSError("anything")) is None
    name = 300 * "a"
    said = places.said(OSError(errno.ENAMETOOLONG, "File name too long", name))
    assert (
        said
        == f"expected to be able to write to {name}; received: File name too long. Use a shorter name, or a folder with a shorter path"
    )


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    """Not as a folder that is missing."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"write to .*taken; received: Not a directory. Move the file away"):
        places.require_writable(tmp_path / "taken" / "deeper")


SLOW_KERAS = """\
import pathlib, time
pathlib.Path("importing").touch()
for _ in range(300):
    try:  # as TensorFlow does
        time.sleep(0.1)
    except BaseException:
        pass
"""


@pytest.mark.parametrize(
    ("number", "code", "sentence"),
    [
        (signal.SIGINT, 130, "Interrupted: nothing was half-written."),
        (signal.SIGTERM, 143, "Ended by SIGTERM: nothing was half-written."),
    ],
)
@pytest.mark.usefixtures("project")
def test_a_signal_ends_an_import_at_once(number, code, sentence):
    """An import that swallows exceptions; one line although the import's messages are held back, and nothing of the stage is left."""
    Path("slow/keras").mkdir(parents=True)
    Path("slow/keras/__init__.py").write_text(SLOW_KERAS)
    imports = "import pipeline.cli; from pathlib import Path; from pipeline.runtime import guard; from pipeline.backend import devices"
    program = f"""{imports}
@pipeline.cli.main.command()
def slow():
    with guard.stage("train", "crops", inputs=[], outputs=[Path("made").absolute()]):
        devices.import_keras()
pipeline.cli.main(["slow"])
"""
    search_path = os.pathsep.join([str(Path("slow").absolute()), str(REPOSITORY)])
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": search_path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Path("importing").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert Path(".partial-made").is_dir()
    process.send_signal(number)
    said, _ = process.communicate(timeout=20)  # the import takes 30 seconds
    assert (process.returncode, said) == (code, f"{sentence}\n")
    assert not list(Path().glob("*made*"))
