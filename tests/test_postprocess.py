"""Post-processing: from outputs to the files that other tools and the evaluation read."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnnkeras.boxes import Detections
from cnnkeras.label_maps import decode_png, palette
from cnnkeras.tasks import detection
from pipeline.formats import predictions
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import postprocess
from tests.contents import digests

SIZES = [(100, 200), (30, 40)]  # height, width of the two test images


@pytest.fixture(autouse=True)
def project(project):
    """The smallest project, with two test images in each of its datasets."""
    for dataset in ("crops", "boxes", "masks"):
        project.pack_test_split(
            dataset,
            [(id, {"sizes": np.array(size, np.int32)}, {}) for id, size in zip(("ä 1", "b"), SIZES, strict=True)],
        )
    return project


def postprocessed(name: str, outputs: np.ndarray, *, classes=("zero", "one", "two")) -> Path:
    """Run the stage on the outputs of an experiment; returns the predictions' folder."""
    folder = paths.outputs(name)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "outputs.npy", outputs)
    facts = {"experiment": name, "dataset": name, "task": "", "classes": list(classes)}
    (folder / "outputs.json").write_text(json.dumps(facts))
    postprocess.run(name)
    return paths.predictions(name)


def test_probabilities_and_the_most_probable_classes():
    """Logits (0, log 2, 0) are probabilities 1/4, 1/2, 1/4; of equal ones the lower class is named first."""
    logits = np.log(np.array([[1, 2, 1], [1, 1, 8]], np.float32))
    folder = postprocessed("crops", logits)
    np.testing.assert_allclose(np.load(folder / "probabilities.npy"), [[0.25, 0.5, 0.25], [0.1, 0.1, 0.8]], rtol=1e-6)
    with (folder / "top_k.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [
        ["id", "rank", "class", "probability"],
        ["ä 1", "1", "one", "0.500000"],
        ["ä 1", "2", "zero", "0.250000"],
        ["b", "1", "two", "0.800000"],
        ["b", "2", "zero", "0.100000"],
    ]


def scene_outputs() -> np.ndarray:
    """Two images on a 2 x 2 grid with two boxes a cell, 3 classes: (2, 2, 2, 13)."""
    outputs = np.zeros((2, 2, 2, 13), np.float32)
    # First image, row 0, column 1: two boxes in the middle of the cell, half as wide as the image. Confidences .9
    # and .8, class one .5.
    outputs[0, 0, 1] = [0, 0.5, 0, 0.9, 0.8, *[0.5, 0.5, np.sqrt(0.5), np.sqrt(0.5)], *[0.5, 0.5, np.sqrt(0.5), 0.75]]
    # Second image, row 1, column 0: class two is sure, class zero at the threshold; and a box far outside.
    outputs[1, 1, 0] = [0.25, 0, 0.75, 1, 1, *[0, 1, 1, 1], *[30, 30, 0.5, 0.5]]
    return outputs


def test_detections_in_coco_form():
    """Pixels of the image's own size, cut at its edges; NMS leaves the better of two; a box outside is no detection.

    First image, 100 x 200: centre (.75, .25), .5 by .5, so x from 100 to 200 and y from 0 to 50, score .9 x .5. The
    second box, .5625 high, overlaps it by 8/9 and is dropped. Second image, 30 x 40: centre (0, 1), 1 by 1, cut to x
    0..20, y 15..30, score .75; class zero's .25 is not above the threshold.
    """
    folder = postprocessed("boxes", scene_outputs())
    assert json.loads((folder / "detections.json").read_text()) == [
        {"image_id": 1, "category_id": 2, "bbox": [100.0, 0.0, 100.0, 50.0], "score": 0.45},
        {"image_id": 2, "category_id": 3, "bbox": [0.0, 15.0, 20.0, 15.0], "score": 0.75},
    ]
    assert json.loads((folder / "images.json").read_text(encoding="utf-8")) == {
        "images": [
            {"id": 1, "file_name": "ä 1", "width": 200, "height": 100},
            {"id": 2, "file_name": "b", "width": 40, "height": 30},
        ],
        "categories": [{"id": 1, "name": "zero"}, {"id": 2, "name": "one"}, {"id": 3, "name": "two"}],
    }


def test_the_evaluation_reads_what_was_found():
    """Boxes to a hundredth of a pixel, scores to a millionth, by image and falling score."""
    outputs = np.random.default_rng(0).uniform(0.1, 1, (2, 7, 7, 13)).astype(np.float32)
    found = predictions.read_detections(postprocessed("boxes", outputs))
    expected = detection.detect(outputs, classes=3, confidence_threshold=0.25, nms_iou=0.5)
    expected = expected[np.lexsort((-expected.scores, expected.images))]
    assert len(found) == len(expected) > 50
    np.testing.assert_array_equal(found.images, expected.images)
    np.testing.assert_array_equal(found.labels, expected.labels)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
    limits = np.array(SIZES)[expected.images][:, [1, 0, 1, 0]]
    np.testing.assert_allclose(found.boxes, np.clip(expected.boxes * limits, 0, limits), atol=0.011)
    text = (paths.predictions("boxes") / "detections.json").read_text()
    assert max(len(number.partition(".")[2]) for number in text.replace("]", ",").replace("}", ",").split(",")) <= 6


