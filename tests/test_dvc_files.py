"""DVC's own files after a kill, and several commands at once: repaired and said so, or refused with who runs; with DVC itself."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import networkx
import pytest

from pipeline.commands import repro
from pipeline.commands.shares import Shares
from pipeline.commands.stage_lines import StageLines
from tests.test_dvc import REPRO, Project, forget, project, ran, reproduced, until  # noqa: F401 - two are fixtures

PLAN = (sys.executable, "-m", "pipeline.cli", "plan")
BEGINS = re.compile(r"^  \S+:$", re.MULTILINE)


def lines_of(text: str, stages: int) -> str:
    """The beginning of a dvc.lock, up to the end of so many records."""
    return text[: [match.start() for match in BEGINS.finditer(text)][stages]]


@pytest.mark.parametrize("left", ["", '{"write": {"/a/b": {"pid": 12', "[]"], ids=["empty", "cut", "no mapping"])
def test_a_damaged_list_of_readers_and_writers_is_removed(project, left):  # noqa: F811
    """DVC alone refuses every later command; `cnnkeras plan` says what it removed, and DVC goes on."""
    file = project.folder / ".dvc" / "tmp" / "rwlock"
    file.write_text(left)
    project.run("dvc", "repro", code=255)
    assert ".dvc/tmp/rwlock was damaged" in project.run(*PLAN)
    assert project.repro() == []


def test_a_list_that_names_another_program_is_removed(project):  # noqa: F811
    """The number of a DVC that was killed may be another process' today, for which DVC would wait for ever."""
    file = project.folder / ".dvc" / "tmp" / "rwlock"
    holder = {"pid": os.getpid(), "cmd": "dvc repro"}
    file.write_text(json.dumps({"write": {str(project.folder / "results/code"): holder}, "read": {}}))
    assert "is busy" in project.run("dvc", "repro", code=255)
    assert f"named process {os.getpid()}, which is no DVC" in project.run(*PLAN)
    assert project.repro() == []


def test_conflicts_of_a_merge_are_left_to_the_person(project):  # noqa: F811
    """They are no damage: nothing is put back."""
    lock = project.folder / "dvc.lock"
    project.run(*PLAN)
    text = f"<<<<<<< HEAD\n{lock.read_text()}=======\n{lock.read_text()}>>>>>>> other\n"
    lock.write_text(text)
    assert "a conflict of a merge" in project.run(*PLAN, code=2)
    assert lock.read_text() == text


def test_a_damaged_list_is_left_to_a_dvc_that_runs(project):  # noqa: F811
    """That DVC's entries are in it: the message names the process, and nothing is removed."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    dvc, _ = project.hold("postprocess@yolo")
    file = project.folder / ".dvc" / "tmp" / "rwlock"
    written = file.read_text()
    file.write_text(written[:10])
    assert f"process {dvc.pid} (`dvc repro postprocess@yolo`) runs" in project.run(*PLAN, code=2)
    assert file.read_text() == written[:10]
    file.write_text(written)
    (project.folder / "go").touch()
    _, message = dvc.communicate()
    assert dvc.returncode == 0, message


@pytest.mark.parametrize(
    "cut",
    [
        lambda _: "",
        lambda text: text[: len(text) // 2],
        lambda text: text[:-1],
        lambda text: lines_of(text, 5),
        lambda text: lines_of(text, 5) + "  predict@vgg:\n    cmd: exec cnnkeras predict vgg\n",
    ],
    ids=["empty", "half", "without its end", "between two records", "within a record"],
)
def test_a_damaged_lock_is_put_back(project, cut):  # noqa: F811
    """However it was cut: `cnnkeras plan` has it as it was, byte for byte, keeps the damaged one, and nothing runs."""
    file = project.folder / "dvc.lock"
    project.run(*PLAN)
    text = file.read_text()
    project.run("git", "commit", "--quiet", "--allow-empty", "--message", "Something else")
    file.write_text(cut(text))
    printed = project.run(*PLAN)
    assert "dvc.lock was damaged" in printed
    assert "nothing to do" in printed
    assert file.read_text() == text
    assert (project.folder / ".cnnkeras" / "dvc.lock.damaged").read_text() == cut(text)
    assert project.repro() == []


def test_what_the_copy_lacks_is_in_dvcs_cache(project):  # noqa: F811
    """The copy is of the last stage's start. That stage's record is lost, its work is not: DVC takes it from its cache."""
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    assert project.repro() == ["postprocess@yolo", "evaluate@yolo", "log@yolo"]
    lock = project.folder / "dvc.lock"
    before = lock.read_text()
    lock.write_text("")
    printed = project.run(*REPRO)
    assert "dvc.lock was damaged" in printed
    assert ran(printed) == []
    assert sorted(lock.read_text().splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize("has_git", [True, False])
def test_a_damaged_lock_without_a_copy(project, has_git):  # noqa: F811
    """Then git has it; without git it begins anew, and DVC's cache has all outputs but those of `download`, which are there still."""
    lock = project.folder / "dvc.lock"
    before = lock.read_text()
    (project.folder / ".cnnkeras" / "dvc.lock").unlink()
    if not has_git:
        shutil.rmtree(project.folder / ".git")
        project.run("dvc", "config", "--local", "core.no_scm", "true")
    lock.write_text(before[:100])
    printed = project.run(*REPRO)
    assert ("as git has it" if has_git else "empty, as there is no copy") in printed
    assert ran(printed) == ([] if has_git else ["download@scenes"])
    assert sorted(lock.read_text().splitlines()) == sorted(before.splitlines())


