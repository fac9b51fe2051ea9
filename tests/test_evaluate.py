"""Evaluation: the numbers that metrics.json holds, which examples are best and worst, and what the figures say of them."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnnkeras import metrics
from cnnkeras.boxes import Detections
from cnnkeras.label_maps import encode_png
from cnnkeras.tasks.detection import displayed
from pipeline.formats.objects import read_objects
from pipeline.formats.predictions import read_detections
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import evaluate
from pipeline.stages.evaluate import detection
from tests.conftest import DIGITS
from tests.contents import digests


def image(value: int = 128, size: tuple[int, int] = (100, 80)) -> np.ndarray:
    """An image file of one colour, as a packed dataset holds originals: height and width are `size`."""
    return cv2.imencode(".png", np.full((*size, 3), value, np.uint8))[1].reshape(-1)


@pytest.fixture
def project(project):
    """The smallest project, with the history of every experiment's training."""
    for name in ("crops", "signals", "boxes", "masks"):
        paths.predictions(name).mkdir(parents=True)
        paths.history(name).write_text(
            "epoch,learning_rate,loss,val_loss,top1_accuracy,val_top1_accuracy\n"
            "1,0.1,2.0,2.1,0.3,0.2\n2,0.1,1.0,1.5,0.6,0.5\n3,0.01,0.8,1.6,0.7,0.4\n"
        )
    return project


def evaluated(name: str) -> dict:
    """Evaluate an experiment; returns metrics.json."""
    evaluate.run(name)
    return json.loads(paths.metrics(name).read_text())


def pack_crops(project, labels: list[int]) -> None:
    """A test split of grey images."""
    inputs = np.full((32, 32, 3), 128, np.uint8)
    project.pack_test_split(
        "crops", [(f"e{i}", {"inputs": inputs, "labels": np.int32(label)}, {}) for i, label in enumerate(labels)]
    )


def classify(project, labels: list[int], probabilities: list[list[float]]) -> dict:
    """Evaluate class probabilities of grey images; returns metrics.json."""
    pack_crops(project, labels)
    np.save(paths.predictions("crops") / "probabilities.npy", np.array(probabilities, np.float32))
    return evaluated("crops")


def read_rows(file: Path) -> list[dict[str, str]]:
    """Rows of a CSV file."""
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_classification_by_hand(project):
    """Of three examples the first two are right: accuracy 2/3, rounded to 6 decimals; class two does not occur: null."""
    content = classify(project, [0, 1, 1], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])
    assert list(content) == [
        *("top1_accuracy", "top5_accuracy", "top1_error", "top5_error"),
        *("examples", "protocol", "conditions", "per_class"),
    ]
    assert (content["top1_accuracy"], content["top1_error"]) == (0.666667, 0.333333)
    assert (content["top5_accuracy"], content["top5_error"], content["examples"]) == (1, 0, 3)
    assert content["per_class"] == [
        {"class": "zero", "top1_accuracy": 1.0, "examples": 1},
        {"class": "one", "top1_accuracy": 0.5, "examples": 2},
        {"class": "two", "top1_accuracy": None, "examples": 0},
    ]
    plots = paths.plots("crops")
    assert read_rows(plots / "confusion/confusion.csv")[2] == {
        "actual": "one",
        "predicted": "zero",
        "actual_label": "1",
        "predicted_label": "0",
    }
    assert [row["score"] for row in read_rows(plots / "per_class/per_class.csv")] == ["1.0", "0.5", ""]
    training = read_rows(plots / "training/training.csv")
    assert [tuple(row.values()) for row in training[:6]] == [
        *(("1", "2.0", "loss", "training"), ("2", "1.0", "loss", "training"), ("3", "0.8", "loss", "training")),
        *(("1", "2.1", "loss", "validation"), ("2", "1.5", "loss", "validation"), ("3", "1.6", "loss", "validation")),
    ]
    assert {row["quantity"] for row in training[6:]} == {"top1_accuracy"}  # nothing validates a learning rate
    # There all the same, because dvc.yaml names it for every task.
    assert read_rows(plots / "precision_recall/precision_recall.csv") == []
    assert {file.name for file in paths.figures("crops").iterdir()} == {
        *("training_curves.png", "confusion_matrix.png", "per_class.png", "predictions.png", "best.png", "worst.png"),
    }


