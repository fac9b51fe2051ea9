"""`cnnkeras export`: each format gives what the pipeline predicts for the test split; what cannot be exported is one line."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cnnkeras import resizing
from cnnkeras.boxes import iou
from cnnkeras.by_name import call
from cnnkeras.protocols import fits, posteriors
from cnnkeras.tasks import detection, segmentation
from pipeline.commands import export
from pipeline.formats.packed import open_split
from pipeline.formats.predictions import (
    coco_results,
    from_coco,
    read_detections,
    read_label_map,
    read_probabilities,
)
from pipeline.images.reading import read_image
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.entries import functions
from pipeline.runtime.errors import InputError

REPOSITORY = Path(__file__).parents[1]
FORMATS = [
    pytest.param(
        "onnx",
        marks=pytest.mark.skipif(
            not all(map(find_spec, ("onnx", "tf2onnx", "onnxruntime"))), reason="without onnx, tf2onnx and onnxruntime"
        ),
    ),
    "tflite",
    "saved_model",
    "keras",
]
PARAMS = """
seed: 1
sources:
  scenes: {kind: digit_scenes, seed: 1, scenes: {train: 16, val: 2, test: 4}}
  signals: {kind: mnist1d, validation_examples: 400}
datasets:
  crops: {source: scenes, task: classification, size: [32, 32], examples: objects}
  boxes: {source: scenes, task: detection, size: [48, 48]}
  wide_boxes: {source: scenes, task: detection, size: [40, 64]}
  masks: {source: scenes, task: segmentation, size: [32, 32]}
  signals: {source: signals, task: classification, size: [40]}
experiments:
  crops: &experiment
    dataset: crops
    architecture: yolo
    model: {variant: small, width: 0.125, batch_norm: true}
    input: {mean: dataset, std: dataset}
    train:
      epochs: 1
      batch_size: 8
      optimizer: {name: sgd, learning_rate: 0.0001}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 3}
    postprocess: {top_k: 5}
    evaluate: {images: 1}
  boxes:
    <<: *experiment
    dataset: boxes
    architecture: yolo
    model: {variant: small, width: 0.125, batch_norm: true}
    postprocess: {confidence_threshold: 0.02, nms_iou: 0.4, display_threshold: 0.05}
  masks:
    <<: *experiment
    dataset: masks
    architecture: deconvnet
    model: {width: 0.0625, score_stddev: 0.05, batch_norm: false}  # whose maps have several classes
    postprocess: {resize: bilinear}
  signals:
    <<: *experiment
    dataset: signals
    architecture: mnist1d_conv
    model: {}
  centred:
    <<: *experiment
    input: {mean: dataset, std: dataset, size: [32, 32], fit: {name: centre, shorter_side: 40}}
  letterboxed:
    <<: *experiment
    dataset: wide_boxes
    input: {mean: dataset, std: dataset, size: [48, 48], fit: {name: letterbox, fill: 90}}
    postprocess: {confidence_threshold: 0.02, nms_iou: 0.4, display_threshold: 0.05}
ensembles:
  both: {dataset: crops, members: [crops, centred], combine: product, postprocess: {top_k: 5}, evaluate: {images: 1}}
"""
MAKE = """
import sys
from pipeline.stages import augment, combine, download, postprocess, predict, train
from pipeline.commands import export
from pipeline.runtime.errors import InputError
for name in ("scenes", "signals"):
    download.run(name)
for name in ("crops", "boxes", "masks", "signals", "wide_boxes"):
    augment.run(name, workers=1)
for name in ("crops", "boxes", "masks", "signals", "centred", "letterboxed"):
    train.run(name, workers=1)
    predict.run(name)
    postprocess.run(name)
combine.run("both")
postprocess.run("both")
for name in ("crops", "boxes", "masks", "signals", "letterboxed", "both"):
    for format in sys.argv[1:]:
        if (name, format) != ("masks", "tflite"):
            export.run(name, format=format)
try:
    export.run("masks", format="tflite")
except InputError as error:
    assert "expected a model of TensorFlow Lite's own operations; received: FlexAddV2" in str(error), error
