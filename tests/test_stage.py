"""pipeline/runtime/guard.py: what is left behind by a stage that ends well, that fails, that is stopped, and that was overtaken."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

REPOSITORY = Path(__file__).parents[1]
PARAMS = """\
seed: 1
sources:
  scenes: {kind: voc}
  others: {kind: voc}
datasets:
  digits: {source: scenes, size: [8, 8]}
experiments:
  vgg: {dataset: digits}
ensembles:
  two: {members: [vgg, other]}
imports:
  published: {format: darknet}
lab:
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one source that is there, and one dataset that is not."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    shutil.copy(REPOSITORY / "dvc.yaml", tmp_path)
    (tmp_path / "data" / "raw" / "scenes").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "scenes" / "archive").write_text("images")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def augment():
    """The stage that the tests run."""
    return stage("augment", "digits", inputs=[paths.raw("scenes")], outputs=[paths.augmented("digits")])


def made() -> dict[str, str]:
    """Everything below data/augmented, hidden files too."""
    folder = paths.augmented("digits").parent
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_results_appear_when_the_stage_ends_well():
    """Files and folders come into place at the end, replace what was there, and leave nothing temporary."""
    for content in ("first", "second"):
        table = paths.augmented("table.csv")
        with stage("augment", "digits", inputs=[], outputs=[paths.augmented("digits"), table]) as (folder, file):
            (folder / content).write_text(content)
            file.write_text(content)
            assert file.suffix == ".csv"
            assert f"digits/{content}" not in made()
        assert made() == {f"digits/{content}": content, "table.csv": content}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_stage_that_fails_leaves_the_former_result(error):
    """An exception, Ctrl-C or SIGTERM removes what the stage wrote and nothing else."""
    with augment() as (folder,):
        (folder / "a").write_text("good")
    with pytest.raises(error), augment() as (folder,):  # noqa: PT012
        (folder / "a").write_text("half")
        raise error
    assert made() == {"digits/a": "good"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_stage_cleanly(number, code):
    """SIGTERM and Ctrl-C end the process with the shell's codes, and nothing half-written stays."""
    program = """
import os, signal, sys
from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.guard import stage
try:
    with stage("augment", "digits", inputs=[], outputs=[paths.augmented("digits")]) as (folder,):
        (folder / "a").write_text("half")
        os.kill(os.getpid(), int(sys.argv[1]))
        signal.pause()
except KeyboardInterrupt:
    sys.exit(130)
"""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", program, str(int(number))]
    ended = subprocess.run(command, env=environment, check=False, timeout=300)
    assert ended.returncode == code
    assert made() == {}


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), OSError("999 requested and 0 written")]
)
def test_a_full_disk_is_one_line(monkeypatch, error):
    """Whether it is said with the system's number, or as NumPy does; what the stage wrote is gone, the former result stays."""
    with augment() as (folder,):
        (folder / "a").write_text("good")
    if error.errno is None:
        monkeypatch.setattr("pipeline.runtime.guard._MIN_FREE_BYTES", 2**70)  # more than any disk has
    expected = (
        r"augment@digits: expected room on the disk for data/augmented/digits; received: .*(No space|999 requested)"
    )
    with pytest.raises(InputError, match=expected), augment() as (folder,):  # noqa: PT012
        (folder / "a").write_text("half")
        raise error
    assert made() == {"digits/a": "good"}


def test_other_errors_are_no_full_disk():
    """A file that is not there is a bug of ours and keeps its traceback."""
    with pytest.raises(FileNotFoundError), augment() as (folder,):
        (folder / "missing").read_text()


def test_what_a_killed_run_left_is_removed(project):
    """A run that had no chance to clean up (SIGKILL, power cut) does not spoil the next one."""
    left = project / "data" / "augmented" / ".partial-digits"
    left.mkdir(parents=True)
    (left / "old").write_text("half")
    with augment() as (folder,):
        assert list(folder.iterdir()) == []
    assert made() == {}


def test_a_second_run_is_refused():
    """Two runs of the same stage and entry would write over each other: the second one names the first."""
    with augment(), pytest.raises(InputError, match=f"process {os.getpid()} is running it"), augment():
        pass


def test_a_run_waits_for_the_workers_of_a_killed_one():
    """Where the lock names a process that is no more, its workers hold it and are about to end."""
    dead = subprocess.Popen(["true"])
    dead.wait()
    file = paths.state() / "locks" / "augment@digits.lock"
    file.parent.mkdir(parents=True)
    file.write_text(str(dead.pid))
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        threading.Timer(0.3, fcntl.flock, (held, fcntl.LOCK_UN)).start()
        with augment() as (folder,):
            assert time.monotonic() - began >= 0.25
            (folder / "a").write_text("good")
    assert made() == {"digits/a": "good"}


