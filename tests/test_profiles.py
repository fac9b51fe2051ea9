"""The profiles of a training: equal bits by default, on each backend; `fast`, by name, gives that up and is recorded; threads act or are refused."""

import json
import shutil
from pathlib import Path

import pytest

from pipeline.backend import devices
from pipeline.params import load_params
from pipeline.params.code import code_of_stages
from pipeline.runtime import definition
from pipeline.tracking import fingerprints
from tests.test_environment import python
from tests.test_train_predict import PARAMS, finish, start, write_project

REPOSITORY = Path(__file__).parents[1]
JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
FAST = "epochs: 3\n      profile: fast"


@pytest.fixture(autouse=True)
def _no_choice(monkeypatch):
    """Whoever runs the tests has chosen nothing; an import of Keras in an earlier test has."""
    for name in ("KERAS_BACKEND", "XLA_FLAGS", "CUBLAS_WORKSPACE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("profile", "is_deterministic"), [("deterministic", "True"), ("fast", "False")])
def test_tensorflow_is_deterministic_but_for_fast(monkeypatch, tmp_path, profile, is_deterministic):
    """TensorFlow itself says whether it is. XLA, which excludes determinism, compiles the step in the other case, where there is a GPU."""
    monkeypatch.chdir(tmp_path)
    code = (
        "import sys\nfrom pipeline.backend import devices\ndevices.set_up(seed=1, profile=sys.argv[1])\n"
        "from tensorflow.python.framework import config\nprint(config.is_op_determinism_enabled(), devices.compiles(sys.argv[1]))\n"
        "import tensorflow as tf\nprint(bool(tf.config.list_physical_devices('GPU')))"
    )
    said, has_gpu = python(code, profile).splitlines()
    assert said == f"{is_deterministic} {profile == 'fast' and has_gpu == 'True'}"


def test_jax_is_deterministic_but_for_fast(monkeypatch, tmp_path):
    """By a flag that JAX reads when it starts; the user's flags stay, in both profiles."""
    monkeypatch.chdir(tmp_path)
    code = (
        "import os, sys\nfrom pipeline.backend import devices\ndevices.set_up(seed=1, profile=sys.argv[1])\n"
        "print(devices.compiles(sys.argv[1]), os.environ.get('XLA_FLAGS'))"
    )
    own, flag = "--xla_cpu_enable_fast_math=false", "--xla_gpu_deterministic_ops=true"
    assert python(code, "deterministic", **JAX) == f"False {flag}"
    assert python(code, "deterministic", **JAX, XLA_FLAGS=own) == f"False {own} {flag}"
    assert python(code, "fast", **JAX) == "False None"
    assert python(code, "fast", **JAX, XLA_FLAGS=own) == f"False {own}"


def test_the_switch_of_pytorch_is_recorded(monkeypatch):
    """PyTorch needs it; what the user has set stays."""
    assert devices.switches("torch")["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert devices.switches("torch", "fast")["CUBLAS_WORKSPACE_CONFIG"] == ""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert devices.switches("torch")["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


THREADS = """
import sys
from pipeline.backend import devices
from pipeline.runtime.errors import InputError
for threads in map(int, sys.argv[1:]):
    try:
        devices.set_up(seed=1, threads=threads or None)
    except InputError as error:
        print(error)
    else:
        import keras
        keras.ops.zeros(1)  # the backend starts
        print("taken")
"""


def test_threads_that_come_too_late_for_tensorflow_are_refused(monkeypatch, tmp_path):
    """In one line, and also the way back to all cores; the same number once more is no change."""
    monkeypatch.chdir(tmp_path)
    end = "Run each training in a process of its own, as `cnnkeras train` does"
    assert python(THREADS, "1", "1", "2", "0").splitlines() == [
        "taken",
        "taken",
        f"expected `threads: 2` before TensorFlow starts; received: a process in which TensorFlow runs with `threads: 1`. {end}",
        f"expected `threads: null` before TensorFlow starts; received: a process in which TensorFlow runs with `threads: 1`. {end}",
    ]
    assert python(THREADS, "0", "0", "1").splitlines()[:2] == ["taken", "taken"]
    assert "received: a process in which TensorFlow runs with `threads: null`" in python(THREADS, "0", "1")


def test_threads_that_come_too_late_for_jax_are_refused(monkeypatch, tmp_path):
    """As on TensorFlow."""
    monkeypatch.chdir(tmp_path)
    first, second, third = python(THREADS, "1", "1", "2", **JAX).splitlines()
    assert (first, second) == ("taken", "taken")
    assert third.startswith(
        "expected `threads: 2` before JAX starts; received: a process in which JAX runs with `threads: 1`."
    )


def test_a_fast_training_is_recorded_as_one(tmp_path):
    """In environment.json, and in the params of its MLflow run; its result is another one than that of the default."""
    root = write_project(tmp_path / "project")
    (root / "params.yaml").write_text(PARAMS.replace("epochs: 3", FAST), encoding="utf-8")
    finish(start("from pipeline.stages import train\ntrain.run('digits')", root))
    recorded = json.loads((root / "results/digits/environment.json").read_text(encoding="utf-8"))
    assert recorded["settings"]["profile"] == "fast"
    assert (root / "results/digits/model/model.keras").is_file()


def test_the_profile_is_a_value_that_dvc_and_mlflow_see(project):
    """Left out, it is the default of the text that `check` writes for DVC; it is a param of the run, and so of its fingerprint."""
    shutil.copy(REPOSITORY / "dvc.yaml", ".")

    def seen() -> tuple[str, str]:
        params = load_params()
        text = code_of_stages(params, definition.read_yaml(project.params))["train@crops"]
        said = definition.read_values(text).get("experiments.crops.train.profile", "written in params.yaml")
        return said, fingerprints.training_params(params, "crops")["train.profile"]

    assert seen() == ("deterministic", "deterministic")
    project.edit("epochs: 1\n", "epochs: 1\n      profile: fast\n")
    assert seen() == ("written in params.yaml", "fast")
