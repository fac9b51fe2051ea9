"""What tests share: an environment without a screen, without chatter and without the network; and a smallest project."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from pipeline.formats.packed import Index, SplitWriter
from tests import tracked_project

os.environ |= {
    "MPLBACKEND": "Agg",
    "NO_ALBUMENTATIONS_UPDATE": "1",  # it would look for a newer version online
    "TF_CPP_MIN_LOG_LEVEL": "3",
}
# What the person at the terminal has set up for their own runs is no business of the tests.
for name in ("CNNKERAS_MIRROR", "DVC_ROOT", "DVC_STAGE", "MLFLOW_TRACKING_URI"):
    os.environ.pop(name, None)
# A shell without a terminal starts background jobs deaf to Ctrl-C, and children inherit it; the tests that send one need ears.
signal.signal(signal.SIGINT, signal.default_int_handler)

DIGITS = ("zero", "one", "two")
# One experiment a task, and one with signals; each is called as its dataset.
PARAMS = """\
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 4, val: 2, test: 2}}
  signals: {kind: mnist1d, validation_examples: 400}
datasets:
  crops: {source: scenes, task: classification, size: [32, 32], examples: objects}
  signals: {source: signals, task: classification, size: [40]}
  boxes: {source: scenes, task: detection, size: [64, 64]}
  masks: {source: scenes, task: segmentation, size: [64, 64]}
experiments:
  crops: &experiment
    dataset: crops
    architecture: vgg
    model: {width: 0.03125}
    input: {mean: 128.0, std: 64.0}
    train:
      epochs: 1
      batch_size: 1
      optimizer: {name: sgd, learning_rate: 0.1}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 1}
    postprocess: {top_k: 2}
    evaluate: {images: 4}
  signals:
    <<: *experiment
    dataset: signals
    architecture: mnist1d_conv
    model: {}
  boxes:
    <<: *experiment
    dataset: boxes
    architecture: yolo
    postprocess: {confidence_threshold: 0.25, nms_iou: 0.5, display_threshold: 0.3}
  masks:
    <<: *experiment
    dataset: masks
    architecture: deconvnet
    postprocess: {resize: bilinear}
"""
TASKS = {"crops": "classification", "signals": "classification", "boxes": "detection", "masks": "segmentation"}
SHAPES = {"crops": (32, 32, 3), "signals": (40, 1), "boxes": (64, 64, 3), "masks": (64, 64, 3)}

Example = tuple[str, dict[str, np.ndarray], dict[str, np.ndarray]]  # id, columns of equal shapes, ragged columns


class Project:
    """A folder with the smallest params.yaml. Nothing has run: a test puts there what its stage reads."""

    def __init__(self, folder: Path):
        self.folder, self.params = folder, folder / "params.yaml"
        self.params.write_text(PARAMS, encoding="utf-8")

    def edit(self, old: str, new: str) -> None:
        """Replace a text of params.yaml, wherever it stands."""
        text = self.params.read_text(encoding="utf-8")
        assert old in text
        self.params.write_text(text.replace(old, new), encoding="utf-8")

    def pack_test_split(self, dataset: str, examples: Iterable[Example]) -> None:
        """Pack a dataset of the classes `DIGITS` that has a test split only."""
        folder = self.folder / "data" / "augmented" / dataset
        writer = SplitWriter(folder / "test")
        for id, fixed, ragged in examples:
            writer.append(id, fixed=fixed, ragged=ragged)
        index = Index(TASKS[dataset], DIGITS, SHAPES[dataset], (0.0,), (1.0,), {"test": writer.close()}, {}, {})
        index.write(folder)


@pytest.fixture(autouse=True)
def _nothing_stays() -> Iterable[None]:
    """A stage that a test runs in this process sets variables for Keras' backend and makes TensorFlow deterministic for good.

    Later tests would start their own processes with these variables, and Keras would refuse them XLA.
    """
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ |= {name: value for name, value in before.items() if os.environ.get(name) != value}
    if "tensorflow" in sys.modules:
        from tensorflow.python.framework import config

        if config.is_op_determinism_enabled():
            config.disable_op_determinism()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The smallest project, where the test runs. Test files with other needs have one of their own."""
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.fixture(scope="session")
def _trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.keras"
    tracked_project.make_model(file)
    return file


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store without anything in it: MLflow takes seconds to create one."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    tracked_project.run_python("import sys, mlflow; mlflow.MlflowClient(f'sqlite:///{sys.argv[1]}')", file)
    return file


@pytest.fixture(name="tracked_project")
def _tracked_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _trained_model: Path, empty_store: Path) -> Path:
    """A project with one experiment whose result is there and was not logged; the test runs there."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    root = tracked_project.make_project(tmp_path / "project", _trained_model, empty_store)
    monkeypatch.chdir(root)
    return root


@pytest.fixture(scope="session")
def mlflow_address(tmp_path_factory: pytest.TempPathFactory) -> Iterable[str]:
    """Address of a real MLflow server on this machine."""
    with tracked_project.mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address
