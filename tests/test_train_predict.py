"""The stages `train` and `predict`, on tiny packed data of every task, in processes of their own."""

import csv
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.backend import devices
from pipeline.formats.packed import Index, SplitWriter, open_split
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import train
from pipeline.stages.train.reader import Reader
from pipeline.tracking import live

REPOSITORY = Path(__file__).parents[1]
CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 32
COUNTS = {"train": 20, "val": 5, "test": 7}

PARAMS = """
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 20, val: 5, test: 7}}
datasets:
  classification: {source: scenes, task: classification, size: [32, 32], examples: objects}
  detection: {source: scenes, task: detection, size: [32, 32]}
  segmentation: {source: scenes, task: segmentation, size: [32, 32]}
experiments:
  digits:
    dataset: classification
    architecture: yolo
    model: {variant: small, width: 0.25, batch_norm: true}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 3
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9, weight_decay: 5.0e-4}
      schedule: {name: step, every_epochs: 2, factor: 0.1, warmup_epochs: 1.0}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
  yolo:
    dataset: detection
    architecture: yolo
    model: {variant: small, width: 0.25, batch_norm: true}
    input: {mean: 127.5, std: 127.5}
    train:
      epochs: 2
      batch_size: 8
      optimizer: {name: adam, learning_rate: 0.001}
      schedule: {name: plateau, factor: 0.5, patience_epochs: 1}
      early_stopping: {patience_epochs: 5}
      steps_per_execution: 2
      loss: {noobj_weight: 0.25}
      initial_weights: {experiment: digits, layers: ["conv*", "bn*"]}
    predict: {batch_size: 4}
    postprocess: {confidence_threshold: 0.1, nms_iou: 0.5, display_threshold: best}
    evaluate: {images: 1}
  deconvnet:
    dataset: segmentation
    architecture: deconvnet
    model: {width: 0.0625}
    input: {mean: [100.0, 110.0, 120.0], std: 1.0}
    train:
      epochs: 1
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 0.01, momentum: 0.9}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 64}
    postprocess: {}
    evaluate: {images: 1}
"""

# Each process that shows curves imports MLflow, which takes longer than these trainings; tests/test_log.py has such processes.
WITHOUT_CURVES = """
from pipeline.tracking import live
live._start = lambda order: None
"""
RUN = """
import sys
from pipeline.stages import predict; from pipeline.stages import train
for name in sys.argv[1:]:
    train.run(name)
    predict.run(name)
"""


def write_dataset(folder: Path, task: str, *, classes: tuple[str, ...] = CLASSES) -> None:
    """Pack random images with random annotations."""
    splits = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        random, writer = np.random.default_rng(number), SplitWriter(folder / split)
        for index in range(count):
            fixed, ragged = {"inputs": random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)}, {}
            if task == "classification":
                fixed["labels"] = np.int32(random.integers(len(classes)))
            elif task == "segmentation":
                fixed["masks"] = random.choice(np.array([0, 1, 10, 255], np.uint8), (SIDE, SIDE))
            else:
                corners = np.sort(random.random((3, 2, 2), dtype=np.float32), axis=1).reshape(3, 4)
                labels = random.integers(0, len(classes), 3, dtype=np.int32)
                ragged = {"boxes": corners, "box_labels": labels, "difficult": np.array([False, True, False])}
            writer.append(f"{split}{index}", fixed=fixed, ragged=ragged)
        splits[split] = writer.close()
    Index(task, classes, (SIDE, SIDE, 3), (127.0,) * 3, (74.0,) * 3, splits, {}, {}).write(folder)


def write_project(root: Path) -> Path:
    """A project with packed data, as after `augment`."""
    root.mkdir(exist_ok=True)
    (root / "params.yaml").write_text(PARAMS, encoding="utf-8")
    for task in ("classification", "detection", "segmentation"):
        write_dataset(root / "data" / "augmented" / task, task)
    return root


