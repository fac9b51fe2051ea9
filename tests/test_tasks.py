"""Targets in, predictions out: what each task encodes and decodes, and that decoding undoes encoding."""

import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest

from cnnkeras import label_maps, losses, tasks
from cnnkeras.boxes import convert_boxes
from cnnkeras.protocols import posteriors
from cnnkeras.tasks import classification, detection, segmentation

# ---- all tasks


def test_tasks_are_found_by_name():
    """Three of them; another name is answered with the nearest."""
    assert tasks.names() == ["classification", "detection", "segmentation"]
    assert tasks.load("detection") is detection
    with pytest.raises(ValueError, match="received: 'segmentaton'; did you mean 'segmentation'"):
        tasks.load("segmentaton")


@pytest.mark.parametrize("name", tasks.names())
def test_a_task_says_of_its_loss_what_the_loss_says(name):
    """params.yaml is checked by the task's word, without Keras; a training by the loss."""
    assert getattr(losses.load(name).build(), "is_mean_of_examples", True) == losses.load(name).IS_MEAN_OF_EXAMPLES


def test_encoding_and_decoding_need_no_keras():
    """Importing the tasks and decoding outputs starts no backend."""
    program = (
        "import sys, numpy as np; from cnnkeras.tasks import classification, detection, segmentation;"
        "classification.decode_outputs(np.zeros((1, 3)));"
        "detection.detect(np.ones((1, 2, 2, 8)), classes=3, confidence_threshold=.5, nms_iou=.5);"
        "segmentation.decode_outputs(np.zeros((4, 4, 3)), (8, 8));"
        "print([name for name in ('tensorflow', 'jax', 'keras.src') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


@pytest.mark.parametrize(
    ("task", "targets", "outputs", "metrics"),
    [
        ("classification", np.array([0, 2]), np.eye(3, dtype="float32")[:2], ["top1_accuracy", "top5_accuracy"]),
        ("detection", np.zeros((2, 3, 3, 9)), np.zeros((2, 3, 3, 14)), ["responsible_iou"]),
        ("segmentation", np.zeros((2, 4, 4), "uint8"), np.zeros((2, 4, 4, 3)), ["pixel_accuracy"]),
    ],
)
def test_every_task_has_a_loss_and_metrics(task, targets, outputs, metrics):
    """They take what the task encodes and what its networks give."""
    module = tasks.load(task)
    assert np.isfinite(float(losses.load(task).build()(targets, outputs)))
    built = module.build_metrics()
    assert tuple(metric.name for metric in built) == module.METRICS
    assert [metric.name for metric in built] == metrics
    for metric in built:
        metric.update_state(targets, outputs)
        assert 0 <= float(metric.result()) <= 1


# ---- classification


def test_labels_are_targets_as_they_are():
    """As int32."""
    targets = classification.encode_targets(np.array([3, 0, 1], np.int64))
    assert targets.dtype == np.int32
    assert targets.tolist() == [3, 0, 1]


def test_probabilities_are_the_softmax_of_the_logits():
    """Of logits (0, log 3) they are 1/4 and 3/4; logits of thousands overflow nothing."""
    outputs = np.array([[0, np.log(3)], [5000, 5000], [-5000, 5000]])
    np.testing.assert_allclose(classification.decode_outputs(outputs), [[1 / 4, 3 / 4], [1 / 2, 1 / 2], [0, 1]])


def test_the_loss_is_the_cross_entropy_of_those_probabilities():
    """-log of the true class's, averaged over the batch."""
    outputs, labels = np.random.default_rng(0).normal(size=(6, 4)).astype("float32"), np.array([0, 1, 2, 3, 0, 1])
    of_truth = classification.decode_outputs(outputs)[np.arange(6), labels]
    assert float(losses.load("classification").build()(labels, outputs)) == pytest.approx(
        -np.log(of_truth).mean(), rel=1e-5
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 3.0)])
def test_the_loss_with_smoothing_and_weights_is_its_formula(smoothing, weights):
    """-1/n sum_i sum_c w_c ((1 - e) y_c + e / C) log p_c, by loops in float64; of class indices, and of mixed classes."""
    generator = np.random.default_rng(0)
    outputs, labels = generator.normal(size=(6, 4)), np.array([0, 1, 2, 3, 0, 1])
    mixed = generator.dirichlet(np.ones(4), size=6)
    loss = losses.load("classification").build(label_smoothing=smoothing, class_weights=weights)
    for targets, shares in ((labels, [[float(c == label) for c in range(4)] for label in labels]), (mixed, mixed)):
        expected = 0.0
        for logits, share in zip(outputs, shares, strict=True):
            for c in range(4):
                log_p = logits[c] - np.log(sum(np.exp(logit) for logit in logits))
                target = (1 - smoothing) * share[c] + smoothing / 4
                expected -= (1.0 if weights is None else weights[c]) * target * log_p / 6
        assert float(loss(targets, outputs.astype("float32"))) == pytest.approx(expected, rel=1e-5)


