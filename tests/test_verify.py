"""`cnnkeras verify`: what it says of equal trainings, of true differences, and of wrong input; and that it changes nothing."""

import contextlib
import csv
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from pipeline.commands import verify as command
from pipeline.commands.verify import differences
from pipeline.runtime import guard, paths
from pipeline.runtime.errors import InputError
from tests.test_train_predict import PARAMS, finish, start, write_project

REPOSITORY = Path(__file__).parents[1]
# 20 examples in batches of 8: two steps an epoch. `small` has dropout, and `parts` computes its batches in two parts.
MORE = """
  small:
    dataset: classification
    architecture: mnist_conv
    model: {dropout: 0.5}
    input: {mean: dataset, std: dataset}
    train: &train
      epochs: 3
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
  parts:
    dataset: classification
    architecture: mnist_conv
    model: {dropout: 0.5}
    input: {mean: dataset, std: dataset}
    train:
      <<: *train
      accumulate: 2
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
  untrained:
    dataset: classification
    architecture: yolo
    model: {variant: small, width: 0.25, batch_norm: true}
    input: {mean: dataset, std: dataset}
    train:
      <<: *train
      epochs: 0
      initial_weights: {experiment: digits, layers: ["*"]}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
"""
TRAIN = "import sys\nfrom pipeline.stages import train\nfor name in sys.argv[1:]: train.run(name)"
BACKENDS = {"tensorflow": {}, "jax": {"JAX_PLATFORMS": "cpu"}}
STEPS_OF_AN_EPOCH = 2


def environment(root: Path, code: Path = REPOSITORY, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS_", "XLA_", "TF_CPP_"))}
    scratch = root.parent / "scratch"
    scratch.mkdir(exist_ok=True)
    told = f"sqlite:///{root.parent}/told.db"  # nothing is
    return {
        **kept,
        "PYTHONPATH": str(code),
        "TMPDIR": str(scratch),
        "JAX_PLATFORMS": "cpu",
        "MLFLOW_TRACKING_URI": told,
        **more,
    }


def verify(root: Path, *arguments: str, code: Path = REPOSITORY) -> subprocess.CompletedProcess:
    """Run the command in a project; it has to leave results, data and its scratch folder as they were."""
    before = tree(root)
    ended = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "verify", *arguments],
        cwd=root,
        env=environment(root, code),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert tree(root) == before
    assert list((root.parent / "scratch").iterdir()) == []
    assert not (root.parent / "told.db").exists()
    return ended


def tree(root: Path) -> dict[str, str]:
    """Digests of all files but of the digests that commands remember; the times of writing too."""
    return {
        file.relative_to(root).as_posix(): f"{hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_mtime_ns}"
        for file in root.rglob("*")
        if file.is_file()
        and "__pycache__" not in file.parts
        and not re.match(r"\.cnnkeras/(code-|digests)", file.relative_to(root).as_posix())
    }


def write_small_project(root: Path, backend: str = "tensorflow") -> Path:
    write_project(root)
    (root / "params.yaml").write_text(f"backend: {backend}\n{PARAMS}{MORE}", encoding="utf-8")
    return root