else:
    raise AssertionError("expected a refusal")
"""


# The data set of each exported experiment: images are given at the packed size, or as published.
PACKED = {"crops": "crops", "signals": "signals", "both": "crops"}
ORIGINALS = {"boxes": "boxes", "masks": "masks", "letterboxed": "wide_boxes"}


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project whose models are trained for a moment and exported, in every format that this machine writes."""
    folder = tmp_path_factory.mktemp("exported")
    (folder / "params.yaml").write_text(PARAMS)
    formats = [
        format for format in ("onnx", "tflite", "saved_model", "keras") if format != "onnx" or find_spec("tf2onnx")
    ]
    done = run("-c", MAKE, *formats, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module", params=FORMATS)
def exported(made, request):
    """A function from an experiment to the outputs of its exported model, in one format, for each example of the test split."""
    inputs = {name: packed(made, dataset) for name, dataset in PACKED.items()}
    inputs |= {
        name: originals(made, dataset)
        for name, dataset in ORIGINALS.items()
        if (name, request.param) != ("masks", "tflite")
    }
    file, target = made / "inputs.npz", made / f"{request.param}.npz"
    np.savez(file, **{f"{name} {n}": value[None] for name, values in inputs.items() for n, value in enumerate(values)})
    done = run("-m", "tests.exported_models", target, request.param, "export", file, cwd=made)
    assert done.returncode == 0, done.stderr
    with np.load(target) as loaded:
        results = dict(loaded)

    def outputs(name: str) -> list[dict[str, np.ndarray]]:
        if name not in inputs:
            pytest.skip(
                "TensorFlow Lite lacks an operation of DeconvNet; the refusal is tested where the models are made"
            )
        keys = {key.split(" ")[2] for key in results if key.startswith(f"{name} ")}
        return [{key: results[f"{name} {number} {key}"][0] for key in keys} for number in range(len(inputs[name]))]

    return outputs


@pytest.fixture
def there(made, monkeypatch) -> None:
    """The test runs in the project."""
    monkeypatch.chdir(made)


def packed(project: Path, dataset: str) -> list[np.ndarray]:
    split = open_split(project / "data/augmented" / dataset, "test")
    return [np.array(values) for values in split["inputs"]][:20]


def originals(project: Path, dataset: str) -> list[np.ndarray]:
    split = open_split(project / "data/augmented" / dataset, "test")
    return [read_image(file, str(id)) for id, file in zip(split["ids"], split["originals"], strict=True)]


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize(("name", "difference"), [("crops", 1e-5), ("signals", 1e-5), ("both", 1e-3)])
def test_probabilities_are_those_of_predict(exported, name, difference):
    """For each example of the test split; of two models, one sees the centre of an enlarged image, whose pixels OpenCV rounds otherwise."""
    got = [outputs["probabilities"] for outputs in exported(name)]
    wanted = read_probabilities(paths.predictions(name))[:20]
    assert np.ptp(wanted, axis=0).max() > 0.01  # the examples differ
    np.testing.assert_allclose(got, wanted, rtol=0, atol=difference)


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("name", ["boxes", "letterboxed"])
def test_boxes_are_those_of_predict(exported, name):
    """For the published files of the test split, stretched or with borders: the same boxes in pixels of the image, to half a pixel."""
    wanted = read_detections(paths.predictions(name))
    got = exported(name)
    assert len(wanted) > 10
    for number, outputs in enumerate(got):
        mine = wanted[np.flatnonzero(wanted.images == number)]
        count = outputs["counts"]
        assert abs(count - len(mine)) <= 1  # a score may lie at the threshold
        assert (outputs["scores"][count:] == 0).all()
        assert (outputs["labels"][count:] == -1).all()
        assert not outputs["boxes"][count:].any()
        assert (np.diff(outputs["scores"]) <= 0).all()
        for label, score, box in zip(mine.labels, mine.scores, mine.boxes, strict=True):
            if score < 0.03:
                continue
            same = np.flatnonzero(outputs["labels"][:count] == label)
            best = same[iou(outputs["boxes"][same], box[None]).argmax()]
            np.testing.assert_allclose(outputs["boxes"][best], box, atol=0.5)
            np.testing.assert_allclose(outputs["scores"][best], score, atol=5e-3)


@pytest.mark.usefixtures("there")
def test_label_maps_are_those_of_predict(exported):
    """For the published files of the test split: the same class in 99 of 100 pixels, at the size of the image."""
    ids = open_split(paths.augmented("masks"), "test")["ids"]
    got = [outputs["label_maps"] for outputs in exported("masks")]
    for id, labels in zip(ids, got, strict=True):
        wanted = read_label_map(paths.predictions("masks"), str(id))
        assert labels.shape == wanted.shape
        assert labels.dtype == np.uint8
        assert (labels == wanted).mean() > 0.99
    assert len(np.unique(got[0])) > 1


def test_the_description_says_what_goes_in_and_comes_out(made):
    """Classes, thresholds, shapes; a model's file and its description lie side by side."""
    facts = json.loads((made / "export/boxes.tflite.json").read_text())
    assert facts["classes"] == ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    assert facts["postprocess"]["nms_iou"] == 0.4
    assert facts["input"]["shape"] == [None, None, None, 3]
    assert facts["input"]["dtype"] == "uint8"
    assert list(facts["outputs"]) == ["boxes", "scores", "labels", "counts"]
    assert {file.name for file in (made / "export").glob("signals.keras*")} == {"signals.keras", "signals.keras.json"}


@pytest.mark.parametrize(
    ("size", "new"),
    [((64, 64), (32, 32)), ((50, 70), (32, 100)), ((20, 30), (64, 64)), ((37, 53), (37, 53)), ((7, 90), (21, 31))],
)
def test_images_are_resized_as_for_the_network(size, new):
    """Against OpenCV: no value differs by more than 1 of 255, where it rounds otherwise."""
    from cnnkeras.exported import ResizeImages

    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    got = np.array(ResizeImages(*new)(image[None]))[0]
    assert abs(got - resizing.resize(image, new)).max() <= 1


STORED = [{"size": [30, 44]}, {"shorter_side": 50}, {"max_shorter_side": 45}]
FITS = [{"name": "stretch"}, {"name": "letterbox", "fill": 90}, {"name": "centre", "shorter_side": 43}]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(64, 80), (33, 90), (47, 46)])
def test_images_are_fitted_as_for_the_network(stored, fit, shape):
    """Against NumPy and OpenCV, packed and then fitted: no value differs by more than 2 of 255, for two scalings; the frame is the same."""
    from cnnkeras.exported import FitImages

    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    inputs, frame = map(np.array, FitImages(stored, fit, (40, 36))(image[None]))
    packed = resizing.resize(image, resizing.stored_size(shape, **stored))
    wanted = call(fits, fit)
    assert abs(inputs[0] - wanted.image(packed, (40, 36)).astype(int)).max() <= 2
    np.testing.assert_allclose(frame, wanted.frame(packed.shape[:2], (40, 36)), atol=1e-6)


