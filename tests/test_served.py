"""A logged model as others use it: loaded by MLflow without this project, and behind MLflow's own server; files are read as every stage reads them."""

import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.commands import show, show_inputs
from pipeline.params import load_params
from pipeline.stages import log
from pipeline.tracking import store as tracking
from tests.tracked_project import EXPERIMENT, answers, free_port, until

# MLflow 3.17 calls what SQLAlchemy 2.1 deprecates; that is between the two.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

# Whoever uses the model: MLflow and Keras, and `cnnkeras` from inside the logged model.
USE = """
import sys, mlflow, numpy as np
from pathlib import Path
model = mlflow.pyfunc.load_model(sys.argv[1])
import cnnkeras
from cnnkeras import images, resizing
assert ".zip" in cnnkeras.__file__, cnnkeras.__file__
assert "pipeline" not in sys.modules
pixels = [images.read(Path(file).read_bytes()).pixels for file in sys.argv[3:]]
inputs = np.stack([resizing.resize(image, (64, 64)) for image in pixels])
np.savez(sys.argv[2], inputs=inputs, outputs=model.predict(inputs))
"""


def write_files(folder: Path) -> dict[Path, np.ndarray]:
    """Image files of every unusual kind, each with the pixels that a person sees, uint8 (64, 64, 3)."""
    generator = np.random.default_rng(0)
    colours = generator.integers(0, 255, (64, 64, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(colours).save(folder / "turned.png", exif=exif)
    opacity = generator.choice([0, 255], (64, 64, 1)).astype(np.uint8)
    Image.fromarray(np.concatenate([colours, opacity], axis=-1)).save(folder / "transparent.png")
    indices, palette = generator.integers(0, 4, (64, 64), np.uint8), generator.integers(0, 255, (4, 3), np.uint8)
    indexed = Image.fromarray(indices)
    indexed.putpalette(palette.tobytes())
    indexed.save(folder / "palette.png")
    deep = generator.integers(2**12, 2**16, (64, 64), np.uint16)
    Image.fromarray(deep).save(folder / "deep.png")
    return {
        folder / "turned.png": np.rot90(colours, -1),
        folder / "transparent.png": np.where(opacity == 255, colours, 255).astype(np.uint8),
        folder / "palette.png": palette[indices],
        folder / "deep.png": np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=-1),
    }


@pytest.fixture
def logged(tracked_project) -> tuple[str, str]:
    """The address of the store and that of the logged model in it."""
    log.run(EXPERIMENT)
    with tracking.exclusive():
        store = tracking.Store()
    (model,) = tracking.mlflow.MlflowClient(store.uri).search_logged_models([store.experiment_id])
    assert tracked_project.is_dir()
    return store.uri, f"models:/{model.model_id}"


def test_a_served_model_sees_what_show_and_predict_see(tracked_project, logged, tmp_path):
    """Turned, transparent, palette and 16-bit files: the pixels are the seen ones, and all three ways give the same outputs."""
    address, model = logged
    files = write_files(tmp_path)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"MLFLOW_TRACKING_URI": address, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", USE, model, tmp_path / "served.npz", *files]
    used = subprocess.run(
        command, env=environment, cwd=tracked_project, capture_output=True, text=True, check=False, timeout=120
    )
    assert used.returncode == 0, used.stderr
    served = np.load(tmp_path / "served.npz")
    assert np.array_equal(served["inputs"], np.stack(list(files.values())))
    shown = show._outputs(
        load_params(),
        EXPERIMENT,
        [show_inputs.Given(file.name, file.stem, show_inputs.read_image(file)) for file in files],
    )
    np.testing.assert_allclose(served["outputs"], np.stack(shown), rtol=1e-5, atol=1e-6)
    assert len(np.unique(served["outputs"], axis=0)) == len(files)

    port = free_port()
    serve = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    with (tmp_path / "log").open("w") as output:
        server = subprocess.Popen(
            [*serve, "--port", str(port), "--workers", "1"],
            env=environment,
            cwd=tracked_project,
            stdout=output,
            stderr=output,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/ping"), seconds=300)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            data=json.dumps({"inputs": served["inputs"].tolist()}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            predictions = np.array(json.load(answer)["predictions"], np.float32)
    finally:
        server.terminate()
        server.wait(20)
    np.testing.assert_allclose(predictions, served["outputs"], rtol=1e-5, atol=1e-6)