def with_own_code(root: Path, file: str, old: str, new: str) -> Path:
    """Give a project a copy of the code, in which a text is another one."""
    for package in ("cnnkeras", "pipeline"):
        shutil.copytree(REPOSITORY / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (root / file).read_text(encoding="utf-8")
    assert text.count(old) == 1
    (root / file).write_text(text.replace(old, new), encoding="utf-8")
    return root


def train(root: Path, backend: str, *names: str) -> Path:
    """Train experiments, and wait until MLflow knows it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in BACKENDS[backend].items():
            patch.setenv(name, value)
        finish(start(TRAIN, root, *names))
    while any(is_in(process, root) for process in psutil.process_iter()):
        time.sleep(0.2)
    return root


def is_in(process: psutil.Process, folder: Path) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == folder
    return False


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which two experiments were trained."""
    root = write_small_project(tmp_path_factory.mktemp("trained") / "project")
    return train(root, "tensorflow", "digits", "untrained")


@pytest.fixture
def result(trained: Path, tmp_path: Path) -> Path:
    """A copy of that project, for a test that changes it."""
    return Path(shutil.copytree(trained, tmp_path / "project"))


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_trainings_are_equal(request, tmp_path, backend):
    """Whole, with the result that is there; the first steps, with each other; and the project stays as it was."""
    if backend == "tensorflow":
        trained = request.getfixturevalue("trained")
    else:
        trained = train(write_small_project(tmp_path / "project", backend), backend, "digits")
    ended = verify(trained, "digits")
    assert (ended.returncode, ended.stdout) == (
        0,
        "digits: trained again (6 steps); every bit of the model and of the history is that of results/digits\n",
    ), ended.stderr
    ended = verify(trained, "digits", "--steps", "3")
    assert (ended.returncode, ended.stdout) == (
        0,
        "digits: two trainings were the same in every bit, through 3 steps\n",
    ), ended.stderr


def test_what_was_changed_is_found(result):
    """The weight and by how much, one quarter but for rounding; the first epoch of the history that differs; before, other versions."""
    before, after = change_weight(result / "results/digits/model/model.keras", "layers/conv2d/vars/0", 0.25)
    record = json.loads((result / "results/digits/environment.json").read_text())
    keras, record["environment"]["keras"] = record["environment"]["keras"], "3.0.0"
    (result / "results/digits/environment.json").write_text(json.dumps(record))
    file = result / "results/digits/history.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    true, rows[2][3], rows[3][2] = rows[2][3], "0.5", "0.25"
    file.write_text("".join(",".join(row) + "\n" for row in rows))
    ended = verify(result, "digits")
    assert ended.returncode == 1, ended.stderr
    assert f"results/digits: trained with keras 3.0.0 (now {keras})" in ended.stderr
    size = f"{abs(float(after) - float(before)):.3g}"
    assert ended.stdout.splitlines() == [
        "digits: trained again (6 steps); not every bit is that of results/digits",
        f"  1 variable of the model differs, by at most {size}:",
        f"    conv1/kernel  1 of {7 * 7 * 3 * 6} values  by at most {size}",
        f"  the history differs from epoch 2 on: {rows[0][3]} {true} instead of 0.5",
        "`cnnkeras verify digits --steps 6` says at which step two new trainings part, if they do",
    ]


def change_weight(file: Path, dataset: str, by: float) -> tuple[np.float32, np.float32]:
    """Add to the first number of a variable in a model's file; returns the number before and after."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights = file.with_name("weights.h5")
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as opened:
        values = opened[dataset][...]
        before = values.flat[0]
        values.flat[0] += np.float32(by)
        opened[dataset][...] = values
    members["model.weights.h5"] = weights.read_bytes()
    weights.unlink()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return before, values.flat[0]


def test_without_a_result_two_trainings_are_compared(result):
    """To their end, and a line says so."""
    shutil.rmtree(result / "results/digits/model")
    ended = verify(result, "digits")
    assert (ended.returncode, ended.stdout) == (
        0,
        "digits: two trainings were the same in every bit, through 6 steps\n",
    ), ended.stderr
    assert (
        "results/digits: no model with a history there, so two new trainings are compared with each other"
        in ended.stderr
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_step_at_which_trainings_part_is_found(tmp_path, backend):
    """The order of the second epoch's examples is another one in each process: equal up to its first step, and no further."""
    root = with_own_code(
        write_small_project(tmp_path / "project", backend),
        "cnnkeras/training/batches.py",
        "np.random.default_rng([self._seed, epoch])",
        "np.random.default_rng([self._seed, epoch, __import__('os').getpid() if epoch == 1 else 0])",
    )
    ended = verify(root, "small", "--steps", str(STEPS_OF_AN_EPOCH), code=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    ended = verify(root, "small", code=root)
    assert ended.returncode == 1, ended.stderr
    first, *rows = ended.stdout.splitlines()
    assert first.startswith(f"small: two trainings part in step {STEPS_OF_AN_EPOCH + 1} (epoch 2): "), first
    assert re.match(r"  \S+/kernel +[\d,]+ of [\d,]+ values +by at most \d", rows[0])


def test_dropout_with_a_seed_of_its_own_parts_at_once(tmp_path):
    """In the first step; the gradient reaches the layers before it."""
    root = with_own_code(
        write_small_project(tmp_path / "project"),
        "cnnkeras/architectures/mnist_conv.py",
        "SpatialDropout2D(dropout,",
        "SpatialDropout2D(dropout, seed=__import__('os').getpid(),",
    )
    ended = verify(root, "small", "--steps", "4", code=root)
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout.startswith("small: two trainings part in step 1 (epoch 1): ")


def test_steps_that_are_one_execution_are_named_together(tmp_path):
    """Between them nobody can look; a batch in parts is one step."""
    root = with_own_code(
        write_small_project(tmp_path / "project"),
        "cnnkeras/training/batches.py",
        "np.random.default_rng([self._seed, epoch])",
        "np.random.default_rng([self._seed, epoch, __import__('os').getpid() if epoch == 1 else 0])",
    )
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("train: &train\n", "train: &train\n      steps_per_execution: 2\n"))
    ended = verify(root, "small", code=root)
    assert ended.stdout.startswith("small: two trainings part in steps 3 to 4, one execution (epoch 2): "), ended.stderr
    ended = verify(root, "parts", "--steps", "1", code=root)
    assert ended.stdout == "parts: two trainings were the same in every bit, through 2 steps\n"


def test_each_seed_is_compared_with_its_own_result(tmp_path):
    """One of them was changed: the other is as it was, and the whole is different."""
    root = write_small_project(tmp_path / "project")
    params = root / "params.yaml"
    text = params.read_text().replace("  small:\n", "  small:\n    seeds: [7, 8]\n")
    params.write_text(text)
    train(root, "tensorflow", "small")
    change_weight(root / "results/small/model/seed-8/model.keras", "layers/conv2d/vars/0", 0.5)
    (root / "results/small/environment.json").unlink()
    ended = verify(root, "small")
    assert ended.returncode == 1, ended.stderr
    assert "results/small: with which versions and on which machine it was trained is not recorded" in ended.stderr
    assert ended.stdout.splitlines()[:3] == [
        "small, seed 7: trained again (6 steps); every bit of the model and of the history is that of results/small",
        "small, seed 8: trained again (6 steps); not every bit is that of results/small",
        "  1 variable of the model differs, by at most 0.5:",
    ]


def test_a_model_of_no_epochs_is_compared(result):
    """Its weights are its initial ones; there are no steps to compare."""
    ended = verify(result, "untrained")
    assert (ended.returncode, ended.stdout) == (
        0,
        "untrained: trained again (0 steps); every bit of the model and of the history is that of results/untrained\n",
    ), ended.stderr
    ended = verify(result, "untrained", "--steps", "1")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "experiments.untrained.train.epochs: expected some with --steps; received: 0" in ended.stderr


def test_a_result_of_other_settings_differs_and_says_why(tmp_path):
    """With the seal of the training, the setting and its two values are known."""
    root = write_small_project(tmp_path / "project")
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    train(root, "tensorflow", "small")
    params = root / "params.yaml"
    params.write_text(
        params.read_text().replace("learning_rate: 0.01, momentum: 0.9}", "learning_rate: 0.02, momentum: 0.9}")
    )
    ended = verify(root, "small")
    assert ended.returncode == 1
    change = "params.yaml experiments.small.train.optimizer.learning_rate: 0.01 -> 0.02"
    assert f"results/small: trained before a change: {change}\n" in ended.stderr
    assert "variables of the model differ, by at most" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["digit"], "unknown experiment 'digit'; did you mean 'digits'?"),
        (["digits", "--steps", "0"], "'--steps': 0 is not in the range x>=1"),
        (["deconvnet"], "train@deconvnet: expected data/augmented/segmentation; received: no such file or folder"),
        (["digits"], "results/digits/model/model.keras: expected a model as `cnnkeras train` writes it"),
    ],
)
def test_wrong_input_is_one_line(result, arguments, said):
    """Before anything is trained."""
    (result / "results/digits/model/model.keras").write_bytes(b"PK")
    shutil.rmtree(result / "data/augmented/segmentation")
    ended = verify(result, *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_result_that_is_being_replaced_is_not_compared(project):
    """The stage runs, as its lock says."""
    lock = project.folder / ".cnnkeras/locks/train@crops.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(
            InputError, match=r"^train@crops: expected a result that stays; received: a run of the stage"
        ):
            command.run("crops")