@pytest.mark.parametrize(
    ("place", "entry", "command"),
    [
        (paths.augmented, "digits", "augment digits"),
        (paths.model_folder, "vgg", "train vgg"),
        (paths.model_folder, "published", "import-weights published"),
        (paths.outputs, "vgg", "predict vgg"),
        (paths.outputs, "two", "combine two"),
        (paths.metrics, "two", "evaluate two"),
    ],
)
def test_a_missing_input_is_named_with_the_command_that_makes_it(place, entry, command):
    """The message holds the path and both ways to make it, whichever section its entry is in."""
    path = place(entry)
    expected = (
        rf"{path.relative_to(Path.cwd())}; received: no such .* `cnnkeras {command}` or `dvc repro train@yolo` first"
    )
    with pytest.raises(InputError, match=expected), stage("train", "yolo", inputs=[path], outputs=[]):
        pass


def test_a_missing_input_that_no_entry_makes_is_named_alone():
    """As a file of somebody else's."""
    with (
        pytest.raises(InputError, match=r"results/other/model; received: .*\. Run `dvc repro train@yolo` first"),
        stage("train", "yolo", inputs=[paths.model_folder("other")], outputs=[]),
    ):
        pass


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("params.yaml", "[8, 8]", "[9, 9]", "params.yaml datasets.digits"),
        ("params.yaml", "scenes: {kind: voc}", "scenes: {kind: idx}", "params.yaml sources.scenes"),
        ("params.yaml", "seed: 1", "seed: [", "params.yaml"),
        ("data/raw/scenes/archive", "images", "other images", "data/raw/scenes"),
    ],
)
def test_a_change_during_the_run_drops_the_result(project, file, old, new, named):
    """The lock would record the new state for a result of the old one: so there is no result."""
    with pytest.raises(InputError, match=named), augment() as (folder,):  # noqa: PT012
        (folder / "a").write_text("of the old state")
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new))
    assert made() == {}


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("params.yaml", "[8, 8]", "[9, 9]", "params.yaml datasets.digits"),
        ("data/raw/scenes/archive", "images", "other images", "data/raw/scenes"),
        ("params.yaml", "seed: 1", "seed:  1", None),
        ("params.yaml", "others: {kind: voc}", "others: {kind: idx}", None),
    ],
)
def test_a_long_stage_may_ask_whether_something_changed(project, file, old, new, named):
    """It then need not go on to its end for a result that would be dropped; an edit that changes nothing is no change."""
    with pytest.raises(InputError, match=named) if named else nullcontext(), augment() as outputs:
        outputs.require_unchanged()
        text = (project / file).read_text()
        assert old in text
        (project / file).write_text(text.replace(old, new))
        (outputs[0] / "a").write_text("good")
        outputs.require_unchanged()
        asked = True
    assert made() == ({} if named else {"digits/a": "good"})
    assert ("asked" in locals()) is (named is None)


def test_a_change_that_does_not_concern_the_stage_is_no_matter(project):
    """Other entries of params.yaml may be edited while a stage runs."""
    with augment() as (folder,):
        (folder / "a").write_text("good")
        (project / "params.yaml").write_text(PARAMS.replace("others: {kind: voc}", "others: {kind: idx}"))
    assert made() == {"digits/a": "good"}


@pytest.mark.parametrize(
    ("file", "added", "error"),
    [
        ("pipeline/sources/voc/__init__.py", "EDITED = True", "pipeline/sources/voc/__init__.py"),
        ("pipeline/sources/voc/__init__.py", "# a comment", None),
        ("pipeline/sources/coco.py", "EDITED = True", None),
    ],
)
def test_of_the_code_what_the_entry_runs_counts(project, file, added, error):
    """An edit of code that the stage runs for this entry drops its result; a comment, or another kind of source, does not."""
    for package in ("cnnkeras", "pipeline"):
        shutil.copytree(REPOSITORY / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    program = f"""
from pathlib import Path
from pipeline.runtime import definition, paths
from pipeline.runtime.code import Code
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
try:
    with stage("augment", "digits", inputs=[], outputs=[paths.augmented("digits")]):
        with Path({file!r}).open("a") as code:
            code.write({added!r})
except InputError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(project)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True)
    assert (f"received: {error} changed" in ended.stdout) if error else ended.stdout == ""
    assert paths.augmented("digits").exists() == (error is None)


def test_a_stage_run_by_dvc_refuses_code_that_check_did_not_see(project):
    """DVC would record the digest that `check` wrote for a result of other code; by hand, the stage runs."""
    digests = Code().dependencies("augment", "digits", definition.read_yaml(project / "params.yaml"))
    written = paths.code("augment@digits")
    written.parent.mkdir(parents=True)
    program = """
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
try:
    with stage("augment", "digits", inputs=[], outputs=[paths.augmented("digits")]):
        print("ran")
except InputError as error:
    print(error)
"""

    def answer(**environment: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **environment}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    written.write_text("".join(f"{digest}  {path}\n" for path, digest in digests.items()))
    assert answer(DVC_STAGE="augment@digits") == "ran\n"
    written.write_text("".join(f"{'0' * 16}  {path}\n" for path in digests))
    refused = answer(DVC_STAGE="augment@digits")
    assert (
        "augment@digits: expected the code and the values that the stage check recorded; received: a changed cnnkeras/"
        in refused
    )
    assert answer() == "ran\n"