def test_an_earlier_lock_from_git_is_not_damaged(project):  # noqa: F811
    """Another branch's dvc.lock has fewer records and is left as it is."""
    lock = project.folder / "dvc.lock"
    project.run(*PLAN)
    shorter = lines_of(lock.read_text(), 12)
    lock.write_text(shorter)
    project.run("git", "commit", "--quiet", "--all", "--message", "Fewer results")
    assert "damaged" not in project.run(*PLAN)
    assert lock.read_text() == shorter


def test_the_locks_order_does_not_depend_on_the_number_of_jobs(project):  # noqa: F811
    """Three at a time and one after another give the same bytes."""
    texts = []
    for jobs in ("3", "1"):
        forget(project)
        project.run(*REPRO[:-1], jobs)
        texts.append((project.folder / "dvc.lock").read_text())
    assert texts[0] == texts[1]
    names = BEGINS.findall(texts[0])
    assert names[0] == "  check:"
    assert [name for name in names if "train" in name] == ["  train@vgg:", "  train@yolo_classifier:", "  train@yolo:"]


@pytest.mark.parametrize(("first", "named"), [(REPRO, "`cnnkeras repro`"), (("dvc", "repro"), "`dvc repro`")])
def test_a_second_repro_is_refused_with_who_runs(project, first, named):  # noqa: F811
    """The first ends as if it had been alone."""
    forget(project)
    running, _ = project.hold("train@vgg", first)
    assert f"received: process {running.pid} ({named})" in project.run(*REPRO, code=2)
    (project.folder / "go").touch()
    _, message = running.communicate()
    assert running.returncode == 0, message
    assert project.stale() == set()


def test_a_dvc_that_starts_later_does_not_hurt(project):  # noqa: F811
    """A plain `dvc repro` beside `cnnkeras repro` is refused by DVC, or runs; the first runs all to the end."""
    forget(project)
    running, _ = project.hold("train@vgg", ("sh", "-c", f"exec {shlex.join(REPRO)} >said 2>&1"))
    with subprocess.Popen(["dvc", "repro"], cwd=project.folder, env=project.environment) as second:
        until(
            lambda: (project.folder / "results/yolo/mlflow.json").is_file() or running.poll() is not None, seconds=300
        )
        (project.folder / "go").touch()
        running.communicate()
        second.wait()
    assert running.returncode == 0, (project.folder / "said").read_text()
    assert project.repro() == []


def test_keep_going_runs_all_that_does_not_depend_on_what_failed(project):  # noqa: F811
    """The exit code says that something failed; the last lines say what, and what was not run because of it."""
    recorded = forget(project)
    failing = Project(project.folder, {**project.environment, "FAIL": "train@yolo_classifier"})
    printed = failing.run(*REPRO, "--keep-going", code=255)
    after = [f"{stage}@yolo_classifier" for stage in ("predict", "postprocess", "evaluate", "log")]
    after += [f"{stage}@yolo" for stage in ("train", "predict", "postprocess", "evaluate", "log")]
    assert "failed: train@yolo_classifier\n" in printed
    last = re.search("not run because of that: (.*)", printed)[1].split(", ")
    assert sorted(last) == sorted(after)
    assert set(ran(printed)) == recorded["stages"].keys() - {"check", *after}
    assert set(project.repro_beside()) == {"train@yolo_classifier", *after}