def start(script: str, root: Path, *arguments: str, **variables: str) -> subprocess.Popen:
    """Run Python code in a project, with further variables of the environment; of a training it shows no curves in MLflow."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"} | variables
    environment["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, "-c", WITHOUT_CURVES + script, *arguments],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> tuple[str, str]:
    """What a process wrote to its output and to its errors, once it has ended well."""
    with process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    return output, errors


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two projects in which the same was trained and predicted, by two processes; a segmentation in the first only."""
    roots = tuple(write_project(tmp_path_factory.mktemp("project") / name) for name in ("first", "second"))
    names = (("digits", "yolo", "deconvnet"), ("digits", "yolo"))
    for process in [start(RUN, root, *chosen) for root, chosen in zip(roots, names, strict=True)]:
        output, errors = finish(process)
        # TensorFlow's own lines would be among them.
        assert all(line.startswith(("train ", "predict ")) for line in (output + errors).splitlines()), errors
    return roots


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(write_project(tmp_path / "project"))
    monkeypatch.setattr(live, "_start", lambda _order: None)
    return tmp_path / "project"


def test_two_processes_give_the_same_bytes(twins):
    """Networks, histories and outputs are equal bit for bit, with dropout, shuffling and batch normalisation."""
    first, second = (root / "results" for root in twins)
    files = sorted(file.relative_to(second) for file in second.rglob("*") if file.is_file())
    validation = ("outputs/val/outputs.json", "outputs/val/outputs.npy")  # of a detector that chooses its threshold
    training = ("environment.json", "history.csv", "model/model.keras", "outputs/outputs.json", "outputs/outputs.npy")
    expected = {"digits": training, "yolo": (*training, *validation)}
    assert files == sorted(Path(name, file) for name, made in expected.items() for file in made)
    assert [file for file in files if (first / file).read_bytes() != (second / file).read_bytes()] == []


