"""Experiments with several seeds: every model has the bits of a training with its seed alone, and one that fails costs no other."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest

from pipeline.commands.report.results import with_deviation
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.runtime.workers import call_in_child
from pipeline.tracking import store as tracking
from tests.test_train_predict import REPOSITORY, write_project

# MLflow's own, where its store is loaded.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

EXPERIMENT = """\
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 20, val: 5, test: 7}}
datasets:
  classification: {source: scenes, task: classification, size: [32, 32], examples: objects}
experiments:
  digits:
    dataset: classification
    architecture: mnist_conv
    model: {dropout: 0.5}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 3
      batch_size: 4
      optimizer: {name: sgd, learning_rate: 0.01}
      schedule: {name: constant}
      augmentation: [{HorizontalFlip: {p: 0.5}}]
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
    seeds: [4, 2, 9]
"""
STAGES = ("train", "predict", "postprocess", "evaluate")


def command(root: Path, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    program = [sys.executable, "-c", "from pipeline.cli import main; main()", *arguments]
    return subprocess.run(program, cwd=root, env=environment, capture_output=True, text=True, timeout=timeout)


def succeed(root: Path, *arguments: str) -> str:
    ended = command(root, *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def set_up(root: Path, text: str = EXPERIMENT) -> Path:
    write_project(root)
    (root / "params.yaml").write_text(text, encoding="utf-8")
    report = root / "results/datasets/classification"
    report.mkdir(parents=True)
    (report / "report.json").write_text("{}", encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose experiment with three seeds went through all stages but `log`."""
    root = set_up(tmp_path_factory.mktemp("seeds") / "project")
    for stage in STAGES:
        succeed(root, stage, "digits")
    return root


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    return shutil.copytree(done, tmp_path / "project")


def model(root: Path, seed: int, *, first: int = 4) -> bytes:
    return (root / "results/digits/model" / ("" if seed == first else f"seed-{seed}") / "model.keras").read_bytes()


def metrics(root: Path) -> dict:
    return json.loads((root / "results/digits/metrics.json").read_text(encoding="utf-8"))


def test_each_has_the_bits_of_its_seed_alone(done, tmp_path):
    text = EXPERIMENT.replace("    seeds: [4, 2, 9]\n", "").replace("epochs: 3", "epochs: 3\n      seed: 2")
    alone = set_up(tmp_path / "alone", text)
    for stage in STAGES:
        succeed(alone, stage, "digits")
    assert model(done, 2) == model(alone, 2, first=2)
    assert len({model(done, seed) for seed in (4, 2, 9)}) == 3
    history = Path("results/digits/model/seed-2/history.csv")
    assert (done / history).read_text() == (alone / "results/digits/history.csv").read_text()
    outputs = np.load(done / "results/digits/outputs/seed-2/outputs.npy")
    np.testing.assert_array_equal(outputs, np.load(alone / "results/digits/outputs/outputs.npy"))
    single = metrics(alone)
    (figures,) = (row for row in metrics(done)["seeds"] if row["seed"] == 2)
    assert figures == {"seed": 2, **{key: single[key] for key in figures if key != "seed"}}
    assert "top1_accuracy" in figures


def test_means_and_deviations(done):
    found = metrics(done)
    seeds, (deviations,) = found["seeds"], found["standard_deviation"]
    assert [row["seed"] for row in seeds] == [4, 2, 9]
    for key, deviation in deviations.items():
        values = [row[key] for row in seeds]
        mean = sum(values) / 3
        assert found[key] == pytest.approx(mean, abs=2e-6)
        assert deviation == pytest.approx((sum((value - mean) ** 2 for value in values) / 2) ** 0.5, abs=2e-6)
    assert "seeds 4, 2, 9" in found["conditions"][-1]


def test_report_shows_mean_deviation_and_each(done):
    printed, found = succeed(done, "report"), metrics(done)
    mean, deviation = found["top1_accuracy"], found["standard_deviation"][0]["top1_accuracy"]
    page = (done / "results/README.md").read_text(encoding="utf-8")
    for text in (printed, page):
        assert f"top1_accuracy {with_deviation(mean, deviation)}" in text
    each = ", ".join(f"{row['top1_accuracy']:.3f}" for row in found["seeds"])
    assert f"3 trainings, seeds 4, 2, 9: {each}" in page


