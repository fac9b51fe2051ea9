"""The contract on JAX: in a child process, networks that TensorFlow saved, and the tests marked `backend`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from cnnkeras import architectures
from pipeline.backend import model_files

REPOSITORY = Path(__file__).parents[1]
# Writes beside each saved network what it computes here, then runs the tests.
CHILD = """
import sys
from pathlib import Path
import keras, numpy as np, pytest
from pipeline.backend import model_files as networks
assert keras.backend.backend() == "jax"
for folder in Path(sys.argv[1]).iterdir():
    np.save(folder / "received.npy", networks.load(folder / "model.keras").predict_on_batch(np.load(folder / "inputs.npy")))
sys.exit(pytest.main(["-m", "backend", "-v", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, np.ndarray]:
    """Folders with a tiny network of each architecture and its inputs, and the outputs that it has on TensorFlow."""
    base, outputs = tmp_path_factory.mktemp("networks"), {}
    for name in architectures.names():
        module, folder = architectures.load(name), base / name
        folder.mkdir()
        keras.utils.set_random_seed(4)
        model = module.build(**module.TINY)
        inputs = np.random.default_rng(5).normal(0, 60, (2, *model.input_shape[1:])).astype("float32")
        model_files.save(model, folder / "model.keras")
        np.save(folder / "inputs.npy", inputs)
        outputs[folder] = model.predict_on_batch(inputs)
    return outputs


@pytest.fixture(scope="module")
def printed(saved: dict[Path, np.ndarray]) -> str:
    """What the child says, which ended well; it has written what JAX computes."""
    files = [
        str(file) for file in sorted(REPOSITORY.glob("tests/test_*.py")) if "mark.backend" in file.read_text("utf-8")
    ]
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, str(next(iter(saved)).parent), *files],
        cwd=REPOSITORY,
        # Tiny networks run in a blink; to optimise their compilation takes minutes.
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.backend
def test_the_backend_is_the_one_that_was_asked_for():
    """TensorFlow where nothing else is said."""
    assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", "tensorflow")


def test_the_contract_holds_on_jax(printed):
    """Every test marked `backend` passes there, none is skipped, and each architecture and each kind of test is among them."""
    passed = re.findall(r"^tests/(\S+?)::(\w+)(.*) PASSED", printed, flags=re.MULTILINE)
    assert re.search(rf"^=+ {len(passed)} passed, \d+ deselected in", printed, flags=re.MULTILINE), printed[-2000:]
    for contract in ("test_tiny_instance_runs_and_survives_its_file", "test_gradient_reaches_every_weight"):
        assert {case.strip("[]") for _, test, case in passed if test == contract} == set(architectures.names())
    assert {file for file, *_ in passed} == {
        f"test_{what}.py" for what in ("architectures", "backends", "fused_normalization", "layers", "parity")
    }


@pytest.mark.usefixtures("printed")
def test_jax_computes_what_tensorflow_does(saved):
    """A network that TensorFlow saved with its weights gives the same outputs on JAX."""
    for folder, expected in saved.items():
        received = np.load(folder / "received.npy")
        assert expected.std() > 1e-6
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-5 * abs(expected).max(), err_msg=folder.name)