def test_history_has_a_row_an_epoch(twins):
    """Epochs from 1, the rate of each epoch's last step, losses, then metrics in the order of their names; no times."""
    with (twins[0] / "results/digits/history.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    metrics = ["top1_accuracy", "top5_accuracy", "val_top1_accuracy", "val_top5_accuracy"]
    assert list(rows[0]) == ["epoch", "learning_rate", "loss", "val_loss", *metrics]
    # Two steps an epoch; the warm-up's second is half way from a tenth: 0.01 x (0.1 + 0.9 / 2).
    assert [(row["epoch"], row["learning_rate"]) for row in rows] == [("1", "0.0055"), ("2", "0.01"), ("3", "0.001")]
    timings = json.loads((twins[0] / ".cnnkeras/timings/digits.json").read_text(encoding="utf-8"))
    assert len(timings["seconds_per_epoch"]) == 3
    assert timings["machine"]


def test_outputs_are_those_of_the_network(twins, monkeypatch):
    """Every test example has its outputs, in order; a segmentation's are stored in half precision.

    A detector that chooses its threshold has those of the validation split, too.
    """
    monkeypatch.chdir(twins[0])
    from pipeline.backend.trained_model import load_model

    shapes = {"digits": (10,), "yolo": (2, 2, 20), "deconvnet": (32, 32, 11)}
    for name, task in (("digits", "classification"), ("yolo", "detection"), ("deconvnet", "segmentation")):
        outputs = np.load(paths.outputs(name) / "outputs.npy")
        network = load_model(name, seed=1)
        expected = network.predict(open_split(paths.augmented(task), "test")["inputs"], verbose=0)
        tolerance = {"rtol": 2e-3, "atol": 2e-3} if name == "deconvnet" else {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(outputs, expected, **tolerance)
        assert outputs.shape == (7, *shapes[name])
        assert outputs.dtype == (np.float16 if name == "deconvnet" else np.float32)
        facts = json.loads((paths.outputs(name) / "outputs.json").read_text(encoding="utf-8"))
        expected = {"experiment": name, "dataset": task, "task": task, "classes": list(CLASSES)}
        assert facts == expected | ({"boxes_per_cell": 2} if name == "yolo" else {})
        assert (paths.outputs(name) / "val").exists() == (name == "yolo")
        if name == "yolo":
            outputs = np.load(paths.outputs(name) / "val" / "outputs.npy")
            expected = network.predict(open_split(paths.augmented(task), "val")["inputs"], verbose=0)
            np.testing.assert_allclose(outputs, expected, **tolerance)


def test_stored_network_is_for_use(twins):
    """The file holds no date and no optimizer, and stores nothing but the network's own weights."""
    path = twins[0] / "results/yolo/model/model.keras"
    with zipfile.ZipFile(path) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert json.loads(archive.read("metadata.json"))["date_saved"] == "1980-01-01@00:00:00"
        assert json.loads(archive.read("config.json"))["compile_config"] == {}
    from pipeline.backend import model_files

    parameters = model_files.load(path).count_params()
    assert path.stat().st_size < 4 * parameters + 500_000


def test_training_starts_from_the_other_experiment(twins, monkeypatch):
    """The detector's convolutions, batch normalisation included, are the classifier's; the rest is its own."""
    monkeypatch.chdir(twins[0])
    from pipeline.backend import model_files

    training = train.resolve(load_params().repeats("yolo")[0])
    with devices.set_up(seed=1):
        network = train._build(training, train._checked_index(training))
        train._copy_initial_weights(network, training)
        start = model_files.load(paths.model_file("digits"))
    for name in ("conv1", "bn1", "conv9", "bn9"):
        for copied, weights in zip(
            network.get_layer(name).get_weights(), start.get_layer(name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(copied, weights)


@pytest.mark.usefixtures("project")
def test_detection_targets_are_shuffled_anew_each_epoch():
    """Difficult objects are no targets; which of two objects gets a cell is a function of (seed, epoch, image)."""
    columns = open_split(paths.augmented("detection"), "train")
    targets = Reader(columns, "detection", seed=1, output_shape=(1, 1, 20), classes=10).targets
    epochs = [targets(np.arange(20), epoch) for epoch in range(8)]
    labels = np.stack([epoch[:, 0, 0, 5:].argmax(axis=-1) for epoch in epochs], axis=1)  # (images, epochs)
    for image in range(20):
        assert set(labels[image]) <= set(np.asarray(columns["box_labels"][image])[[0, 2]])
    assert any(len(set(row)) == 2 for row in labels)
    np.testing.assert_array_equal(targets(np.array([7, 3]), 5), epochs[5][[7, 3]])


def test_wrong_input_is_answered_before_keras_is_imported(project):
    """A missing network to start from, missing data, and data of other params name the command that helps."""
    script = """
import shutil, sys
from pipeline.runtime import paths; from pipeline.stages import predict; from pipeline.stages import train
from pipeline.runtime.errors import InputError
def message(function, name):
    try:
        function(name)
    except InputError as error:
        print(error)
message(train.run, "yolo")
message(predict.run, "digits")
(paths.augmented("classification") / "index.json").write_text(
    (paths.augmented("classification") / "index.json").read_text().replace('"nine"', '"dozen"'))
message(train.run, "digits")
shutil.rmtree(paths.augmented("classification"))
message(train.run, "digits")
# A lazily loaded Keras is in sys.modules under its own name before it is imported.
assert not {"keras.src", "tensorflow", "jax"} & sys.modules.keys()
"""
    output, _ = finish(start(script, project))
    network, outputs, stale, missing = output.splitlines()
    assert "results/digits/model" in network
    assert "`cnnkeras train digits`" in network
    assert "`cnnkeras train digits`" in outputs
    assert "'dozen'" in stale
    assert "Run `cnnkeras augment classification`" in stale
    assert "`cnnkeras augment classification`" in missing


def test_a_loss_that_is_no_number_is_the_users_to_fix(project):
    """A learning rate that is far too high: one line that names the key, and no result is left."""
    text = PARAMS.replace("learning_rate: 0.01, momentum: 0.9, weight_decay", "learning_rate: 1.0e+30, weight_decay")
    (project / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(
        InputError,
        match=r"experiments\.digits\.train: expected a finite loss; received: (inf|nan) in epoch \d, step \d; the first layer whose "
        r"output was no number: \w+.*\. The last good state, after \d epochs and \d steps, is kept\. Lower the learning rate",
    ):
        train.run("digits")
    assert list((project / "results/digits").iterdir()) == []


def _without_memory(*_arguments, **_options):
    from keras import ops

    return ops.zeros((10**6, 10**6, 10**3))


@pytest.mark.parametrize(
    ("accumulate", "more"),
    [(1, "Try batch_size: 4, or accumulate: 2, whose"), (4, "Try batch_size: 4, or accumulate: 8, whose")],
)
@pytest.mark.usefixtures("project")
def test_out_of_memory_says_what_to_try(monkeypatch, project, accumulate, more):
    """An error of TensorFlow itself, for a tensor that no machine holds, becomes one line with a smaller batch and with parts."""
    from cnnkeras.training import fit as training

    text = PARAMS.split("  yolo:\n")[0].replace("batch_norm: true", "batch_norm: false")
    text = text.replace("batch_size: 8", f"batch_size: 8\n      accumulate: {accumulate}")
    (project / "params.yaml").write_text(text, encoding="utf-8")

    monkeypatch.setattr(training, "set_weight_decay", _without_memory)
    with pytest.raises(
        InputError,
        match=rf"experiments\.digits\.train: expected memory for a step of {8 // accumulate} examples.*{more}",
    ):
        train.run("digits")
    assert list((project / "results/digits").iterdir()) == []


@pytest.mark.usefixtures("project")
def test_out_of_memory_advises_no_parts_that_would_be_refused(monkeypatch):
    """The network has batch normalisation: a smaller batch is all that can be tried."""
    from cnnkeras.training import fit as training

    monkeypatch.setattr(training, "set_weight_decay", _without_memory)
    with pytest.raises(InputError, match=r"expected memory for a step of 8 examples.*Try batch_size: 4$"):
        train.run("digits")


@pytest.mark.parametrize(
    ("error", "lacks"),
    [
        (MemoryError(), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4000000000000000 bytes."), True),
        (RuntimeError("cuDNN: CUDA_ERROR_OUT_OF_MEMORY"), True),
        (ValueError("a memory"), False),
    ],
)
def test_what_a_lack_of_memory_is(error, lacks):
    """Whether it is the error itself or its cause; a disk without room is none."""
    assert devices.lacks_memory(error) is lacks
    wrapped = RuntimeError("wrapped")
    wrapped.__cause__ = error
    assert devices.lacks_memory(wrapped) is lacks
    assert not devices.lacks_memory(OSError(28, "No space left on device"))


def test_keras_comes_without_what_it_only_looks_for(tmp_path):
    """Packages that take seconds to import, and can be imported as ever afterwards; JAX comes where it is the backend."""
    code = (
        "import sys\n"
        "from pipeline.backend import devices\n"
        "backend = devices.import_keras()\n"
        "assert not {'matplotlib', 'pandas', 'sklearn'} & sys.modules.keys()\n"
        "assert ('jax' in sys.modules) == (backend == 'jax')\n"
        "import jax, matplotlib.pyplot, pandas, sklearn.datasets\n"
        "assert pandas.DataFrame\n"
        "print(backend)\n"
    )
    for backend in ("tensorflow", "jax"):
        environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(REPOSITORY)}
        ended = subprocess.run(
            [sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert ended.stdout == f"{backend}\n"


def test_a_backend_that_is_not_installed_is_named(monkeypatch, tmp_path):
    """Users install no JAX: one line says which backend is missing and how to install it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_BACKEND", "jaxx")
    with pytest.raises(InputError, match=r"expected a backend that is installed.*received: 'jaxx'.*\[jax\]"):
        devices.import_keras()


def test_an_operation_gets_the_threads_that_it_is_given():
    """Before TensorFlow starts, so that its sums are rounded alike on any number of cores."""
    code = (
        "from pipeline.backend import devices\n"
        "devices.set_up(seed=1, threads=1)\n"
        "import tensorflow as tf\n"
        "tf.constant(1.0)\n"
        "assert tf.config.threading.get_intra_op_parallelism_threads() == 1\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_batches_are_fed_in_order_and_not_tuned():
    """What Keras would make of batches tunes how it reads them, and may wait for that at an epoch's end."""
    from cnnkeras.training.batches import Batches

    inputs = np.arange(10, dtype=np.uint8)[:, None]
    batches = Batches(inputs, lambda rows, epoch: np.float32(rows + 100 * epoch), batch_size=4)
    fed = devices.feed(batches)
    assert fed.options().autotune.enabled is False
    for epoch in (0, 3):
        batches.epoch = epoch
        read = [tuple(part.tolist() for part in batch) for batch in fed.as_numpy_iterator()]
        assert len(read) == len(fed) == 3
        assert read[2] == ([[8], [9]], [100.0 * epoch + 8, 100.0 * epoch + 9])
        assert [batch[0] for batch in read] == [inputs[:4].tolist(), inputs[4:8].tolist(), inputs[8:].tolist()]
    assert [part.dtype for part in fed.element_spec] == [np.uint8, np.float32]