def test_ctrl_c_leaves_no_file_of_dvcs_cut(project, monkeypatch):  # noqa: F811
    """DVC that is ended while it writes its list of readers and writers leaves it cut; the `cnnkeras repro` that Ctrl-C ends repairs it."""
    monkeypatch.chdir(project.folder)
    file = project.folder / ".dvc/tmp/rwlock"
    file.write_text("")
    with pytest.raises(KeyboardInterrupt), repro._repaired_after_signals():
        raise KeyboardInterrupt
    assert not file.exists()


@pytest.mark.parametrize(("first", "started"), [("log@a", {"log@a", "train@b"}), ("train@a", {"train@a"})])
def test_a_failure_of_the_view_stops_nothing(monkeypatch, tmp_path, first, started):
    """`log` only shows results: when it fails, what waits runs all the same; after any other failure it does not. One job at a time."""
    monkeypatch.chdir(tmp_path)
    program = f"import sys, pathlib; pathlib.Path(sys.argv[-1]).touch(); sys.exit(sys.argv[-1] == {first!r})"
    monkeypatch.setattr(repro, "_DVC", (sys.executable, "-c", program))
    parts = {name: repro.Chain((name,), frozenset(), depth, 0) for name, depth in ((first, 2), ("train@b", 1))}
    with StageLines(2) as lines:
        outcome = repro._run_chains(parts, 1, Shares(), set(), lines, keep_going=False)
    assert (outcome.code, outcome.failed) == (1, [first])
    assert {file.name for file in tmp_path.iterdir()} == started


def test_of_equally_deep_chains_the_one_that_much_had_to_run_before_begins_first(monkeypatch, tmp_path):
    """The figure of four trained models is the last thing that can begin, and shall not wait for measurements that could have run all the time."""
    monkeypatch.chdir(tmp_path)
    program = "import sys; open('began', 'a').write(sys.argv[-1] + ' ')"
    monkeypatch.setattr(repro, "_DVC", (sys.executable, "-c", program))
    graph = networkx.DiGraph([("train@a", "log@a"), ("train@a", "lab@of_a")])
    graph.add_nodes_from(["lab@alone", "lab@other"])
    with StageLines(5) as lines:
        repro._run_chains(repro.chains(graph), 1, Shares(), set(), lines, keep_going=False)
    assert (tmp_path / "began").read_text().split() == ["train@a", "lab@of_a", "log@a", "lab@alone", "lab@other"]


def test_the_plan_says_how_long_stages_took(project):  # noqa: F811
    """Each that ran here, and the sum: 95 s and 3 s; of the third nothing is known."""
    assert (project.folder / ".cnnkeras" / "durations" / "postprocess@yolo").is_file()
    for stage, seconds in (("postprocess@yolo", "95"), ("evaluate@yolo", "3.4"), ("log@yolo", "")):
        (project.folder / ".cnnkeras" / "durations" / stage).write_text(seconds)
    project.edit("params.yaml", "nms_iou: 0.5", "nms_iou: 0.4")
    printed = project.run(*PLAN)
    assert re.search(
        r"^postprocess@yolo +1 min 35 s  experiments\.yolo\.postprocess\.nms_iou: 0\.5 -> 0\.4$", printed, re.M
    )
    assert re.search(r"^evaluate@yolo +3 s  ", printed, re.M)
    assert re.search(r"^log@yolo +-  ", printed, re.M)
    assert printed.endswith(
        "3 stages; one after another they took 1 min 38 s last time, without 1 that never ran here\n"
    )


def test_values_that_dvc_did_not_compare_before_are_reasons(project):  # noqa: F811
    """dvc.yaml lists params of a stage that had none: `cnnkeras plan` names them, as everything that changed."""
    definition = project.folder / "dvc.yaml"
    text = definition.read_text()
    moved = "        params:\n          - sources.${key}\n"
    assert text.count(f"      meta:\n{moved}") == 1
    definition.write_text(
        text.replace(f"      meta:\n{moved}", "      params:\n        - sources.${key}\n      meta:\n")
    )
    assert "sources.scenes.kind: nothing -> digit_scenes" in project.plan()["download@scenes"]
