"""What decides the bits of a training beside params.yaml: chosen in params.yaml, pinned, recorded, and compared by `cnnkeras plan`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.backend import devices, environment
from pipeline.cli import main
from pipeline.commands import plan
from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition, paths
from pipeline.runtime.errors import InputError
from pipeline.tracking import fingerprints

REPOSITORY = Path(__file__).parents[1]
FIX = "To train again when a version changes, write `other_versions: stale` into params.yaml"
PINNED = """
from pipeline.backend import devices
backend = devices.import_keras()
import keras
print(backend, keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon())
"""
TRAIN = """
import hashlib, os, sys
if sys.argv[1] == "one core":
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pipeline.backend import devices
with devices.set_up(seed=1, threads=int(sys.argv[2]) or None):
    import keras, numpy as np
    layers = keras.layers
    convolutions = [layer for size in (32, 64, 64) for layer in (layers.Conv2D(size, 3, activation="relu"), layers.MaxPooling2D())]
    model = keras.Sequential([keras.Input((64, 64, 3)), *convolutions, layers.Flatten(), layers.Dense(256), layers.Dense(10)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    generator = np.random.default_rng(0)
    model.fit(generator.normal(size=(64, 64, 64, 3)).astype("float32"), generator.integers(0, 10, 64), batch_size=16, verbose=0)
print(hashlib.sha256(b"".join(np.asarray(weight).tobytes() for weight in model.weights)).hexdigest())
"""


def python(code: str, *arguments: str, **variables: str) -> str:
    """What a Python program prints that runs in the current folder."""
    kept = {name: value for name, value in os.environ.items() if name not in ("KERAS_BACKEND", "NPROC", "XLA_FLAGS")}
    command = [sys.executable, "-c", code, *arguments]
    ended = subprocess.run(
        command,
        env={**kept, "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch):
    """Whoever runs the tests has chosen nothing; an import of Keras in an earlier test has."""
    for name in ("KERAS_BACKEND", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)


def test_keras_own_settings_decide_nothing(project, tmp_path):
    """A keras.json of another backend, format of images, precision and epsilon, inside of a project and outside."""
    settings = {"backend": "jax", "image_data_format": "channels_first", "floatx": "float64", "epsilon": 1e-3}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    assert project.params.is_file()
    assert python(PINNED, KERAS_HOME=str(tmp_path)) == "tensorflow channels_last float32 1e-07"


def test_params_choose_the_backend(project, monkeypatch, tmp_path):
    """KERAS_BACKEND may say the same, or decide where there is no project."""
    assert devices.chosen_backend() == "tensorflow"
    project.edit("seed: 1\nsources", "seed: 1\nbackend: jax\nsources")
    assert devices.chosen_backend() == "jax"
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert devices.chosen_backend() == "jax"
    (tmp_path / "elsewhere").mkdir()
    project.params.rename(tmp_path / "elsewhere" / "params.txt")
    assert devices.chosen_backend() == "jax"


@pytest.mark.usefixtures("project")
def test_a_backend_that_params_do_not_name_is_refused_before_anything_runs(monkeypatch):
    """By `check`, the stage before all others, in one line."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    ended = CliRunner().invoke(main, ["check"])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        "Error: KERAS_BACKEND: expected tensorflow, the `backend` of params.yaml; received: jax. "
        "Unset it, or write `backend: jax` there\n"
    )
    assert not paths.code().exists()


def test_an_unknown_backend_is_refused(project):
    """With its place in the file."""
    project.edit("seed: 1\nsources", "seed: 1\nbackend: theano\nsources")
    with pytest.raises(InputError, match=r"params.yaml:2: backend: expected .*'tensorflow', 'jax' or 'torch'"):
        load_params()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_threads_act_on_jax(monkeypatch, tmp_path):
    """With one thread an operation, all cores compute the bits of one core; without, they round otherwise."""
    monkeypatch.chdir(tmp_path)
    on = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    assert python(TRAIN, "all cores", "1", **on) == python(TRAIN, "one core", "0", **on)
    assert python(TRAIN, "all cores", "0", **on) != python(TRAIN, "one core", "0", **on)


def test_jax_is_told_to_be_deterministic(monkeypatch, tmp_path):
    """Before it starts; flags of the user stay."""
    monkeypatch.chdir(tmp_path)
    code = "import os\nfrom pipeline.backend import devices\ndevices.import_keras()\nprint(os.environ['XLA_FLAGS'])"
    flags = python(code, KERAS_BACKEND="jax", JAX_PLATFORMS="cpu", XLA_FLAGS="--xla_cpu_enable_fast_math=false")
    assert flags.split() == ["--xla_cpu_enable_fast_math=false", "--xla_gpu_deterministic_ops=true"]


def test_a_record_belongs_to_a_training(tmp_path):
    """It has the versions that are installed; after another training it says nothing."""
    file, seal = tmp_path / "environment.json", tmp_path / "seal.json"
    seal.write_text("one")
    environment.write(file, seal=seal, settings={"precision": "float32", "profile": "deterministic", "threads": 1})
    recorded = environment.read(file, seal=seal)
    now = environment.current("tensorflow")
    assert recorded["environment"] == now
    assert {"backend", "python", "tensorflow", "keras", "numpy", "processor", "TF_ENABLE_ONEDNN_OPTS"} <= now.keys()
    assert recorded["settings"] | {"devices": ""} == {
        "precision": "float32",
        "profile": "deterministic",
        "threads": 1,
        "image_data_format": "channels_last",
        "devices": "",
    }
    assert list(environment.differences(now, now)) == []
    assert list(environment.differences(now, now | {"keras": "4.0", "new": "1"})) == [
        f"keras {now['keras']} (now 4.0)",
        "new unset (now 1)",
    ]
    seal.write_text("another")
    assert environment.read(file, seal=seal)["environment"] == {}
    assert list(environment.differences({}, now)) == []


def test_the_plan_says_what_was_trained_with_other_versions(project):
    """Once for models with the same difference; nothing of models without a record."""
    now = environment.current("tensorflow")
    for name in ("crops", "boxes"):
        paths.results(name).mkdir(parents=True)
        record = {"format": 1, "seal": None, "environment": now | {"keras": "3.0.0"}, "settings": {}}
        paths.environment(name).write_text(json.dumps(record))
    assert project.params.is_file()
    assert plan._notes(load_params(), load_params().experiments) == [
        f"crops, boxes: trained with keras 3.0.0 (now {now['keras']}). {FIX}"
    ]


def test_other_versions_make_a_training_stale_only_if_they_shall(project):
    """The text that DVC compares has them only then, only for trainings, and no reader takes them for code or values."""
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    kept = code_of_stages(load_params(), definition.read_yaml(project.params))
    project.edit("seed: 1\nsources", "seed: 1\nother_versions: stale\nsources")
    stale = code_of_stages(load_params(), definition.read_yaml(project.params))
    assert {label for label in kept if kept[label] != stale[label]} == {
        f"train@{name}" for name in load_params().experiments
    }
    text = stale["train@crops"]
    assert definition.read_versions(text)["with keras"] == environment.current("tensorflow")["keras"]
    assert definition.read_versions(kept["train@crops"]) == {}
    assert definition.read_code(text) == definition.read_code(kept["train@crops"])
    assert definition.read_values(text) == definition.read_values(kept["train@crops"])


def test_the_default_backend_changes_no_fingerprint(project):
    """Results that are logged keep their runs; another backend makes another result."""
    shutil.copy(REPOSITORY / "dvc.yaml", ".")
    before = (
        fingerprints.result_params(load_params(), "crops"),
        code_of_stages(load_params(), definition.read_yaml(project.params)),
    )
    project.edit("seed: 1\nsources", "seed: 1\nbackend: tensorflow\nsources")
    assert before == (
        fingerprints.result_params(load_params(), "crops"),
        code_of_stages(load_params(), definition.read_yaml(project.params)),
    )
    project.edit("backend: tensorflow", "backend: jax")
    assert fingerprints.result_params(load_params(), "crops") == before[0] | {"backend": "jax"}