def test_without_options_the_loss_has_the_bits_of_keras():
    """Values and gradients of the sparse cross-entropy, so that results before the options were there stay as they are."""
    theirs, ours = keras.losses.SparseCategoricalCrossentropy(from_logits=True), losses.load("classification").build()
    outputs, labels = np.random.default_rng(0).normal(size=(64, 10)).astype("float32"), np.arange(64) % 10
    assert float(ours(labels, outputs)) == float(theirs(labels, outputs))
    weights = []
    for loss in (theirs, ours):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(10)])
        model.compile("sgd", loss, metrics=classification.build_metrics())
        model.fit(outputs, labels, epochs=2, verbose=0, shuffle=False)
        weights.append(model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_true_class_of_a_mixture_is_its_most_probable_one():
    """For the accuracies; class indices count as before."""
    outputs = np.array([[5.0, 1, 2, 3, 4, 0], [0, 1, 2, 3, 4, 5.0]], "float32")
    for labels, top1, top5 in (([0, 0], 0.5, 0.5), ([5, 1], 0.0, 0.5), ([0, 5], 1.0, 1.0)):
        soft = 0.7 * classification.soft_targets(np.array(labels), classes=6) + 0.3 / 6
        for targets in (np.array(labels), soft):
            for metric, expected in zip(classification.build_metrics(), (top1, top5), strict=True):
                metric.update_state(targets, outputs)
                assert float(metric.result()) == expected


def test_the_most_probable_classes_come_first():
    """Of equal ones the lower index; no more than there are."""
    probabilities = np.array([[0.2, 0.5, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    assert classification.most_probable(probabilities, 3).tolist() == [[1, 0, 2], [0, 1, 2]]
    assert classification.most_probable(probabilities, 9).shape == (2, 4)


# ---- detection

GRID, CLASSES = 7, 5


def random_objects(images: int = 6, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images of nine objects with centres in different cells, boxes as fractions; the second image is empty."""
    rng = np.random.default_rng(seed)
    boxes, labels = [], []
    for image in range(images):
        count = 0 if image == 1 else 9
        cells = rng.choice(GRID * GRID, count, replace=False)
        centres = (np.stack([cells % GRID, cells // GRID], axis=1) + rng.uniform(0, 1, (count, 2))) / GRID
        boxes.append(convert_boxes(np.hstack([centres, rng.uniform(0.02, 0.6, (count, 2))]), "cxcywh", "xyxy"))
        labels.append(rng.integers(0, CLASSES, count))
    return boxes, labels


def outputs_for(targets: np.ndarray, boxes_per_cell: int = 2) -> np.ndarray:
    """What a perfect network with its second box responsible would give."""
    outputs = np.zeros((*targets.shape[:3], CLASSES + 5 * boxes_per_cell), np.float32)
    outputs[..., :CLASSES], outputs[..., CLASSES + 1] = targets[..., 5:], targets[..., 0]
    place = CLASSES + boxes_per_cell + 4
    outputs[..., place : place + 4] = np.concatenate([targets[..., 1:3], np.sqrt(targets[..., 3:5])], axis=-1)
    return outputs


def test_decoding_what_was_encoded_gives_the_objects_back():
    """Boxes, classes and images, with the score 1."""
    boxes, labels = random_objects()
    targets = detection.encode_targets(boxes, labels, grid=GRID, classes=CLASSES)
    found = detection.detect(outputs_for(targets), classes=CLASSES, confidence_threshold=0.5, nms_iou=1.0)
    np.testing.assert_allclose(found.scores, 1)
    images = np.repeat(np.arange(len(boxes)), [len(image) for image in labels])
    given = np.column_stack([images, np.concatenate(labels), np.concatenate(boxes)])
    decoded = np.column_stack([found.images, found.labels, found.boxes])
    np.testing.assert_allclose(*(rows[np.lexsort(rows.T[::-1].round(4))] for rows in (decoded, given)), atol=1e-5)


def test_targets_by_hand():
    """From (.1, .5) to (.3, .7) on a 7 x 7 grid: centre (.2, .6), so column 1 at .4 and row 4 at .2 of the cell."""
    targets = detection.encode_targets([np.array([[0.1, 0.5, 0.3, 0.7]])], [np.array([2])], grid=7, classes=3)
    np.testing.assert_allclose(targets[0, 4, 1], [1, 0.4, 0.2, 0.2, 0.2, 0, 0, 1], rtol=1e-5)
    assert targets.sum() == pytest.approx(1 + 0.4 + 0.2 + 0.2 + 0.2 + 1, rel=1e-5)


def test_the_first_object_in_a_cell_wins():
    """Also when others lie between, and per image."""
    same = np.array([[0.1, 0.1, 0.2, 0.2], [0.6, 0.6, 0.9, 0.9], [0.0, 0.0, 0.3, 0.3]])
    targets = detection.encode_targets([same, same[::-1]], [np.arange(3), np.arange(3)[::-1]], grid=2, classes=3)
    assert targets[:, 0, 0, 5:].argmax(axis=-1).tolist() == [0, 2]
    assert targets[:, 1, 1, 5:].argmax(axis=-1).tolist() == [1, 1]
    assert targets[..., 0].sum() == 4


def test_tiny_objects_are_no_targets():
    """A side of less than .005 of the image; they take no cell from others."""
    boxes = np.array([[0.5, 0.5, 0.5049, 0.9], [0.5, 0.5, 0.9, 0.504], [0.5, 0.5, 0.6, 0.6]])
    targets = detection.encode_targets([boxes], [np.array([0, 1, 2])], grid=1, classes=3)
    assert targets[0, 0, 0, 5:].tolist() == [0, 0, 1]


def test_an_object_whose_centre_is_on_the_far_edge_is_in_the_last_cell():
    """At its very end."""
    targets = detection.encode_targets([np.array([[0.5, 0.5, 1.5, 1.5]])], [np.array([0])], grid=4, classes=1)
    assert targets[0, 3, 3, :3].tolist() == [1, 1, 1]


def test_images_without_objects_have_empty_targets():
    """Of the right shape."""
    targets = detection.encode_targets([np.empty((0, 4))] * 2, [np.empty(0, int)] * 2, grid=3, classes=2)
    assert targets.shape == (2, 3, 3, 7)
    assert not targets.any()


def test_decoding_by_hand():
    """Row 1, column 2 of a 4 x 4 grid, x .5, y .25, w .5², h .4²; confidence .5, class probabilities .2 and .6."""
    outputs = np.zeros((1, 4, 4, 2 + 5), np.float32)
    outputs[0, 1, 2] = [0.2, 0.6, 0.5, 0.5, 0.25, 0.5, 0.4]
    boxes, scores = detection.decode_outputs(outputs, classes=2)
    centre_x, centre_y, width, height = 2.5 / 4, 1.25 / 4, 0.25, 0.16
    expected = [centre_x - width / 2, centre_y - height / 2, centre_x + width / 2, centre_y + height / 2]
    np.testing.assert_allclose(boxes[0, 1 * 4 + 2], expected, rtol=1e-6)
    np.testing.assert_allclose(scores[0, 1 * 4 + 2], [0.1, 0.3], rtol=1e-6)
    assert boxes.shape == (1, 16, 4)


def test_detection_equals_the_slow_way():
    """Cell by cell, box by box, class by class: threshold, then per-class NMS as in examples/yolo.c."""

    def share(a, b):
        across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        shared = max(across, 0) * max(down, 0)
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    outputs = np.random.default_rng(1).uniform(0, 1, (3, 7, 7, 5 + 2 * 5)).astype(np.float32)
    expected = []
    for image, label in np.ndindex(3, 5):
        candidates = []
        for row, column, box in np.ndindex(7, 7, 2):
            cell = outputs[image, row, column]
            x, y, w, h = cell[7 + 4 * box :][:4].astype(float)
            corners = [(x + column) / 7 - w * w / 2, (y + row) / 7 - h * h / 2]
            corners += [corners[0] + w * w, corners[1] + h * h]
            if cell[5 + box] * cell[label] > 0.3:
                candidates.append((cell[5 + box] * cell[label], corners))
        kept = []
        for score, corners in sorted(candidates, key=lambda candidate: -candidate[0]):
            if all(share(corners, other) <= 0.4 for _, other in kept):
                kept.append((score, corners))
        expected += [(image, label, score, *corners) for score, corners in kept]
    found = detection.detect(outputs, classes=5, confidence_threshold=0.3, nms_iou=0.4)
    rows = np.column_stack([found.images, found.labels, found.scores, found.boxes])
    np.testing.assert_allclose(rows, expected, rtol=1e-4, atol=1e-6)


def test_a_score_must_exceed_the_threshold():
    """As darknet's `prob > thresh`."""
    outputs = np.full((1, 1, 1, 6), 0.5, np.float32)
    assert len(detection.detect(outputs, classes=1, confidence_threshold=0.25, nms_iou=0.5)) == 0
    assert len(detection.detect(outputs, classes=1, confidence_threshold=0.2499, nms_iou=0.5)) == 1


def test_outputs_of_other_classes_are_refused():
    """30 numbers a cell are 20 classes and two boxes, not 21 and something."""
    with pytest.raises(ValueError, match=r"21 \+ 5 x boxes\); received: \(1, 7, 7, 30\)"):
        detection.decode_outputs(np.zeros((1, 7, 7, 30)), classes=21)


def test_the_losss_weights_are_the_papers_unless_told_otherwise():
    """λ_coord 5, λ_noobj .5."""
    loss = losses.load("detection").build()
    assert (loss.coord_weight, loss.noobj_weight) == (5, 0.5)
    assert losses.load("detection").build(noobj_weight=0.1).noobj_weight == 0.1


# ---- segmentation


def test_masks_are_targets_as_they_are():
    """Bytes."""
    masks = np.array([[[0, 1], [2, 255]]], np.uint8)
    assert segmentation.encode_targets(masks).tolist() == masks.tolist()


def test_at_the_networks_size_each_pixel_takes_its_highest_score():
    """Of equal ones the lower class."""
    scores = np.random.default_rng(2).integers(-3, 3, (6, 7, 4)).astype(np.float16)
    labels = segmentation.decode_outputs(scores, (6, 7))
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, scores.argmax(axis=-1))


@pytest.mark.parametrize("size", [(23, 31), (9, 4)])
def test_scores_are_resized_before_the_arg_max(size):
    """Bilinearly with pixel centres at half-integers, written out."""
    scores = np.random.default_rng(3).normal(size=(7, 10, 4)).astype(np.float32)

    def resized(rows, count):
        at = np.clip((np.arange(count) + 0.5) * len(rows) / count - 0.5, 0, len(rows) - 1)
        low = np.minimum(at.astype(int), len(rows) - 2)
        share = (at - low).reshape(-1, *[1] * (rows.ndim - 1))
        return rows[low] * (1 - share) + rows[low + 1] * share

    expected = resized(resized(scores.astype(float), size[0]).swapaxes(0, 1), size[1]).swapaxes(0, 1)
    clear = np.diff(np.sort(expected, axis=-1)[..., -2:])[..., 0] > 1e-3
    labels = segmentation.decode_outputs(scores, size)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(labels[clear], expected.argmax(axis=-1)[clear])


def test_nearest_scores_give_blocks():
    """Twice the size: each pixel four times."""
    scores = np.random.default_rng(4).normal(size=(3, 5, 4)).astype(np.float32)
    expected = scores.argmax(axis=-1).repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(segmentation.decode_outputs(scores, (6, 10), resize="nearest"), expected)


def test_the_palette_is_vocs():
    """aeroplane, bicycle, ..., tvmonitor and the cream of void, as the devkit lists them."""
    palette = label_maps.palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 7: (128, 128, 128)}
    known |= {8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128), 255: (224, 224, 192)}
    assert {label: tuple(palette[label].tolist()) for label in known} == known
    assert len(np.unique(palette, axis=0)) == 256


def test_label_maps_survive_the_png_file():
    """Labels come back; any other reader sees VOC's colours; equal maps are equal bytes."""
    labels = np.random.default_rng(5).choice(np.array([0, 1, 20, 255], np.uint8), (9, 13))
    data = label_maps.encode_png(labels)
    np.testing.assert_array_equal(label_maps.decode_png(data), labels)
    colors = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(colors, label_maps.palette()[labels])
    assert label_maps.encode_png(labels.copy()) == data


def test_files_without_labels_are_refused():
    """No image at all, or one of colours."""
    with pytest.raises(ValueError, match="expected a label map; received: cannot identify"):
        label_maps.decode_png(b"no image")
    colors = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    with pytest.raises(ValueError, match="received: mode RGB"):
        label_maps.decode_png(colors)


def test_a_network_learns_to_overfit_one_scene():
    """Targets, loss and decoding agree with each other: a linear net ends with the scene's objects, found once each."""
    boxes, labels = random_objects(images=1, seed=6)
    targets = detection.encode_targets(boxes, labels, grid=GRID, classes=CLASSES)
    keras.utils.set_random_seed(0)
    inputs = keras.Input((1,))
    outputs = keras.layers.Reshape((GRID, GRID, CLASSES + 10))(keras.layers.Dense(GRID**2 * (CLASSES + 10))(inputs))
    network = keras.Model(inputs, outputs)
    network.compile(
        keras.optimizers.Adam(0.02),
        losses.load("detection").build(),
        metrics=detection.build_metrics(),
        jit_compile=False,
    )
    history = network.fit(np.ones((50, 1)), np.repeat(targets, 50, axis=0), batch_size=1, epochs=6, verbose=0).history
    assert history["responsible_iou"][-1] > 0.95
    found = detection.detect(
        network.predict(np.ones((1, 1)), verbose=0), classes=CLASSES, confidence_threshold=0.5, nms_iou=0.5
    )
    assert len(found) == len(labels[0])
    order, given = np.argsort(found.boxes[:, 0]), np.argsort(boxes[0][:, 0])
    np.testing.assert_array_equal(found.labels[order], labels[0][given])
    np.testing.assert_allclose(found.boxes[order], boxes[0][given], atol=0.02)


def test_every_softmax_is_the_same():
    """Logits of log 1 and log 3 are probabilities of 1/4 and 3/4, at any height, in the precision of the logits; large ones do not overflow."""
    for shift in (0, 1000, -1000):
        logits = np.log([[1.0, 3.0]]) + shift
        np.testing.assert_allclose(posteriors.softmax(logits), [[0.25, 0.75]], rtol=1e-12)
        np.testing.assert_allclose(np.exp(posteriors.log_softmax(logits)), [[0.25, 0.75]], rtol=1e-12)
    assert posteriors.softmax(np.zeros((2, 3), np.float32)).dtype == np.float32
    assert posteriors.probabilities(np.zeros((2, 3))).dtype == np.float32
