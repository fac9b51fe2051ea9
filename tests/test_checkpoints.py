"""Checkpoints: a training that was killed, refused or that failed goes on with the bits of a training in one go."""

import functools
import json
import random
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cnnkeras.training.state import State
from pipeline.formats import checkpoint
from pipeline.params import Checkpoint
from pipeline.runtime import paths
from pipeline.stages.train import checkpoints
from tests.killed_training import TRAIN, VARIABLES, outputs, position, train_and_kill, write_small_project
from tests.test_train_predict import finish, start


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    """The outputs of a training in one go, by its name and backend."""

    @functools.cache
    def trained(name: str, backend: str = "tensorflow") -> dict[str, str]:
        root = write_small_project(tmp_path_factory.mktemp("reference") / name, backend)
        finish(start(TRAIN, root, name, **VARIABLES[backend]))
        return outputs(root, name)

    return trained


@pytest.mark.parametrize(("backend", "seed"), [("tensorflow", 0), ("jax", 1)])
def test_kills_change_no_bit(reference, tmp_path, backend, seed):
    """SIGKILL at random moments: the model and the history are those of a training in one go, which goes on where it was."""
    root, moments = write_small_project(tmp_path / "project", backend), random.Random(seed)
    said = [train_and_kill(root, "whole", moments, **VARIABLES[backend]).said for _ in range(3)]
    where = position(root, "whole")
    errors = finish(start(TRAIN, root, "whole", **VARIABLES[backend]))[1]
    assert outputs(root, "whole") == reference("whole", backend)
    if where:  # a kill may come after the end
        epochs, steps = map(int, re.findall(r"\d+", where))
        assert f"train whole: goes on after {epochs} epochs and {steps} steps" in errors
        assert any(re.search(r"after \d epochs and [1-9]", text) for text in [*said, errors]), said
    assert not (root / ".cnnkeras/checkpoints/whole").exists()
    timings = json.loads((root / ".cnnkeras/timings/whole.json").read_text(encoding="utf-8"))
    assert len(timings["seconds_per_epoch"]) == len((root / "results/whole/history.csv").read_text().splitlines()) - 1


def stop_at(root: Path, name: str, wanted: str) -> None:
    """Kill a training when the state of this position, or a later one, was kept."""
    process = start(TRAIN, root, name)
    while position(root, name) < wanted:
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    process.kill()
    with process:
        process.communicate()


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_state_falls_back_to_the_one_before(reference, tmp_path, damage):
    """And says so; the result has the same bits."""
    root = write_small_project(tmp_path / "project")
    stop_at(root, "simple", "0000000-000000003")
    files = sorted(root.glob(".cnnkeras/checkpoints/simple/*/0*"))[-2:]
    content = bytearray(files[1].read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    files[1].write_bytes(content[:-9] if damage == "cut" else content)
    epochs, steps = map(int, re.findall(r"\d+", files[0].name))
    errors = finish(start(TRAIN, root, "simple"))[1]
    assert f"train simple: expected a whole checkpoint in {files[1].relative_to(root)}; received: " in errors
    assert f"train simple: goes on after {epochs} epochs and {steps} steps" in errors
    assert outputs(root, "simple") == reference("simple")


def test_what_was_before_a_kill_counts(tmp_path):
    """The times of earlier epochs are those that were kept with the state, whatever the file of times says; durations are sums."""
    root = write_small_project(tmp_path / "project")
    stop_at(root, "simple", "0000001-000000001")
    for file in root.glob(
        ".cnnkeras/checkpoints/simple/*/0*"
    ):  # as if it had been begun in 1970, and taken a thousand seconds since
        facts, arrays = checkpoint.read(file)
        over = {str(epoch + 1): 100.0 + epoch for epoch in range(facts["epoch"])}
        facts["past"]["elapsed"] += 1000
        facts["past"]["times"] = {"start": 10.0, "epochs": over, "end": None, "is_finished": False}
        checkpoint.write(file, facts, arrays)
    (times,) = root.glob(".cnnkeras/times/*.json")
    times.write_text(
        '{"start": 5000.0, "epochs": {}, "end": null, "is_finished": false}'
    )  # of a training of other code
    finish(start(TRAIN, root, "simple"))
    known = json.loads(times.read_text())
    assert (known["start"], known["epochs"]["1"], known["is_finished"]) == (10.0, 100.0, True)
    assert len(known["epochs"]) == 3
    assert known["end"] >= known["epochs"]["3"] > 1e9
    timings = json.loads((root / ".cnnkeras/timings/simple.json").read_text())
    assert 1000 < timings["seconds"] < 2000
    assert float((root / ".cnnkeras/durations/train@simple").read_text()) > 1000


KEYS = """
import os
from pathlib import Path
from pipeline.backend import devices
from pipeline.params import load_params
from pipeline.stages.train import checkpoints
from pipeline.stages.train.training import resolve
devices.import_keras()
file, index = Path("params.yaml"), Path("data/augmented/classification/index.json")
def show():
    params = load_params()
    print(checkpoints.key(params, resolve(params.repeats("simple")[0])))
show()
text = file.read_text()
for old, new in (("seed: 1", "seed: 2"), ("1, factor: 0.5", "1, factor: 0.6"), ("steps: 1}", "steps: 2}")):
    assert old in text
    file.write_text(text.replace(old, new))
    show()
index.touch()
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
show()
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
index.write_text(index.read_text().replace("nine", "dozen"))
show()
"""


def test_only_the_same_training_goes_on(tmp_path):
    """Another seed, rate, data, backend or variable of a backend has another key; the interval of checkpoints and a touch have not."""
    root = write_small_project(tmp_path / "project")
    params = (root / "params.yaml").read_text(encoding="utf-8")
    first, *others = finish(start(KEYS, root))[0].split()
    assert others.pop(2) == first  # the interval
    (root / "params.yaml").write_text(params.replace("backend: tensorflow", "backend: jax"), encoding="utf-8")
    others.append(finish(start(KEYS, root, **VARIABLES["jax"]))[0].split()[0])
    assert len({first, *others}) == 6


def test_an_undone_edit_goes_on(reference, tmp_path):
    """The states of the training before the last one are kept; those of others are not found."""
    root = write_small_project(tmp_path / "project")
    stop_at(root, "simple", "0000001-000000000")
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("seed: 1\n", "seed: 2\n"), encoding="utf-8")
    stop_at(root, "simple", "0000001-000000001")
    assert len(list((root / ".cnnkeras/checkpoints/simple").iterdir())) == 2
    (root / "params.yaml").write_text(params, encoding="utf-8")
    errors = finish(start(TRAIN, root, "simple"))[1]
    assert re.search(r"train simple: goes on after [12] epochs", errors)
    assert outputs(root, "simple") == reference("simple")


