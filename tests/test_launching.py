"""Stages that launch.yaml has something else start: by echo, by a stand-in for a container, by a real SLURM. No lock and no byte changes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.backend import gpus
from pipeline.commands import repro
from pipeline.runtime import definition
from tests import slurm
from tests.copied_project import copy_project
from tests.torture.place import Place, must
from tests.tracked_project import environment, until

CLI = (sys.executable, "-m", "pipeline.cli")
SIGNALS = """\
seed: 1
checkpoint: {steps: 20}
sources:
  signals: {kind: mnist1d, validation_examples: 400}
datasets:
  signals: {source: signals, task: classification, size: [40]}
experiments:
  plain: &plain
    dataset: signals
    architecture: mnist1d_conv
    model: {}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 30
      batch_size: 100
      optimizer: {name: sgd, learning_rate: 0.05}
      schedule: {name: constant}
      threads: 1
      initial_weights: {experiment: scratch}
    predict: {batch_size: 100}
    postprocess: {top_k: 2}
    evaluate: {images: 2}
  wide:
    <<: *plain
    architecture: mnist1d_fc
"""
# As a container or another host: none of the environment, and a process whose parent is not DVC.
ELSEWHERE = """\
#!/bin/sh
echo "$@" >> elsewhere.log
env -i PATH="$PATH" HOME="$HOME" PYTHONPATH="$PYTHONPATH" setsid --wait "$@"
"""


def command(*arguments: str, **variables: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command of ours in the current folder."""
    ended = subprocess.run(
        [*CLI, *arguments], env=environment(variables), capture_output=True, text=True, check=False, timeout=120
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_stage_becomes_what_its_launcher_starts(project):
    """With its options and this project's variables; that of the entry comes before that of the stage, and null is here."""
    assert project.params.is_file()
    Path("launch.yaml").write_text("train: echo every --gpus=1\ntrain@boxes: echo 'this one'\ntrain@masks: null\n")
    every = "every --gpus=1 env CNNKERAS_LAUNCHED=train@crops cnnkeras train crops --workers 2\n"
    assert command("train", "crops", "--workers", "2", CNNKERAS_CORE="1") == (0, every, "")
    own = "this one env CNNKERAS_LAUNCHED=train@boxes DVC_STAGE=train@boxes cnnkeras train --workers 2 boxes\n"
    assert command("train", "--workers", "2", "boxes", DVC_STAGE="train@boxes") == (0, own, "")
    for arguments, variables in ((("train", "masks"), {}), (("train", "crops"), {"CNNKERAS_LAUNCHED": "train@crops"})):
        code, output, errors = command(*arguments, **variables)
        assert (code, output) == (2, "")
        assert f"{arguments[0]}@{arguments[1]}: expected data/augmented/" in errors
    assert command("train", "--help")[1].startswith("Usage")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- srun\n", "expected stages with launchers, such as `train: srun --gpus=1`; received: ['srun']"),
        ("trian: srun\n", "unknown stage 'trian'; did you mean 'train'?"),
        ("check: srun\n", "unknown stage 'check'"),
        ("train@croqs: srun\n", "unknown stage 'train@croqs'; did you mean 'train@crops'?"),
        (
            "train: [srun, -n1]\n",
            "train: expected a command, such as `srun --gpus=1`, or null; received: ['srun', '-n1']",
        ),
        ('train: ""\n', "train: expected a command, such as `srun --gpus=1`, or null; received: ''"),
        ("train: echo 'one\n", 'train: expected a command, such as `srun --gpus=1`, or null; received: "echo \'one"'),
        ("train: no-such-program -n1\n", "train: expected a program that is installed; received: no-such-program."),
        ("train: [\n", "expected valid YAML; received: "),
    ],
)
def test_a_wrong_launcher_is_one_line(project, text, message):
    """Before the stage starts, and before `cnnkeras repro` starts anything."""
    assert project.params.is_file()
    Path("launch.yaml").write_text(text)
    code, output, errors = command("train", "crops")
    assert (code, output) == (2, "")
    assert errors.startswith(f"Error: launch.yaml: {message}")
    assert errors.count("\n") == 1


def test_a_launcher_that_starts_several_is_refused(project):
    """A stage is one process: the second one would only find the first one's lock."""
    assert project.params.is_file()
    code, _, errors = command("train", "crops", CNNKERAS_LAUNCHED="train@crops", SLURM_STEP_NUM_TASKS="2")
    assert code == 2
    assert errors.startswith(
        "Error: train@crops: expected a launcher that starts one process; received: SLURM_STEP_NUM_TASKS=2."
    )


def test_a_launched_training_takes_no_gpu_of_this_machine(project, monkeypatch):
    """It waits for none, and none is named to it."""
    values = definition.read_yaml(project.params)
    monkeypatch.setattr(gpus, "separate", lambda _backend: ["0"])
    Path("launch.yaml").write_text("train: echo\npredict@crops: echo\n")
    _, shares = repro._shares(4, values)
    assert shares.on_gpus == {f"predict@{name}" for name in ("signals", "boxes", "masks")}
    first = shares.take("first", ["predict@boxes"])
    assert first["CUDA_VISIBLE_DEVICES"] == "0"
    assert (shares.has(["train@crops"]), shares.has(["predict@masks"])) == (True, False)
    assert "CUDA_VISIBLE_DEVICES" not in shares.take("second", ["train@crops"])