def test_examples_are_ranked_by_the_probability_of_their_true_class(project, monkeypatch):
    """Best first: probabilities .8, .7, .4 of the true class, whatever was predicted; captions name both classes."""
    captions_of, draw = {}, evaluate.grid

    def watch(images, captions, columns, **options):
        captions_of[options["title"]] = captions
        return draw(images, captions, columns, **options)

    monkeypatch.setattr(evaluate, "grid", watch)
    project.edit("images: 4", "images: 2")
    classify(project, [0, 1, 1], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.4, 0.1]])
    assert [caption.split("\n")[-1] for caption in captions_of["crops · best"]] == ["e1", "e0"]
    assert captions_of["crops · worst"][0] == "zero 0.50\ntrue: one 0.40\ne2"
    assert [caption.split("\n")[-1] for caption in captions_of["crops · predictions"]] == ["e0", "e2"]


def detect(project, objects: list[list[tuple]], detections: list[tuple], crowd: list[np.ndarray] | None = None) -> dict:
    """Evaluate detections (image from 1, class from 1, box, score) against objects (label, xyxy, difficult), some of them crowds."""
    examples = []
    for number, rows in enumerate(objects):
        corners = np.array([box for _, box, _ in rows], np.float64).reshape(-1, 4)
        ragged = {
            "originals": image(),
            "boxes": corners.astype(np.float32) / np.float32([80, 100, 80, 100]),
            "original_boxes": corners,
            "box_labels": np.array([label for label, _, _ in rows], np.int32),
            "difficult": np.array([difficult for _, _, difficult in rows], bool),
        }
        if crowd is not None:
            ragged["crowd"] = crowd[number]
        fixed = {"inputs": np.zeros((64, 64, 3), np.uint8), "sizes": np.array([100, 80], np.int32)}
        examples.append((f"p{number + 1}", fixed, ragged))
    project.pack_test_split("boxes", examples)
    keys = ("image_id", "category_id", "bbox", "score")
    rows = [dict(zip(keys, detection, strict=True)) for detection in detections]
    (paths.predictions("boxes") / "detections.json").write_text(json.dumps(rows))
    return evaluated("boxes")


OBJECTS = [
    [(0, (10, 10, 30, 30), False), (1, (40, 40, 60, 80), False)],
    [(0, (10, 10, 50, 50), False), (1, (0, 0, 20, 20), True)],
]
FOUND = [
    (1, 1, [10, 10, 20, 20], 0.9),  # the zero of p1, exactly
    (1, 2, [40, 40, 20, 20], 0.8),  # the upper half of the one of p1: IoU 0.5
    (2, 1, [60, 60, 10, 10], 0.7),  # nothing
    (2, 2, [0, 0, 20, 20], 0.6),  # the difficult one of p2: counts neither way
    (2, 1, [10, 10, 40, 40], 0.1),  # the zero of p2, below the display threshold
]


def test_detection_by_hand(project):
    """Class zero: hit, wrong, hit with 2 objects; class one: its only object that counts is found; two has no object.

    Precision of zero is 1 up to recall 1/2 and 2/3 after: 11 points (6 x 1 + 5 x 2/3) / 11 = .848485, area 5/6.
    """
    content = detect(project, OBJECTS, FOUND)
    assert list(content)[:3] == ["map_voc07", "map_voc10", "map_coco"]
    rows = {row["class"]: row for row in content["per_class"]}
    assert (rows["zero"]["ap_voc07"], rows["zero"]["ap_voc10"], rows["zero"]["objects"]) == (0.848485, 0.833333, 2)
    assert (rows["one"]["ap_voc07"], rows["one"]["objects"]) == (1.0, 1)
    assert rows["two"] == {"class": "two", "ap_voc07": None, "ap_voc10": None, "ap_coco": None, "objects": 0}
    assert content["map_voc07"] == pytest.approx((0.848485 + 1) / 2, abs=1e-6)
    assert "score above 0.25" in " ".join(content["conditions"])
    assert detection.CROWDS not in content["conditions"]
    curve = read_rows(paths.plots("boxes") / "precision_recall/precision_recall.csv")
    assert len(curve) == 101
    assert curve[50] == {"recall": "0.5", "precision": "1.0", "zero": "1.0", "one": "1.0", "two": ""}
    assert curve[51] == {"recall": "0.51", "precision": "0.833333", "zero": "0.666667", "one": "1.0", "two": ""}


def test_a_crowd_column_reaches_the_evaluation(project):
    """A crowd in which two are found, surer than the only object: COCO's 1.0, VOC's 1/3; the conditions say why."""
    objects = [[(0, (10, 10, 20, 20), False), (0, (30, 0, 80, 100), True)]]
    crowded = [(1, 1, [30, 0, 10, 10], 0.9), (1, 1, [60, 50, 20, 20], 0.8), (1, 1, [10, 10, 10, 10], 0.7)]
    content = detect(project, objects, crowded, crowd=[np.array([False, True])])
    assert content["map_coco"] == 1
    assert content["map_voc10"] == pytest.approx(1 / 3, abs=1e-6)
    assert detection.CROWDS in content["conditions"]