def test_ctrl_c_ends_all(tmp_path):
    """Both trainings, and the scratch folder is gone."""
    root = write_small_project(tmp_path / "project")
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("epochs: 3", "epochs: 250"))
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "verify", "small"],
        cwd=root,
        env=environment(root),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "scratch").glob("*/*/history.csv")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1] == "Interrupted: nothing was half-written."
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_edit_meanwhile_is_refused(project):
    """A comparison of two trainings with other params would lie."""
    with (
        pytest.raises(InputError, match=r"params.yaml.*stay as they were.*received:"),
        guard.repetition("train", "crops", inputs=[paths.params_file()]),
    ):
        project.edit("seed: 1\nsources", "seed: 2\nsources")


def bits(*values: float, dtype: str = "f4") -> np.ndarray:
    return np.array(values, dtype)


@pytest.mark.parametrize(
    ("ours", "theirs", "text", "largest"),
    [
        (bits(1, 2, 3), bits(1, 2, 3), None, None),
        (bits(1, 2, 3), bits(1, 2.5, 2), "2 of 3 values", 1.0),
        (bits(0.0), bits(-0.0), "1 of 1 values", 0.0),
        (bits(math.nan, 1), bits(math.nan, 1), None, None),
        (bits(math.nan, 1), bits(0, 1), "1 of 2 values", math.nan),
        (np.float32(1), np.float32(3), "1 of 1 values", 2.0),
        (bits(1, 5, dtype="u4"), bits(7, 5, dtype="u4"), "1 of 2 values", 6.0),
        (bits(1), bits(1, 1), "shape (1,) instead of (2,)", math.nan),
        (bits(1), bits(1, dtype="f8"), "type float32 instead of float64", math.nan),
    ],
)
def test_how_variables_differ(ours, theirs, text, largest):
    """In bits: a zero with another sign differs by nothing, and no number equals itself."""
    found = differences.of_variables([("same", bits(1)), ("w", ours)], [("same", bits(1)), ("w", theirs)])
    assert [(difference.name, difference.text) for difference in found] == ([("w", text)] if text else [])
    if text:
        np.testing.assert_equal(found[0].largest, largest)


def test_variables_of_one_training_alone_differ():
    """And those of equal names are told apart by their order."""
    found = differences.of_variables([("a", bits(1)), ("a", bits(2))], [("a", bits(1)), ("b", bits(2))])
    assert [difference.name for difference in found] == ["a", "b"]
