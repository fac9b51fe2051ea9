"""Outputs of a stage replace the former ones together, wherever the process is killed."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime import paths, publishing
from pipeline.runtime.guard import stage

# Publishes a folder and a file, and kills itself before the n-th change of a name on the disk.
PUBLISH = """\
import os, signal, sys
from pathlib import Path

left = int(sys.argv[1])

def counted(change):
    def counting(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return change(*arguments, **options)
    return counting

for name in ("rename", "replace", "unlink", "rmdir"):
    setattr(os, name, counted(getattr(os, name)))
from pipeline.runtime import publishing
root = Path.cwd()
moves = [("results/.partial-model", "results/model"), ("results/.partial-history.csv", "results/history.csv")]
publishing.publish("train@a", {root / partial: root / output for partial, output in moves})
"""


@pytest.fixture
def outputs(tmp_path, monkeypatch) -> Path:
    """A project with former and new outputs; returns the folder of both."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").touch()
    (tmp_path / ".cnnkeras" / "locks").mkdir(parents=True)
    for name, state in (("model", "former"), (".partial-model", "new")):
        (tmp_path / "results" / name / "deep").mkdir(parents=True)
        (tmp_path / "results" / name / "deep" / "weights").write_text(state)
    (tmp_path / "results" / "history.csv").write_text("former")
    (tmp_path / "results" / ".partial-history.csv").write_text("new")
    return tmp_path / "results"


def states(outputs: Path) -> list[str]:
    files = (outputs / "model" / "deep" / "weights", outputs / "history.csv")
    return [file.read_text() if file.exists() else "missing" for file in files]


def test_a_kill_leaves_all_former_or_all_new_outputs(outputs):
    """At every change on the disk: after the next command's look, both are of one state; once noted, they are new, and nothing else lies there."""
    seen = []
    for changes in range(100):
        ended = subprocess.run([sys.executable, "-c", PUBLISH, str(changes)], check=False)
        between = states(outputs)
        publishing.finish_others()
        seen.append((between, states(outputs)))
        if ended.returncode == 0:
            break
        if states(outputs) == ["new", "new"]:  # once more with the former ones
            assert [path.name for path in outputs.iterdir()].count("model") == 1
            assert not list(outputs.glob(".partial-*"))
            for name, state in (("model", "former"), (".partial-model", "new")):
                (outputs / name / "deep").mkdir(parents=True, exist_ok=True)
                (outputs / name / "deep" / "weights").write_text(state)
            (outputs / "history.csv").write_text("former")
            (outputs / ".partial-history.csv").write_text("new")
    assert seen[0] == (["former", "former"], ["former", "former"])
    assert seen[-1] == (["new", "new"], ["new", "new"])
    assert {tuple(after) for _, after in seen} == {("former", "former"), ("new", "new")}
    assert ["new", "former"] in [between for between, _ in seen], (
        "no kill came between the two: the test proves nothing"
    )


def test_the_next_stage_finds_both_outputs(outputs):
    """Whatever stage it is: before it looks for its inputs, the guard moves what was left to move."""
    subprocess.run([sys.executable, "-c", PUBLISH, "3"], check=False)
    assert states(outputs) != ["new", "new"]
    with stage("lab", "other", inputs=[outputs / "model"], outputs=[outputs / "other.json"]) as (file,):
        assert states(outputs) == ["new", "new"]
        file.touch()


def test_what_a_running_stage_publishes_is_left_to_it(outputs):
    """Its lock is taken: nobody else moves anything."""
    subprocess.run([sys.executable, "-c", PUBLISH, "2"], check=False)
    note = outputs.parent / ".cnnkeras" / "publishing" / "train@a.json"
    assert note.is_file()
    with paths.lock("train@a").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        publishing.finish_others()
        assert note.is_file()
    publishing.finish_others()
    assert states(outputs) == ["new", "new"]
    assert not note.exists()


def test_what_lies_beside_is_no_business_of_it(outputs):
    """Other stages write into the same folders meanwhile; a name that leads nowhere stands for a file that is gone in that moment."""
    (outputs / "gone").symlink_to(outputs / "nowhere")
    partials = [outputs / ".partial-model", outputs / ".partial-history.csv"]
    publishing.publish("train@a", dict(zip(partials, [outputs / "model", outputs / "history.csv"], strict=True)))
    assert states(outputs) == ["new", "new"]
