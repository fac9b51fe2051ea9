"""What a stage shows of its progress, and `cnnkeras repro` of the stages that run."""

import io
import json
import re
import sys

import pytest

from pipeline.commands.stage_lines import StageLines
from pipeline.params import load_params
from pipeline.runtime import outcome, paths, progress
from pipeline.runtime.progress import RECORD, RECORDS, Task, live_lines
from pipeline.stages import train
from pipeline.stages.train.watch import Watch

FACTS = [
    "epoch 2/4",
    "loss 0.412",
    "val_loss 0.42",
    "top1_accuracy 0.91",
    "val_top1_accuracy 0.9",
    "learning_rate 0.002",
]


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def trained(clock, description="train yolo", facts=()):
    """A task of 500 steps that has done 246 of them, 4 a second."""
    task = Task(description)
    task.begin(200)
    clock[0] += 60  # of compilation
    task.move(206, total=500, facts=(), unit="steps")
    clock[0] += 10
    task.move(246, total=500, facts=facts, unit="steps")
    return task


def test_rate_and_time_left_are_those_of_the_last_half_minute(clock):
    """40 steps in 10 s are 4 a second, which leave 254 / 4 = 63.5 s; what an earlier run did is no part of it."""
    assert trained(clock).numbers == ["246/500 steps", "4 steps/s", "1 min 4 s left"]
    task = Task("slow, then fast")
    for second in range(1, 101):  # one unit a second for 50 s, then ten
        clock[0] += 1
        task.move(min(second, 50) + 10 * max(second - 50, 0), total=1000, facts=(), unit="units")
    assert task.rate == pytest.approx(10)


def test_what_is_over_says_how_long_it_took(clock):
    """In place of the time left."""
    task = trained(clock)
    clock[0] += 60
    task.move(500, total=500, facts=(), unit="steps")
    assert task.numbers[-1] == "in 2 min 10 s"


@pytest.mark.parametrize("width", [20, 40, 80, 100, 200])
@pytest.mark.parametrize("description", ["train yolo", "train " + "a_long_name" * 4])
def test_nothing_is_cut(clock, width, description):
    """At any width each word is whole, in its order, unless it is longer than a line itself; no line is wider than the terminal."""
    lines = live_lines(trained(clock, description, FACTS), width)
    assert all(len(line) <= width for line in lines)
    shown = re.sub(r"[━─]+", "", "".join(line.replace(" ", "") for line in lines))
    words = [description, "246/500 steps", "4 steps/s", "1 min 4 s left", *FACTS]
    assert shown == "".join(words).replace(" ", "")
    for word in words:
        assert len(word) > width - 2 or any(word in line for line in lines)


@pytest.mark.parametrize("width", range(60, 200, 7))
def test_of_one_line_whole_facts_are_left_out(clock, width):
    """The last ones first: the learning rate before an accuracy."""
    (line,) = live_lines(trained(clock, facts=FACTS), width, max_lines=1)
    assert len(line) <= width
    shown = [fact for fact in FACTS if fact in re.split(r"  +", line)]
    assert shown == FACTS[: len(shown)]
    assert len(re.split(r"  +", re.sub(r"  [━─]+", "", line))) == 4 + len(shown), "nothing else, and no part of a fact"


def test_a_bar_is_as_full_as_the_task_is_done(clock):
    """20 characters, of which 246/500 are 9."""
    assert "  " + "━" * 9 + "─" * 11 + "  " in live_lines(trained(clock), 200)[0]


def test_a_training_shows_accuracies_before_the_learning_rate(tmp_path, capsys, clock):
    """Losses, then each metric with the one of the validation beside it."""
    with progress.bar("train yolo", 4, unit="steps") as bar:
        watch = Watch(tmp_path / "history.csv", bar, lambda _epoch: None, steps=2, epochs=2)
        clock[0] += 11
        logs = {"learning_rate": 0.1, "val_top1": 0.5, "loss": 2.0, "top1": 0.25, "val_loss": 3.0, "accuracy": 0.125}
        watch.on_step(0, logs)
    shown = "epoch 1/2, loss 2, val_loss 3, accuracy 0.125, top1 0.25, val_top1 0.5, learning_rate 0.1"
    assert capsys.readouterr().err == f"train yolo: 1/4 steps, {shown}\n"


