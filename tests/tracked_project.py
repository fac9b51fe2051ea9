"""A project with one experiment whose result is there and was not logged, and real MLflow servers to log it to."""

import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.formats import packed
from pipeline.params import Params
from pipeline.tracking import live

REPOSITORY = Path(__file__).parents[1]
EXPERIMENT = "small"
NOBODY = "http://127.0.0.1:9"  # where nothing listens: a port that is free now is another test's a moment later
PARAMS = """
seed: 3
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 4, val: 2, test: 2}}
datasets:
  digits:
    source: scenes
    task: classification
    size: [64, 64]
    examples: objects
    augmentation:
      - Affine: {scale: [0.8, 1.2], rotate: [-5, 5]}
experiments:
  small:
    dataset: digits
    architecture: alexnet
    model: {variant: one_tower, width: 0.03125}
    input: {}
    train:
      epochs: 3
      batch_size: 4
      optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {}
    postprocess: {top_k: 5}
    evaluate: {}
"""
HISTORY = "epoch,loss,top1_accuracy,val_loss\n1,2.3,0.1,2.31\n2,1.5,0.5,nan\n3,1.2,0.9,1.6\n"
METRICS = {
    "top1_accuracy": 0.75,
    "top1_error": 0.25,
    "undefined": None,
    "examples": 4,
    "protocol": ["one centre crop"],
    "per_class": [{"class": "zero", "top1_accuracy": 1.0}],
}
MAKE_MODEL = """
import sys, keras
from cnnkeras import layers
inputs = keras.Input((64, 64, 3))
hidden = keras.layers.GlobalAveragePooling2D()(layers.LocalResponseNormalization()(keras.layers.Rescaling(1 / 255)(inputs)))
keras.utils.set_random_seed(0)
keras.Model(inputs, keras.layers.Dense(10)(hidden)).save(sys.argv[1])
"""
LOAD_MODEL = """
import sys, keras, mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
example = np.array(model.input_example, np.uint8)
assert example.shape == (1, 64, 64, 3), example
first, second = model.predict(np.concatenate([example, example]), params={"outputs": True})
assert first["predictions"] == second["predictions"] and len(first["predictions"]) == 5
outputs = np.stack([first["outputs"], second["outputs"]])
assert outputs.dtype == np.float32, outputs.dtype
np.testing.assert_allclose(outputs, model.unwrap_python_model()._model.predict(np.concatenate([example] * 2), verbose=0))
assert np.ptp(outputs) > 0
assert "pipeline" not in sys.modules
"""


def make_model(file: Path) -> None:
    """Write a `.keras` file with a layer of cnnkeras, in another process so that this one stays without TensorFlow."""
    run_python(MAKE_MODEL, file, env={"TF_CPP_MIN_LOG_LEVEL": "3"})


def make_project(root: Path, model: Path, database: Path) -> Path:
    """Write a project whose one experiment has a result."""
    root.mkdir()
    (root / "params.yaml").write_text(PARAMS)
    shutil.copy(database, root / "mlflow.db")
    _write_dataset(root / "data/augmented/digits")
    (root / "results/datasets/digits").mkdir(parents=True)
    (root / "results/datasets/digits/report.json").write_text("{}")
    results = root / "results" / EXPERIMENT
    for folder in ("model", "predictions/label_maps", "plots/per_class", "figures"):
        (results / folder).mkdir(parents=True)
    shutil.copy(model, results / "model/model.keras")
    (results / "history.csv").write_text(HISTORY)
    (results / "metrics.json").write_text(json.dumps(METRICS))
    (results / "predictions/top_k.csv").write_text("id,rank,class,probability\nscene,1,three,0.5\n")
    Image.new("L", (4, 4)).save(results / "predictions/label_maps/scene.png")
    (results / "plots/per_class/per_class.csv").write_text("class,score\nzero,1\n")
    Image.new("RGB", (20, 20)).save(results / "figures/confusion.png")
    Image.new("RGB", (30, 20)).save(results / "figures/predictions.png")
    return root


def _write_dataset(folder: Path) -> None:
    generator, splits = np.random.default_rng(0), {}
    for split in ("train", "val", "test"):
        writer = packed.SplitWriter(folder / split)
        for label in range(4):
            image = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            writer.append(f"{split}{label}", fixed={"inputs": image, "labels": np.int32(label)})
        splits[split] = writer.close()
    classes = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    index = packed.Index("classification", classes, (64, 64, 3), (0.0,) * 3, (1.0,) * 3, splits, {}, {})
    index.write(folder)


@contextmanager
def mirrored(params: Params, history: Path) -> Iterator[live.Mirror]:
    """A training whose curves are shown while the block runs."""
    curves = live.Mirror(params, EXPERIMENT)
    with curves.outcome(), curves.shown(history):
        yield curves


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A real MLflow server on this machine that stores what it is sent in a folder; yields its address."""
    process, address = start_server(folder)
    try:
        yield address
    finally:
        process.terminate()
        process.wait(20)


def start_server(folder: Path) -> tuple[subprocess.Popen, str]:
    """Start such a server, in a process group of its own; returns it and its address once it answers."""
    port = free_port()
    store = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "files")]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *store, *options],
            env=environment(settings),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=300)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, f"http://127.0.0.1:{port}"


def environment(extra: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY), **extra}


def run_python(code: str, *arguments: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment(env or {}), cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    """A port for a server. None of those that the system gives to any connection, of this test or of one beside it."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)  # Keras seeds the other one
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def until(condition: Callable[[], object], *, seconds: float) -> object:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)
    return value