def test_mlflow_has_a_parent_and_a_child_for_each_seed(copy, empty_store, monkeypatch):
    shutil.copy(empty_store, copy / "mlflow.db")
    for _ in range(2):  # the second time it adds nothing
        succeed(copy, "log", "digits")
    monkeypatch.chdir(copy)
    with tracking.exclusive():
        store = tracking.Store()
    client = mlflow.MlflowClient(store.uri)
    runs = client.search_runs([store.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if run not in parents]
    found = metrics(copy)
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert len(parents) == 1
    assert parents[0].data.metrics["top1_accuracy"] == found["top1_accuracy"]
    assert parents[0].data.metrics["top1_accuracy_std"] == found["standard_deviation"][0]["top1_accuracy"]
    by_seed = {str(row["seed"]): row for row in found["seeds"]}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    for run in children:
        seed = run.data.params["train.seed"]
        assert run.data.metrics["top1_accuracy"] == by_seed[seed]["top1_accuracy"]
        assert len(client.get_metric_history(run.info.run_id, "training/loss")) == 3
        assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["history.csv"]
    models = client.search_logged_models([store.experiment_id])
    assert {logged.source_run_id for logged in models} == {run.info.run_id for run in children}
    assert parents[0].info.start_time == min(run.info.start_time for run in children)
    succeed(copy, "promote", "digits")
    version = client.get_model_version_by_alias("digits", "champion")
    (first,) = (run for run in children if run.data.params["train.seed"] == "4")
    assert version.run_id == first.info.run_id


def test_a_further_seed_trains_one_model(copy):
    params = copy / "params.yaml"
    params.write_text(EXPERIMENT.replace("[4, 2, 9]", "[4, 5, 9]"), encoding="utf-8")
    before = {seed: model(copy, seed) for seed in (4, 9)}
    shutil.rmtree(copy / "results/digits/model")  # as DVC does before a stage
    said = succeed(copy, "train", "digits")
    assert re.findall(r"train digits, seed (\d): trained already", said) == ["4", "9"]
    assert {seed: model(copy, seed) for seed in (4, 9)} == before
    assert (copy / "results/digits/model/seed-5/model.keras").is_file()
    assert not (copy / "results/digits/model/seed-2").exists()
    assert len(list((copy / ".cnnkeras/trained/digits").iterdir())) == 3  # that of seed 2 is gone


def test_other_settings_or_a_changed_file_train_again(copy):
    kept = sorted((copy / ".cnnkeras/trained/digits").glob("*/model.keras"))
    content = bytearray(kept[0].read_bytes())
    content[len(content) // 2] ^= 1
    kept[0].unlink()  # a link to what was published
    kept[0].write_bytes(content)
    before = {seed: model(copy, seed) for seed in (4, 2, 9)}
    said = succeed(copy, "train", "digits")
    assert len(re.findall("trained already", said)) == 2
    assert {seed: model(copy, seed) for seed in (4, 2, 9)} == before
    (copy / "params.yaml").write_text(EXPERIMENT.replace("epochs: 3", "epochs: 2"), encoding="utf-8")
    assert "trained already" not in succeed(copy, "train", "digits")


FAIL = """
import sys
from pipeline.runtime.errors import InputError
from pipeline.stages import train
from pipeline.stages.train import several
genuine = train._train
def failing(repeat, *arguments, **options):
    if repeat.seed == 2:
        raise InputError("the loss became NaN")
    return genuine(repeat, *arguments, **options)
train._train = failing
try:
    train.run("digits", workers=1)
except InputError as error:
    sys.exit(f"refused: {error}")
"""


def test_one_that_fails_loses_no_other(done, tmp_path):
    root = set_up(tmp_path / "project")
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", FAIL], cwd=root, env=environment, capture_output=True, text=True)
    assert (
        "refused: train digits: expected 3 trainings to end well; received: 2. with seed 2: the loss became NaN"
        in ended.stderr
    )
    assert not (root / "results/digits/model").exists()
    said = succeed(root, "train", "digits")
    assert re.findall(r"seed (\d): trained already", said) == ["4", "9"]
    assert {seed: model(root, seed) for seed in (4, 2, 9)} == {seed: model(done, seed) for seed in (4, 2, 9)}


def test_a_kill_loses_neither_what_was_trained_nor_the_place(done, tmp_path):
    """The second training is killed: the first is kept, and the second goes on from its state."""
    root = set_up(tmp_path / "project", "checkpoint: {steps: 1}\n" + EXPERIMENT)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    program = [sys.executable, "-c", "from pipeline.cli import main; main()", "train", "digits"]
    process = subprocess.Popen(program, cwd=root, env=environment, stderr=subprocess.DEVNULL)
    while not list(root.glob(".cnnkeras/checkpoints/digits-seed-2/*/0000001-*")):
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    said = succeed(root, "train", "digits")
    assert re.findall(r"seed (\d): trained already", said) == ["4"]
    assert "train digits, seed 2: goes on after" in said
    assert {seed: model(root, seed) for seed in (4, 2, 9)} == {seed: model(done, seed) for seed in (4, 2, 9)}
    assert not list(root.glob(".cnnkeras/checkpoints/*"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[4, 2, 9]", "[4, 2, 4]", "experiments.digits.seeds: expected different seeds; received: [4, 2, 4]"),
        ("[4, 2, 9]", "[4]", "experiments.digits.seeds: "),
        ("[4, 2, 9]", "[4, -1]", "expected a seed from 0 to 4294967295; received: -1"),
        ("epochs: 3", "epochs: 3\n      seed: 7", "experiments.digits.train.seed: expected none beside seeds"),
        ("epochs: 3", "epochs: 0", "seeds: expected something to train"),
    ],
)
def test_wrong_seeds_are_refused(tmp_path, monkeypatch, old, new, message):
    (tmp_path / "params.yaml").write_text(EXPERIMENT.replace(old, new), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(message)):
        load_params()


def test_a_child_gives_its_result_its_error_and_its_end():
    assert call_in_child(lambda number: number + 1, 2) == 3
    with pytest.raises(InputError, match="wrong"):
        call_in_child(_raise, InputError("wrong"))
    with pytest.raises(KeyError, match="key") as caught:
        call_in_child(_raise, KeyError("key"))
    assert "in _raise" in caught.value.__notes__[0]  # the child's traceback
    with pytest.raises(InputError, match="code -9"):
        call_in_child(lambda: os.kill(os.getpid(), 9))


def _raise(error: Exception) -> None:
    raise error