def test_elsewhere_a_plain_line_comes_every_ten_seconds_and_at_the_end(capsys, clock, monkeypatch):
    """Whatever asks for colours: a file is no terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress.bar("download", 3_000_000, unit=progress.BYTES) as bar:
        for done in range(0, 3_100_000, 100_000):
            clock[0] += 0.5
            bar.update(done)
    assert capsys.readouterr().err.splitlines() == [
        "download: 1.9 MB/3.0 MB, 200.0 kB/s, 6 s left",
        "download: 3.0 MB/3.0 MB, 200.0 kB/s, in 16 s",
    ]


class Terminal(io.StringIO):
    """A terminal that keeps all that is written to it."""

    def isatty(self) -> bool:
        """Always."""
        return True


DVC = [
    "Running stage 'check':",
    "> exec cnnkeras check",
    "Updating lock file 'dvc.lock'",
    "",
    "Running stage 'train@yolo':",
    "> exec cnnkeras train yolo",
    "train yolo: 4 epochs in 1 min -> results/yolo/model",
    "Updating lock file 'dvc.lock'",
    "Stage 'predict@yolo' didn't change, skipping",
    "Stage 'evaluate@yolo' is cached - skipping run, checking out outputs",
    "Use `dvc push` to send your updates to remote storage.",
]
SAID = [
    "train yolo: 4 epochs in 1 min -> results/yolo/model",
    "predict@yolo is up to date",
    "evaluate@yolo taken from DVC's cache",
]


@pytest.mark.usefixtures("project")
def test_elsewhere_each_line_has_the_number_of_its_stage(capsys):
    """DVC's own words are left out; a chain that DVC looks at again is not counted again."""
    with StageLines(12) as lines:
        for line in [*DVC, *DVC[8:]]:
            lines.read("chain", line)
        lines.read("rest", "Stage 'log@yolo' didn't change, skipping", shows_passed=False)
        lines.read("rest", "Data and pipelines are up to date.", shows_passed=False)
    numbers = ["[ 1/12] ", "[ 2/12] ", "[ 3/12] "]
    expected = ["[ 1/12] train@yolo", *(number + said for number, said in zip(numbers, SAID, strict=True))]
    assert capsys.readouterr().out.splitlines() == expected
    assert lines.begun == 3
    assert lines.environment == {}


@pytest.mark.usefixtures("project")
def test_in_a_terminal_each_running_stage_has_a_line(monkeypatch):
    """Drawn from the stage's records, and gone at the end; what was said stays."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with StageLines(12) as lines:
        assert lines.environment == {RECORDS: "1"}
        lines.read("chain", "Running stage 'train@yolo':")
        lines.read("other", "Running stage 'download@scenes':")
        record = {"description": "train yolo", "total": 500, "unit": "steps", "done": 246, "facts": ["epoch 2/4"]}
        lines.read("chain", RECORD + json.dumps(record))
        lines.read("chain", RECORD + json.dumps(record)[:20])  # cut by a kill
        lines.read("other", f"half a line{RECORD}" + json.dumps(record | {"description": "scenes.tgz"}))
        first, second = str(lines._lines()).splitlines()
        lines.read("chain", "train yolo: 4 epochs -> results/yolo/model")
        lines.end("chain")
    assert re.fullmatch(r"\[ 1/12\] train yolo  ━+─+  246/500 steps  epoch 2/4", first)
    assert re.fullmatch(r"\[ 2/12\] download scenes  scenes.tgz  ━+─+  246/500 steps", second)
    written = terminal.getvalue()
    assert "[ 1/12] train yolo: 4 epochs -> results/yolo/model" in written
    assert "[ 2/12] half a line" in written
    assert RECORD not in written
    assert written.rstrip("\x1b[?25h").endswith("\x1b[2K")


def test_a_stage_that_is_asked_for_records_writes_them(capsys, clock, monkeypatch):
    """One line each, at most five a second, and the last one."""
    monkeypatch.setenv(RECORDS, "1")
    with progress.bar("train yolo", 100, unit="steps") as bar:
        for done in range(1, 101):
            clock[0] += 1 / 64
            bar.update(done, "loss 1")
    *written, end = capsys.readouterr().err.split("\n")
    assert end == ""
    assert [progress.read_record(line)["done"] for line in written] == [13, 26, 39, 52, 65, 78, 91, 100]
    assert progress.read_record(written[-1]) == {
        "description": "train yolo",
        "total": 100,
        "unit": "steps",
        "done": 100,
        "facts": ["loss 1"],
    }


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("", "2 epochs in 1 min 5 s, val_loss 3, val_top1_accuracy 0.5"),
        ("keep: best, ", "2 epochs in 1 min 5 s, the best is 1, val_loss 2, val_top1_accuracy 0.25"),
    ],
)
def test_a_training_ends_with_the_numbers_of_the_model_that_it_leaves(project, capsys, keep, said):
    """Those of the validation after the epoch whose weights are kept; and where the model is."""
    project.edit("train:\n      epochs: 1\n", f"train:\n      <<: {{{keep}epochs: 2}}\n")
    paths.history("crops").parent.mkdir(parents=True, exist_ok=True)
    paths.history("crops").write_text("epoch,loss,val_loss,val_top1_accuracy\n1,5,2,0.25\n2,4,3,0.5\n")
    outcome.say("train", "crops", train._result(load_params().repeats("crops"), 65), paths.model_folder("crops"))
    assert capsys.readouterr().out == f"train crops: {said} -> results/crops/model\n"