def test_a_launcher_ends_with_dvc(project, tmp_path):
    """SIGKILL to DVC: the launcher gets SIGTERM, to hand on."""
    assert project.params.is_file()
    script = tmp_path / "launcher"
    script.write_text("#!/bin/sh\ntrap 'touch ended; exit 143' TERM\ntouch begun\nwhile :; do sleep 0.1; done\n")
    script.chmod(0o755)
    Path("launch.yaml").write_text(f"train: {script}\n")
    dvc = f"import subprocess; subprocess.run({[*CLI, 'train', 'crops']!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", dvc], env=environment({"DVC_STAGE": "train@crops"}), start_new_session=True
    )
    try:
        until(Path("begun").exists, seconds=60)
        process.kill()
        process.wait()
        until(Path("ended").exists, seconds=30)
    finally:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A project whose data are ready, and in which nothing was trained."""
    folder = tmp_path_factory.mktemp("home") / "project"
    copy_project(folder, SIGNALS)
    place = Place(folder)
    for arguments in (("git", "init", "--quiet"), ("git", "add", "--all"), ("dvc", "repro", "download@signals")):
        must(place, *arguments)
    yield place
    assert place.orphans(60) == []


def lock(place: Place) -> dict:
    return YAML(typ="safe").load(place.folder / "dvc.lock")


def test_elsewhere_the_result_and_the_lock_are_those_of_here(home, tmp_path):
    """Through a launcher that hands on no environment and is no child of DVC; git does not see launch.yaml."""
    there = home.copy(tmp_path / "project")
    (there.folder / "elsewhere").write_text(ELSEWHERE)
    (there.folder / "elsewhere").chmod(0o755)
    (there.folder / "launch.yaml").write_text("augment: ./elsewhere\n")
    for place in (home, there):
        must(place, "dvc", "repro", "augment@signals")
    assert (there.folder / "elsewhere.log").read_text().splitlines() == [
        "env CNNKERAS_LAUNCHED=augment@signals DVC_STAGE=augment@signals cnnkeras augment signals"
    ]
    assert there.results() == home.results()
    assert lock(there) == lock(home)
    assert "launch.yaml" not in must(there, "git", "status", "--porcelain", "--untracked-files=all")
    assert must(there, "cnnkeras", "plan") == must(home, "cnnkeras", "plan")


@pytest.mark.slurm
@pytest.mark.skipif(bool(slurm.why_not()), reason=slurm.why_not())
def test_trainings_on_a_cluster_have_the_bytes_of_those_here(home, tmp_path):
    """Two trainings are queued to a real SLURM; one is cancelled, one loses its DVC. They go on, and results and lock are those of home."""
    there = home.copy(tmp_path / "project")
    srun = "srun --ntasks=1 --cpus-per-task=1 --job-name"
    (there.folder / "launch.yaml").write_text(f"train@plain: {srun}=plain\ntrain@wide: {srun}=wide\n")
    trainings = ("dvc", "repro", "train@plain", "train@wide")
    with slurm.running() as variables:
        process = there.start("cnnkeras", "repro", "--jobs", "2", **variables)
        until(lambda: {"plain", "wide"} <= slurm.jobs(variables).keys(), seconds=300)
        wait_for_states(there, "plain", 2)
        subprocess.run(["scancel", slurm.jobs(variables)["plain"]], env={**os.environ, **variables}, check=True)
        assert process.wait(300) != 0
        assert "failed: train@plain" in there.said()

        process = there.start("dvc", "repro", "train@plain", **variables)
        until(lambda: "train plain: goes on after" in there.said(), seconds=300)
        wait_for_states(there, "plain", 2)
        process.terminate()
        process.wait(60)
        until(lambda: not slurm.jobs(variables), seconds=60)

        code, said = there.run(*trainings, **variables)
        assert code == 0, said
        assert "train plain: goes on after" in said
        assert not there.half_written()
    must(home, *trainings)
    names = [name for name in there.results() if name.startswith(("results/plain/model", "results/plain/history"))]
    assert len(names) == 2
    assert {name: there.results()[name] for name in names} == {name: home.results()[name] for name in names}
    assert lock(there)["stages"]["train@plain"] == lock(home)["stages"]["train@plain"]


def wait_for_states(place: Place, name: str, count: int) -> None:
    """Until a training has kept so many more states."""
    seen: set[str] = set()
    before = {file.name for file in place.folder.glob(f".cnnkeras/checkpoints/{name}/*/0*")}
    deadline = time.monotonic() + 300
    while len(seen) < count:
        seen |= {file.name for file in place.folder.glob(f".cnnkeras/checkpoints/{name}/*/0*")} - before
        assert time.monotonic() < deadline, place.said()
        time.sleep(0.01)