def test_images_are_scored_by_f1_of_what_is_shown(project):
    """p1: both found, IoU 1 and .5; p2: one wrong, one missed, the difficult one and what is below the threshold apart."""
    detect(project, OBJECTS, FOUND)
    split = evaluate.packed.open_split(paths.augmented("boxes"), "test")
    found = read_detections(paths.predictions("boxes"))
    matches = detection.match(found[found.scores >= 0.3], read_objects(split))
    f1, mean_iou = detection.score_images(matches, 2)
    np.testing.assert_array_equal(f1, [1, 0])
    np.testing.assert_allclose(mean_iou, [0.75, 0])
    np.testing.assert_array_equal(matches.is_missed, [False, False, True, False])
    np.testing.assert_array_equal(matches.found, [0, 1, -1, -1])


def test_a_image_with_nothing_to_find_and_nothing_found_is_right(project):
    """F1 would be 0/0; and an experiment that finds nothing at all is evaluated like any other."""
    content = detect(project, [OBJECTS[0], []], [])
    assert content["map_voc07"] == 0
    split = evaluate.packed.open_split(paths.augmented("boxes"), "test")
    found = read_detections(paths.predictions("boxes"))
    f1, _ = detection.score_images(detection.match(found, read_objects(split)), 2)
    np.testing.assert_array_equal(f1, [0, 1])


def test_of_too_many_detections_the_surest_are_drawn(project, monkeypatch):
    drawn = []
    draw = detection.draw_boxes
    monkeypatch.setattr(
        detection, "draw_boxes", lambda *arguments, **options: drawn.append(arguments) or draw(*arguments, **options)
    )
    many = [(1, 1, [number % 60, number // 60, 20, 20], 0.3 + number / 1000) for number in range(500)]
    detect(project, OBJECTS[:1], many)
    scores = [arguments[4] for arguments in drawn if len(arguments) > 4]
    assert scores
    for shown in scores:
        np.testing.assert_allclose(shown, 0.3 + np.arange(470, 500) / 1000)


def segment(project) -> dict:
    """Two images of 10 x 10: a void one with a row of class one, found in half; and all background, all found."""
    first = np.full((10, 10), 255, np.uint8)
    first[0], first[1] = 2, 0
    examples = [
        (
            id,
            {"inputs": np.zeros((64, 64, 3), np.uint8)},
            {"originals": image(size=(10, 10)), "original_masks": np.frombuffer(encode_png(mask), np.uint8)},
        )
        for id, mask in (("first", first), ("second", np.zeros((10, 10), np.uint8)))
    ]
    project.pack_test_split("masks", examples)
    label_maps = paths.predictions("masks") / "label_maps"
    label_maps.mkdir()
    found = np.ones((10, 10), np.uint8)  # class zero wherever it is void: does not count
    found[0, :5], found[0, 5:], found[1] = 2, 0, 0
    (label_maps / "first.png").write_bytes(encode_png(found))
    (label_maps / "second.png").write_bytes(encode_png(np.zeros((10, 10), np.uint8)))
    return evaluated("masks")


def test_segmentation_by_hand(project):
    """Class one: 5 of 10 pixels, IoU 5/10. Background: 110 of 110, 5 too many, IoU 110/115. Zero does not occur: null."""
    content = segment(project)
    assert list(content)[:4] == ["mean_iou", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]
    assert content["mean_iou"] == pytest.approx((5 / 10 + 110 / 115) / 2, abs=1e-6)
    assert content["pixel_accuracy"] == pytest.approx(115 / 120, abs=1e-6)
    assert [row["class"] for row in content["per_class"]] == ["background", "zero", "one", "two"]
    assert [row["iou"] for row in content["per_class"]] == [0.956522, None, 0.5, None]
    assert [row["pixels"] for row in content["per_class"]] == [110, 0, 10, 0]


COUNTED = '''
"""What a metric is given: boxes, examples or the pixels of label maps."""

import numpy as np

TASKS = ("classification", "detection", "segmentation")
METRICS = ("given", "wanted", "classes_given")


def measure(predictions, truth, *, classes, factor: float = 1.0):
    given, wanted = (sum(np.size(each) for each in maps) if classes and hasattr(maps, "which") else len(maps) for maps in (predictions, truth))
    return {"given": given * factor, "wanted": wanted, "classes_given": classes}
'''


@pytest.mark.parametrize(
    ("experiment", "evaluates", "expected"),
    [
        ("crops", lambda project: classify(project, [0, 1], [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]), (4, 2)),
        ("boxes", lambda project: detect(project, OBJECTS, FOUND), (2 * len(FOUND), 4)),
        ("masks", lambda project: segment(project), None),
    ],
)
def test_further_metrics_stand_beside_those_of_the_task(experiment, evaluates, expected, project, monkeypatch):
    """Of the predictions and the truth, with their settings; those of the task stay as they are. Wrong numbers are one line."""
    own = project.folder / "own"
    own.mkdir()
    (own / "counted.py").write_text(COUNTED)
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(own)])
    monkeypatch.delitem(sys.modules, "cnnkeras.metrics.counted", raising=False)
    before = evaluates(project)
    project.edit("evaluate: {images: 4}", "evaluate: {images: 4, metrics: [{name: counted, factor: 2.0}]}")
    after = evaluated(experiment)
    assert {key: after[key] for key in before} == before
    assert list(after)[: list(after).index("examples")][-3:] == ["given", "wanted", "classes_given"]
    assert after["classes_given"] == len(DIGITS)
    if expected is None:
        assert after["given"] == 2 * after["wanted"] > 0  # as many pixels are predicted as annotated
    else:
        assert (after["given"], after["wanted"]) == expected

    def wrong(predictions, truth, *, classes, factor=1.0):  # noqa: ARG001
        return {"given": 1}

    monkeypatch.setattr(metrics.load("counted"), "measure", wrong)
    with pytest.raises(
        InputError, match="metric counted: expected a mapping with given, wanted, classes_given from measure; "
    ):
        evaluated(experiment)


def test_signals_are_drawn_and_called_signals(project):
    """A data set without images gives the same figures."""
    signals = np.random.default_rng(1).normal(size=(5, 40, 1)).astype(np.float32)
    examples = [(f"s{i}", {"inputs": signal, "labels": np.int32(i % 3)}, {}) for i, signal in enumerate(signals)]
    project.pack_test_split("signals", examples)
    np.save(paths.predictions("signals") / "probabilities.npy", np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 1]])
    assert evaluated("signals")["top1_accuracy"] == 0.8
    assert (paths.figures("signals") / "worst.png").is_file()