def test_an_edit_is_refused_at_the_next_epoch_and_costs_nothing(reference, tmp_path):
    """A touch is no edit; what is refused goes on when the edit is undone, and nothing was published."""
    root = write_small_project(tmp_path / "project")
    code = Path(paths.__file__)
    script = TRAIN.replace(
        "try:",
        "from pathlib import Path\n"
        "from cnnkeras.training import loop\n"
        "whole, params = loop.Loop._train_epoch, Path('params.yaml')\n"
        "def edited(self):\n"
        "    whole(self)\n"
        "    print(self.progress.epoch, flush=True)\n"
        f"    Path({str(code)!r}).touch()\n"
        "    params.touch()\n"
        "    if self.progress.epoch == 2:\n"
        "        params.write_text(params.read_text().replace('every_epochs: 1,', 'every_epochs: 2,'))\n"
        "loop.Loop._train_epoch = edited\n"
        "try:",
    )
    process = start(script, root, "simple")
    with process:
        printed, errors = process.communicate()
    assert process.returncode == 1
    assert (
        "refused: train@simple: expected params.yaml, code and inputs to stay as they were while the stage ran; received: params.yaml"
        in errors
    )
    assert printed.split() == ["1", "2"]
    assert outputs(root, "simple") == {}
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(text.replace("every_epochs: 2,", "every_epochs: 1,"), encoding="utf-8")
    errors = finish(start(TRAIN, root, "simple"))[1]
    assert "train simple: goes on after 2 epochs and 0 steps" in errors
    assert outputs(root, "simple") == reference("simple")


def test_states_are_kept_as_often_as_was_asked_and_saving_takes_a_hundredth(project, monkeypatch):  # noqa: ARG001
    """By minutes or by steps, whichever comes first; at an epoch's end, and by minutes, while saving takes less than a hundredth."""
    now = 0.0
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now)
    write = checkpoint.write

    def slowly(*arguments):
        nonlocal now
        now += 7.0
        write(*arguments)

    monkeypatch.setattr(checkpoint, "write", slowly)
    folder = paths.checkpoints("yolo") / "key"

    def kept(**every: float) -> checkpoints.Checkpoints:
        return checkpoints.Checkpoints("train yolo", folder, Checkpoint(**every), list)

    def state(step: int) -> State:
        return State(0, step, (), (np.zeros(3, np.float32),))

    by_minutes = kept()
    assert by_minutes.is_due(0, ends_epoch=True)
    by_minutes.save(
        state(1)
    )  # took 7 s, so that the next one is 700 s later: five minutes would be more than a hundredth
    now = 7.0 + 699
    assert not by_minutes.is_due(1000, ends_epoch=False)
    assert by_minutes.is_due(1000, ends_epoch=True)
    now = 7.0 + 701
    assert by_minutes.is_due(1000, ends_epoch=False)
    by_steps = kept(steps=10)
    by_steps.save(state(2))
    assert not by_steps.is_due(9, ends_epoch=False)
    assert not by_steps.is_due(9, ends_epoch=True)
    assert by_steps.is_due(10, ends_epoch=False)
    by_steps.save(state(3))
    assert not by_steps.is_due(19, ends_epoch=False)
    assert by_steps.is_due(20, ends_epoch=False)
    assert [file.name for file in sorted(folder.iterdir())] == [
        "0000000-000000002.checkpoint",
        "0000000-000000003.checkpoint",
    ]
    assert by_steps.load().step == 3
    checkpoints.forget("yolo")
    assert not paths.checkpoints("yolo").exists()


def test_a_file_holds_what_was_written_and_nothing_else(tmp_path):
    """Arrays of any shape and type, and floats, exactly; any bit that differs is noticed, in any place of the file."""
    arrays = {
        "variables": [np.float32([[1.5, np.nan]]), np.array(7, np.int64), np.zeros((0, 3), np.uint32)],
        "best": [np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))],
    }
    facts = {"epoch": 3, "logs": [{"loss": 0.1 + 0.2}]}
    path = tmp_path / "folder" / "a.checkpoint"
    checkpoint.write(path, facts, arrays)
    read_facts, read_arrays = checkpoint.read(path)
    assert read_facts == facts
    for name, values in arrays.items():
        for value, expected in zip(read_arrays[name], values, strict=True):
            assert value.dtype == expected.dtype
            np.testing.assert_array_equal(value, expected)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        if content[place : place + 1] != b"\n" or place > 64:  # what ends a line may be another blank
            with pytest.raises(ValueError, match="expected content with the SHA-256"):
                checkpoint.read(path)
        path.write_bytes(content[:place])
        with pytest.raises(ValueError, match="expected content with the SHA-256"):
            checkpoint.read(path)
    assert list(path.parent.iterdir()) == [path]