def test_the_fits_are_those_of_the_protocols():
    """The same names, and the same sizes for every shape up to 300 pixels, but for a pixel at a half of one, which a float rounds."""
    from cnnkeras.exported import fits as exported_fits

    sides = np.arange(1, 300, dtype=np.int32)
    height, width = (side.ravel() for side in np.meshgrid(sides, sides))
    for named in FITS:
        found = [
            np.broadcast_to(np.array(side), height.shape)
            for side in call(exported_fits, named)((height, width), (40, 36))
        ]
        shapes = zip(height.tolist(), width.tolist(), strict=True)
        wanted = np.array([call(fits, named).scaled(shape, (40, 36)) for shape in shapes]).T
        assert abs(np.array(found) - wanted).max() <= 1
        assert (np.array(found) != wanted).mean() < 2e-4
    assert (
        {named["name"] for named in FITS}
        == set(functions(fits))
        == {name for name in functions(exported_fits) if name in functions(fits)}
    )


@pytest.mark.parametrize("combine", ["mean", "product"])
def test_posteriors_are_combined_as_those_of_an_ensemble(combine):
    """Of a model and of two: against float64."""
    from cnnkeras.exported import CombinePosteriors

    members = np.random.default_rng(0).normal(0, 30, (2, 5, 3, 4)).astype(np.float32)
    got = np.array(CombinePosteriors([1, 2], combine)(list(members)))
    np.testing.assert_allclose(got, posteriors.combine(members, [1, 2], combine), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("nms_iou", [0.0, 0.1, 0.5, 1.0])
def test_suppression_is_that_of_the_evaluation(nms_iou):
    """Random grids, with equal scores among them, against the NumPy code, which goes from the highest score down."""
    from cnnkeras.exported import DetectBoxes

    generator = np.random.default_rng(0)
    grids = generator.uniform(0.2, 1, (5, 4, 4, 13)).astype(np.float32)
    grids[..., :5] = np.round(grids[..., :5], 1)
    boxes, scores, labels, counts = map(
        np.array, DetectBoxes(3, 0.3, nms_iou)(grids, np.zeros((5, 40, 60, 3), np.uint8))
    )
    found = detection.detect(grids, classes=3, confidence_threshold=0.3, nms_iou=nms_iou)
    wanted = from_coco(coco_results(found, np.full((5, 2), (40, 60))))
    assert len(wanted) > 50
    assert counts.tolist() == [(wanted.images == image).sum() for image in range(5)]
    for image in range(5):
        mine = wanted[np.flatnonzero(wanted.images == image)]
        rows = sorted(zip(mine.labels, mine.boxes.round(1).tolist(), strict=True))
        count = counts[image]
        assert rows == sorted(
            (label, box)
            for label, box in zip(
                labels[image, :count], boxes[image, :count].astype(float).round(1).tolist(), strict=True
            )
        ) or np.allclose(sorted(mine.scores), sorted(scores[image, :count]), atol=1e-6)


@pytest.mark.parametrize("resize", ["bilinear", "nearest"])
def test_label_maps_are_resized_as_in_postprocess(resize):
    """Scores that grow along one side and shrink along the other."""
    from cnnkeras.exported import LabelMaps

    scores = np.random.default_rng(0).normal(size=(8, 16, 4)).astype(np.float16)
    got = np.array(LabelMaps(resize)(scores[None].astype(np.float32), np.zeros((1, 37, 11, 3), np.uint8)))[0]
    assert (got == segmentation.decode_outputs(scores, (37, 11), resize=resize)).all()


def test_what_cannot_be_exported_is_one_line(project):
    """A format has its ending; nothing is overwritten that is no model."""
    with pytest.raises(InputError, match=r"results/crops/model/model.keras.*cnnkeras train crops"):
        export.run("crops", format="keras")
    with pytest.raises(InputError, match=r"--output: expected a name that ends with .keras; received: model.onnx"):
        export.run("crops", format="keras", output=Path("model.onnx"))
    folder = project.folder / "mine.saved_model"
    folder.mkdir()
    (folder / "thesis.txt").write_text("")
    with pytest.raises(InputError, match="expected a folder with a SavedModel, or nothing yet"):
        export.run("crops", format="saved_model", output=folder)
    assert {path.name for path in project.folder.iterdir()} <= {"params.yaml", "mine.saved_model", ".cnnkeras"}


def test_a_model_measured_by_several_looks_says_so(project):
    """The exported one looks once: other figures than those of `evaluate` are to be expected."""
    assert export._other_protocol(load_params(), "crops") == ""
    project.edit("    dataset: signals\n", "    dataset: signals\n    predict: {}\n")
    project.edit("predict: {batch_size: 1}", "predict: {batch_size: 1, views: [{name: centre_crop, scales: [64]}]}")
    for name in ("boxes", "masks"):
        regions = ", regions: {name: boxes, fractions: [0.9]}" if name == "masks" else ""
        project.edit(
            f"  {name}:\n    <<: *experiment\n",
            f"  {name}:\n    <<: *experiment\n    predict: {{batch_size: 1{regions}}}\n",
        )
    params = load_params()
    assert export._other_protocol(params, "crops").startswith("centre crop of")
    assert export._other_protocol(params, "masks").startswith("boxes of 0.9 of the image's sides")