def test_equal_scores_have_a_fixed_order():
    """By class, and within a class as the suppression gave them."""
    boxes = np.array([[0.0, 0, 0.1, 0.1], [0.5, 0.5, 0.6, 0.6], [0.2, 0.2, 0.3, 0.3]])
    found = Detections(np.zeros(3, int), np.array([2, 0, 0]), boxes, np.array([0.5, 0.5, 0.5000001]))
    rows = predictions.coco_results(found, np.array([[100, 100]]))
    assert [(row["category_id"], row["bbox"][0]) for row in rows] == [(1, 50), (1, 20), (3, 0)]


def test_no_detections_are_an_empty_list():
    """Not a missing file."""
    folder = postprocessed("boxes", np.zeros((2, 2, 2, 13), np.float32))
    assert (folder / "detections.json").read_text() == "[]\n"


def test_label_maps_at_the_images_own_size():
    """Left half class one, right half background; void never; palette PNGs in VOC's colours."""
    scores = np.zeros((2, 8, 8, 4), np.float16)
    scores[:, :, :4, 2], scores[:, :, 4:, 0] = 1, 1
    folder = postprocessed("masks", scores)
    assert list(digests(folder)) == ["label_maps/b.png", "label_maps/ä 1.png"]
    for id, (height, width) in zip(("ä 1", "b"), SIZES, strict=True):
        data = (folder / "label_maps" / f"{id}.png").read_bytes()
        labels = decode_png(data)
        assert labels.shape == (height, width)
        assert (labels[:, : width // 2] == 2).all()
        assert (labels[:, width // 2 :] == 0).all()
        colors = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        np.testing.assert_array_equal(colors[0, 0], palette()[2])


@pytest.mark.parametrize(("name", "shape"), [("crops", (2, 3)), ("boxes", (2, 7, 7, 13)), ("masks", (2, 8, 8, 4))])
def test_equal_outputs_give_equal_files(name, shape):
    """Byte for byte, and nothing half-written beside them."""
    outputs = np.random.default_rng(1).uniform(0, 1, shape).astype(np.float32)
    first = digests(postprocessed(name, outputs))
    assert digests(postprocessed(name, outputs)) == first
    assert not list(paths.results(name).rglob(".partial*"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_outputs_that_are_no_numbers_are_refused(value):
    """A network that diverged finds nothing; that must not look like a result. The former one stays."""
    before = digests(postprocessed("boxes", scene_outputs()))
    outputs = scene_outputs()
    outputs[1, 0, 0, 3] = value
    with pytest.raises(InputError, match=r"results/boxes/outputs/outputs\.npy: expected finite.*for test example 1\."):
        postprocessed("boxes", outputs)
    assert digests(paths.predictions("boxes")) == before


def test_outputs_of_another_data_set_are_refused():
    """Too few examples, or other classes: the command that helps is named."""
    with pytest.raises(InputError, match=r"for 2 examples.*received: 1 of.*Run `cnnkeras predict boxes`"):
        postprocessed("boxes", scene_outputs()[:1])
    with pytest.raises(InputError, match="classes zero, one, two; received: 2 of a, b, c"):
        postprocessed("boxes", scene_outputs(), classes=("a", "b", "c"))


def test_settings_are_the_arguments_of_the_tasks_function(project):
    """Defaults are filled in, of the greedy inference too; what is not used is left out, so that results keep their fingerprint."""
    dumped = {name: entry.model_dump(mode="json")["postprocess"] for name, entry in load_params().experiments.items()}
    assert set(dumped["boxes"]) == {"confidence_threshold", "nms_iou", "display_threshold"}
    assert dumped["masks"] == {"resize": "bilinear"}
    project.edit("postprocess: {resize: bilinear}", "postprocess: {greedy: {threshold: 0.5}}")
    greedy = load_params().experiment("masks").model_dump(mode="json")["postprocess"]
    assert greedy == {"resize": "bilinear", "greedy": {"threshold": 0.5, "min_fraction": 0.01}}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("greedy: {thresold: 0.5}", "experiments.masks.postprocess.greedy.thresold: unknown key 'thresold'; did you mean 'threshold'?"),
        ("greedy: {min_fraction: 0}", "experiments.masks.postprocess.greedy.min_fraction: expected a number greater than 0; received: 0"),
        ("greedy: true", "experiments.masks.postprocess.greedy: expected a mapping"),
        ("resiz: nearest", "experiments.masks.postprocess.resiz: unknown key 'resiz'; did you mean 'resize'?"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused(project, wrong, message):
    """With their line, before anything runs."""
    project.edit("postprocess: {resize: bilinear}", f"postprocess: {{{wrong}}}")
    with pytest.raises(InputError) as error:
        load_params()
    assert message in str(error.value)


def test_post_processing_needs_no_tensorflow():
    """Nor Keras' own code, nor JAX; it starts in a second."""
    postprocessed("boxes", scene_outputs())
    program = (
        "import sys; from pipeline.stages import postprocess; postprocess.run('boxes');"
        "print([name for name in ('tensorflow', 'jax', 'keras.src') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.splitlines()[-1] == "[]"