EVALUATIONS: dict[str, Callable] = {
    "crops": lambda project: classify(project, [0, 1], [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]]),
    "boxes": lambda project: detect(project, OBJECTS, FOUND),
    "masks": segment,
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_equal_predictions_give_equal_bytes(project, name):
    """Metrics, tables and figures are the same files when evaluated again: no time, no version, no order by chance."""
    EVALUATIONS[name](project)
    first = digests(paths.results(name))
    evaluate.run(name)
    assert digests(paths.results(name)) == first
    assert len(first) > 8


def test_no_images_draws_no_cases(project):
    """`evaluate.images: 0` leaves the diagrams only."""
    project.edit("images: 4", "images: 0")
    classify(project, [0], [[1.0, 0.0, 0.0]])
    assert not (paths.figures("crops") / "best.png").exists()
    assert (paths.figures("crops") / "confusion_matrix.png").is_file()


def test_missing_predictions_are_named_with_the_command_that_makes_them(project):
    """An evaluation before its predictions is one clear line and leaves nothing behind."""
    pack_crops(project, [0])
    paths.predictions("crops").rmdir()
    with pytest.raises(InputError, match=r"results/crops/predictions.*cnnkeras postprocess crops"):
        evaluate.run("crops")
    assert [file.name for file in paths.results("crops").iterdir()] == ["history.csv"]


@pytest.mark.usefixtures("project")
def test_unknown_experiments_are_named():
    """A misspelt experiment is answered with the nearest."""
    with pytest.raises(InputError, match=r"'corps'.*'crops'"):
        evaluate.run("corps")


def test_evaluation_imports_no_framework(project):
    """The stage runs without TensorFlow, Keras, JAX and MLflow."""
    classify(project, [0, 1], [[0.7, 0.2, 0.1], [0.5, 0.4, 0.1]])
    heavy = ("tensorflow", "keras.src", "jax", "torch", "mlflow", "albumentations")  # `keras` may stand there unloaded
    code = f"import sys; from pipeline.stages import evaluate; evaluate.run('crops'); print([m for m in {heavy} if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_display_may_suppress_more_than_the_measurement():
    """Of two boxes of a class that overlap by 6 / 14 = .43 the surer is drawn at .4, both at .5; another class and one below .2 stay apart."""
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [4, 0, 14, 10], [50, 0, 60, 10.0]])
    found = Detections(np.zeros(4, int), np.array([1, 1, 2, 1]), boxes, np.array([0.5, 0.9, 0.3, 0.1]))
    for iou, kept in ((None, [0.5, 0.9, 0.3]), (0.5, [0.5, 0.9, 0.3]), (0.4, [0.9, 0.3])):
        assert displayed(found, display_threshold=0.2, display_nms_iou=iou).scores.tolist() == kept
