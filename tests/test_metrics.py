"""The benchmarks' measures against slow versions written from their rules, and against numbers worked by hand."""

import math

import numpy as np
import pytest

from cnnkeras.boxes import Detections, Objects
from cnnkeras.metrics import classification, detection, segmentation

# ---- classification


def test_top_k_accuracy_by_hand():
    """The true class is first in the first row, third in the second, last in the third."""
    scores = np.array([[0.1, 0.7, 0.2, 0.0], [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.2, 0.1]])
    labels = np.array([1, 2, 3])
    assert [classification.top_k_accuracy(scores, labels, k) for k in (1, 2, 3, 4)] == [1 / 3, 1 / 3, 2 / 3, 1]
    results = classification.evaluate(scores, labels)
    assert results == {"top1_accuracy": 1 / 3, "top5_accuracy": 1, "top1_error": pytest.approx(2 / 3), "top5_error": 0}


def test_of_equal_scores_the_lower_class_comes_first():
    """A network that cannot tell eight classes apart is right once in eight, and five times in eight among five."""
    scores, labels = np.full((8, 8), 0.125), np.arange(8)
    assert classification.true_class_ranks(scores, labels).tolist() == list(range(8))
    assert classification.evaluate(scores, labels)["top1_accuracy"] == 1 / 8
    assert classification.evaluate(scores, labels)["top5_accuracy"] == 5 / 8


def test_ranks_are_places_in_a_stable_sort():
    """Also among many equal scores."""
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 4, (200, 9)).astype(float), rng.integers(0, 9, 200)
    expected = [
        sorted(range(9), key=lambda label: (-row[label], label)).index(truth)
        for row, truth in zip(scores, labels, strict=True)
    ]
    assert classification.true_class_ranks(scores, labels).tolist() == expected


def test_the_confusion_matrix_counts_truth_by_row():
    """Class 0 once right and once taken for 2; class 2 taken for 0."""
    counts = classification.confusion_matrix(np.array([0, 0, 2]), np.array([0, 2, 0]), classes=3)
    assert counts.tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 0]]


def test_wrong_scores_and_labels_are_named():
    """NaN would count as a wrong answer, or a right one; a class beyond the last has no score."""
    with pytest.raises(ValueError, match="received: NaN"):
        classification.evaluate(np.array([[np.nan, 1]]), np.array([0]))
    with pytest.raises(ValueError, match="labels between 0 and 1; received: 2 to 2"):
        classification.evaluate(np.array([[0.0, 1]]), np.array([2]))
    with pytest.raises(ValueError, match=r"received: \(1, 2\) and \(2,\)"):
        classification.evaluate(np.array([[0.0, 1]]), np.array([0, 1]))
    with pytest.raises(ValueError, match="predictions between 0 and 1; received: 0 to 5"):
        classification.confusion_matrix(np.array([0, 1]), np.array([5, 0]), classes=2)


# ---- detection

CLASSES = 4


def random_set(seed: int, examples: int = 12, side: int = 40) -> tuple[Detections, Objects]:
    """Objects with whole 1-based inclusive corners as VOC's, class 3 without any; detections near them and elsewhere.

    Several detections hit the same object, objects overlap, a quarter is difficult, scores are often equal.
    """
    rng = np.random.default_rng(seed)
    count = 5 * examples
    low = rng.integers(1, side, (count, 2))
    corners = np.concatenate([low, low + rng.integers(4, 25, (count, 2))], axis=1)  # inclusive
    objects = Objects(
        images=np.sort(rng.integers(0, examples, count)),
        labels=rng.integers(0, CLASSES - 1, count),
        boxes=corners - np.array([1.0, 1, 0, 0]),
        difficult=rng.random(count) < 0.25,
    )
    target = rng.integers(0, count, 6 * count)
    detected = objects.boxes[target] + rng.integers(-3, 4, (6 * count, 4))
    detected[:, 2:] = np.maximum(detected[:, 2:], detected[:, :2] + 1)
    labels = np.where(rng.random(6 * count) < 0.8, objects.labels[target], rng.integers(0, CLASSES, 6 * count))
    by_image = np.argsort(objects.images[target], kind="stable")
    scores = rng.integers(1, 60, 6 * count) / 60
    return Detections(objects.images[target], labels, detected, scores)[by_image], objects


def devkit_iou(a: np.ndarray, b: np.ndarray) -> float:
    """VOCevaldet.m: of 1-based inclusive corners, widths with +1."""
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - shared)


def devkit_precision_recall(detections: Detections, objects: Objects, label: int) -> tuple[list[float], list[float]]:
    """VOCevaldet.m for one class, detection by detection."""
    to_corners = np.array([1.0, 1, 0, 0])
    to_find = sum((objects.labels == label) & ~objects.difficult)
    taken: set[int] = set()
    hits = wrong = 0
    recall, precision = [], []
    for row in sorted(np.flatnonzero(detections.labels == label), key=lambda row: -detections.scores[row]):
        best, best_iou = -1, -np.inf
        for other in np.flatnonzero((objects.labels == label) & (objects.images == detections.images[row])):
            overlap = devkit_iou(detections.boxes[row] + to_corners, objects.boxes[other] + to_corners)
            if overlap > best_iou:
                best, best_iou = other, overlap
        if best_iou < 0.5:
            wrong += 1
        elif objects.difficult[best]:
            continue
        elif best in taken:
            wrong += 1
        else:
            taken.add(best)
            hits += 1
        recall.append(hits / to_find if to_find else np.nan)
        precision.append(hits / (hits + wrong))
    return recall, precision


def devkit_ap07(recall: list[float], precision: list[float]) -> float:
    """voc_eval.py with use_07_metric."""
    total = 0.0
    for least in np.arange(0.0, 1.1, 0.1):
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= least]
        total += max(reached, default=0.0) / 11
    return total


def devkit_ap10(recall: list[float], precision: list[float]) -> float:
    """VOCap.m: sentinels, the envelope from the right, rectangles where recall changes."""
    r, p = [0.0, *recall, 1.0], [0.0, *precision, 0.0]
    for i in range(len(p) - 2, -1, -1):
        p[i] = max(p[i], p[i + 1])
    return sum((r[i] - r[i - 1]) * p[i] for i in range(1, len(r)) if r[i] != r[i - 1])


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_equals_the_devkits(seed):
    """Both VOC rules with +1 widths on 1-based inclusive corners: class by class, point by point."""
    detections, objects = random_set(seed)
    results = detection.evaluate(detections, objects, classes=CLASSES)
    for label in range(CLASSES - 1):
        recall, precision = devkit_precision_recall(detections, objects, label)
        np.testing.assert_allclose(results.curves[label].recall, recall)
        np.testing.assert_allclose(results.curves[label].precision, precision)
        assert results.per_class["ap_voc07"][label] == pytest.approx(devkit_ap07(recall, precision))
        assert results.per_class["ap_voc10"][label] == pytest.approx(devkit_ap10(recall, precision))


def mask_api_iou(detected: np.ndarray, annotated: np.ndarray, is_crowd: bool) -> float:
    """As bbIou in cocoapi's maskApi.c: by a crowd, the union is the detection's own area."""
    width = min(detected[2], annotated[2]) - max(detected[0], annotated[0])
    height = min(detected[3], annotated[3]) - max(detected[1], annotated[1])
    if width <= 0 or height <= 0:
        return 0.0
    own, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (detected, annotated))
    return width * height / (own if is_crowd else own + other - width * height)


def coco_average_precision(detections: Detections, objects: Objects, label: int, threshold: float) -> float:
    """cocoeval.py for one class and threshold, image by image, with difficult objects and crowds as its ignored ones."""
    crowd = np.zeros(len(objects), bool) if objects.crowd is None else objects.crowd
    ignored = objects.difficult | crowd
    to_find = sum((objects.labels == label) & ~ignored)
    outcomes: list[tuple[float, int, bool | None]] = []  # score, image, hit or wrong or neither
    for image in sorted(set(detections.images)):
        rows = np.flatnonzero((detections.labels == label) & (detections.images == image))
        others = np.flatnonzero((objects.labels == label) & (objects.images == image))
        taken: set[int] = set()
        for row in sorted(rows, key=lambda row: -detections.scores[row])[:100]:
            choice = None
            for is_ignored in (False, True):
                best_iou = threshold
                for other in others[ignored[others] == is_ignored]:
                    overlap = mask_api_iou(detections.boxes[row], objects.boxes[other], bool(crowd[other]))
                    if (other not in taken or crowd[other]) and overlap >= best_iou:
                        choice, best_iou = other, overlap
                if choice is not None:
                    break
            if choice is not None:
                taken.add(choice)
            hit = choice is not None
            outcomes.append((detections.scores[row], image, None if hit and ignored[choice] else hit))
    hits, wrong, recall, precision = 0, 0, [], []
    for _, _, hit in sorted(outcomes, key=lambda outcome: -outcome[0]):
        hits, wrong = hits + (hit is True), wrong + (hit is False)
        recall.append(hits / to_find)
        precision.append(hits / max(hits + wrong, 1))
    at_recall = [
        max((p for r, p in zip(recall, precision, strict=True) if r >= least), default=0.0)
        for least in np.linspace(0, 1, 101)
    ]
    return float(np.mean(at_recall))


@pytest.mark.parametrize("seed", range(3))
def test_coco_average_precision_equals_its_rule(seed):
    """Ten thresholds, objects that are taken once, difficult ones last, 101 points."""
    detections, objects = random_set(seed, examples=8)
    averages = detection.average_precisions_coco(detections, objects, classes=CLASSES)
    for label in range(CLASSES - 1):
        expected = [coco_average_precision(detections, objects, label, t) for t in np.linspace(0.5, 0.95, 10)]
        assert averages[label] == pytest.approx(np.mean(expected))


def crowded(seed: int) -> tuple[Detections, Objects]:
    """A random set in which a quarter of the objects are large crowds, with small detections in them."""
    detections, objects = random_set(seed, examples=8)
    rng = np.random.default_rng(seed)
    crowd = rng.random(len(objects)) < 0.25
    objects.boxes[crowd, 2:] += 25
    near = rng.choice(np.flatnonzero(crowd), 60)
    low = objects.boxes[near, :2] + rng.integers(-6, 30, (60, 2))
    boxes = np.concatenate([low, low + rng.integers(3, 15, (60, 2))], axis=1)
    more = Detections(objects.images[near], objects.labels[near], boxes, rng.integers(1, 60, 60) / 60)
    parts = ("images", "labels", "boxes", "scores")
    both = Detections(*(np.concatenate([getattr(detections, part), getattr(more, part)]) for part in parts))
    by_image = np.argsort(both.images, kind="stable")
    return both[by_image], Objects(objects.images, objects.labels, objects.boxes, objects.difficult, crowd)


@pytest.mark.parametrize("seed", range(3))
def test_coco_average_precision_with_crowds_equals_its_rule(seed):
    """A quarter crowds, a quarter difficult, some both: as cocoeval, which pycocotools 2.0.11 gives to 2e-16 on such sets."""
    detections, objects = crowded(seed)
    averages = detection.average_precisions_coco(detections, objects, classes=CLASSES)
    without = detection.average_precisions_coco(
        detections, Objects(objects.images, objects.labels, objects.boxes, objects.is_uncounted), classes=CLASSES
    )
    for label in range(CLASSES - 1):
        expected = [coco_average_precision(detections, objects, label, t) for t in np.linspace(0.5, 0.95, 10)]
        assert averages[label] == pytest.approx(np.mean(expected), abs=1e-12)
    assert (averages[:-1] > without[:-1]).any()


def one_class(rows: list[tuple[int, float, list[float]]]) -> Detections:
    """Detections of class 0 from (image, score, box)."""
    images, scores, boxes = zip(*rows, strict=True)
    return Detections(np.array(images), np.zeros(len(rows), int), np.array(boxes, float), np.array(scores, float))


def objects_of(rows: list[tuple[int, list[float]]], difficult: tuple[int, ...] = ()) -> Objects:
    """Objects of class 0 from (image, box); those listed are difficult."""
    images, boxes = zip(*rows, strict=True)
    return Objects(
        np.array(images), np.zeros(len(rows), int), np.array(boxes, float), np.isin(np.arange(len(rows)), difficult)
    )


A, B, NOWHERE = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [50.0, 50, 60, 60]


def test_average_precision_by_hand():
    """Hit, wrong, hit; two of four objects: recalls 1/4, 1/4, 1/2 at precisions 1, 1/2, 2/3.

    2007: at recalls 0, .1, .2 precision 1, at .3, .4, .5 2/3, beyond none: (3 + 3 x 2/3) / 11 = 5/11.
    2010: 1/4 x 1 + 1/4 x 2/3 = 5/12.
    """
    detections = one_class([(0, 0.9, A), (0, 0.8, NOWHERE), (1, 0.7, B)])
    objects = objects_of([(0, A), (0, B), (1, A), (1, B)])
    results = detection.evaluate(detections, objects, classes=1)
    (curve,) = results.curves
    np.testing.assert_allclose(curve.recall, [1 / 4, 1 / 4, 1 / 2])
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
    assert curve.objects == 4
    assert results.means["map_voc07"] == pytest.approx(5 / 11)
    assert results.means["map_voc10"] == pytest.approx(5 / 12)
    # COCO: the hits are exact, so all thresholds agree. Recalls 0 to .25 are 26 points at 1, .26 to .50 25 at 2/3.
    assert results.means["map_coco"] == pytest.approx((26 + 25 * 2 / 3) / 101)


def test_a_second_detection_of_an_object_is_wrong():
    """Even a better one: the first in order of score has the object."""
    detections = one_class([(0, 0.9, [0, 0, 10, 8]), (0, 0.8, A)])
    (curve,) = detection.precision_recall_curves(detections, objects_of([(0, A)]), classes=1)
    assert curve.precision.tolist() == [1, 1 / 2]


def test_voc_compares_with_the_nearest_object_only_but_coco_with_the_next_free_one():
    """Both detections fit the first object best. The second is wrong to VOC, a hit of the other object to COCO."""
    objects = objects_of([(0, A), (0, [0, 0, 10, 8])])
    detections = one_class([(0, 0.9, A), (0, 0.8, [0, 0, 10, 9.5])])
    assert detection.match_voc(detections, objects, iou_threshold=0.5).tolist() == [detection.HIT, detection.WRONG]
    outcomes = detection.match_coco(detections, objects, iou_thresholds=np.array([0.5]))
    assert outcomes.tolist() == [[detection.HIT, detection.HIT]]


def test_a_difficult_object_counts_neither_way():
    """However often it is detected by VOC's rule; once by COCO's. It need not be found."""
    detections = one_class([(0, 0.9, B), (0, 0.8, B), (0, 0.7, A)])
    objects = objects_of([(0, A), (0, B)], difficult=(1,))
    neither, hit, wrong = detection.UNCOUNTED, detection.HIT, detection.WRONG
    assert detection.match_voc(detections, objects, iou_threshold=0.5).tolist() == [neither, neither, hit]
    assert detection.match_coco(detections, objects, iou_thresholds=np.array([0.5])).tolist() == [[neither, wrong, hit]]
    results = detection.evaluate(detections, objects, classes=1)
    assert results.curves[0].objects == 1
    assert results.means["map_voc07"] == results.means["map_voc10"] == 1


def test_coco_prefers_an_object_that_counts_to_a_difficult_one():
    """The difficult object fits better, but the other well enough: a hit. VOC takes the better fit: neither."""
    objects = objects_of([(0, A), (0, [0, 0, 10, 8])], difficult=(0,))
    detections = one_class([(0, 0.9, A)])
    assert detection.match_coco(detections, objects, iou_thresholds=np.array([0.5])).tolist() == [[detection.HIT]]
    assert detection.match_voc(detections, objects, iou_threshold=0.5).tolist() == [detection.UNCOUNTED]


def test_a_crowd_takes_any_number_of_detections_by_coco():
    """One person, found last; beside it a crowd of 200 x 100, in which four are found, surer: 1.0, as cocoeval.

    Each of the four, 40 x 80, lies in the crowd as a whole: 3200 / 3200, though its IoU is 3200 / 20000. Of a fifth, 40 x 100, half lies in
    it: at .5 it counts neither way, above it is wrong, so that nine of ten thresholds have a precision of 1/2.
    """
    four = [(0, 0.9 - 0.01 * k, [100 + 50 * k, 20, 140 + 50 * k, 100]) for k in range(4)]
    person = (0, 0.5, [10, 10, 30, 60])
    boxes = [(0, [10, 10, 30, 60]), (0, [100, 10, 300, 110])]
    plain = objects_of(boxes)
    objects = Objects(plain.images, plain.labels, plain.boxes, plain.difficult, np.array([False, True]))
    results = detection.evaluate(one_class([*four, person]), objects, classes=1)
    assert results.means["map_coco"] == 1
    assert results.curves[0].objects == 1
    half = (0, 0.8, [280, 10, 320, 110])
    mean = detection.evaluate(one_class([*four, half, person]), objects, classes=1).means["map_coco"]
    assert mean == pytest.approx((1 + 9 / 2) / 10)
    neither, hit, wrong = detection.UNCOUNTED, detection.HIT, detection.WRONG
    outcomes = detection.match_voc(one_class([*four, person]), objects, iou_threshold=0.5)
    assert outcomes.tolist() == [wrong] * 4 + [hit]  # VOC knows no crowds
    whole = detection.match_voc(one_class([(0, 0.9, boxes[1][1])]), objects, iou_threshold=0.5)
    assert whole.tolist() == [neither]


def test_an_iou_of_exactly_one_half_is_a_hit():
    """The devkit's >=: half of the object is half of the union."""
    detections = one_class([(0, 0.9, [0, 0, 10, 5])])
    assert detection.match_voc(detections, objects_of([(0, A)]), iou_threshold=0.5).tolist() == [detection.HIT]


def test_recall_of_exactly_three_tenths_misses_the_fourth_point():
    """0, .1, ... as floats: 3/10 < .30000000000000004, so three points of eleven count, as in voc_eval.py."""
    objects = objects_of([(image, A) for image in range(10)])
    detections = one_class([(image, 0.9, A) for image in range(3)])
    assert detection.evaluate(detections, objects, classes=1).means["map_voc07"] == pytest.approx(3 / 11)


def test_a_class_without_objects_has_no_average_precision():
    """NaN, and left out of the mean, though it is detected; without any class there is no mean."""
    detections = Detections(np.zeros(2, int), np.array([0, 1]), np.array([A, B]), np.array([0.9, 0.8]))
    results = detection.evaluate(detections, objects_of([(0, A), (0, B)], difficult=(1,)), classes=3)
    for rule in ("voc07", "voc10", "coco"):
        np.testing.assert_allclose(results.per_class[f"ap_{rule}"], [1, np.nan, np.nan])
        assert results.means[f"map_{rule}"] == pytest.approx(1)
    nothing = detection.evaluate(detections, objects_of([(0, A)], difficult=(0,)), classes=2)
    assert all(math.isnan(mean) for mean in nothing.means.values())


def test_finding_nothing_is_worth_nothing():
    """No detections at all: zero, not an error."""
    results = detection.evaluate(one_class([(0, 0.9, A)])[:0], objects_of([(0, A)]), classes=1)
    assert results.means == {"map_voc07": 0, "map_voc10": 0, "map_coco": 0}
    assert len(results.curves[0].recall) == 0


def test_coco_takes_a_hundred_detections_of_a_image_and_class():
    """The hundred-and-first, the only right one, is not looked at; VOC has no such limit."""
    detections = one_class([(0, 0.9 - number / 1000, NOWHERE) for number in range(100)] + [(0, 0.1, A)])
    results = detection.evaluate(detections, objects_of([(0, A)]), classes=1)
    assert results.means["map_coco"] == 0
    assert results.means["map_voc10"] == pytest.approx(1 / 101)


def test_the_order_of_the_rows_matters_only_among_equal_scores():
    """Shuffled rows, all scores different: the same results."""
    detections, objects = random_set(5)
    scores = np.random.default_rng(0).permutation(len(detections)) / len(detections)
    detections = Detections(detections.images, detections.labels, detections.boxes, scores)
    shuffled = detections[np.random.default_rng(1).permutation(len(detections))]
    first, second = (detection.evaluate(rows, objects, classes=CLASSES) for rows in (detections, shuffled))
    assert first.means == second.means


def test_wrong_detections_are_named():
    """A class beyond the last; a score that is no number."""
    objects = objects_of([(0, A)])
    with pytest.raises(ValueError, match="detections of classes 0 to 1; received: 2 to 2"):
        detection.evaluate(Detections(np.zeros(1, int), np.array([2]), np.array([A]), np.ones(1)), objects, classes=2)
    with pytest.raises(ValueError, match="received: NaN"):
        detection.evaluate(one_class([(0, np.nan, A)]), objects, classes=1)


# ---- segmentation


def test_segmentation_by_hand():
    """Two classes and background over seven pixels, one of them void.

    truth      0 0 0 1 1 2 void    IoU: background 2 / (3 + 2 - 2) = 2/3, class 1 2 / (2 + 3 - 2) = 2/3,
    prediction 0 0 1 1 1 2 2       class 2 1 / (1 + 1 - 1) = 1. Accuracies 2/3, 1, 1; 5 of 6 pixels.
    """
    truth = np.array([0, 0, 0, 1, 1, 2, 255], np.uint8)
    prediction = np.array([0, 0, 1, 1, 1, 2, 2], np.uint8)
    confusion = segmentation.confusion_matrix(truth, prediction, classes=3)
    assert confusion.tolist() == [[2, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert segmentation.evaluate(confusion) == {
        "mean_iou": pytest.approx((2 / 3 + 2 / 3 + 1) / 3),
        "pixel_accuracy": pytest.approx(5 / 6),
        "mean_accuracy": pytest.approx((2 / 3 + 1 + 1) / 3),
        "frequency_weighted_iou": pytest.approx((3 * 2 / 3 + 2 * 2 / 3 + 1 * 1) / 6),
    }


def random_maps(count: int, classes: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of label maps of different sizes, with void in the truth."""
    rng = np.random.default_rng(seed)
    labels = np.array([*range(classes), 255], np.uint8)
    shapes = rng.integers(3, 12, (count, 2))
    return [(rng.choice(labels, shape), rng.choice(labels[:-1], shape)) for shape in shapes]


def test_mean_iou_equals_the_devkits():
    """VOCevalseg.m pixel by pixel: one confusion matrix over images of any size, void removed."""
    pairs = random_maps(6, classes=5, seed=0)
    counts = np.zeros((5, 5))
    for truth, prediction in pairs:
        for place in np.ndindex(*truth.shape):
            if truth[place] != 255:
                counts[truth[place], prediction[place]] += 1
    ious = [counts[i, i] / (counts[i].sum() + counts[:, i].sum() - counts[i, i]) for i in range(5)]
    confusion = sum(segmentation.confusion_matrix(*pair, classes=5) for pair in pairs)
    np.testing.assert_array_equal(confusion, counts)
    np.testing.assert_allclose(segmentation.per_class(confusion)["iou"], ious)
    assert segmentation.evaluate(confusion)["mean_iou"] == pytest.approx(np.mean(ious))


def test_a_class_that_occurs_nowhere_is_left_out():
    """Neither true nor predicted: NaN. Predicted but not true: IoU 0, and no accuracy."""
    confusion = segmentation.confusion_matrix(np.array([0, 0], np.uint8), np.array([0, 1], np.uint8), classes=3)
    classes = segmentation.per_class(confusion)
    np.testing.assert_allclose(classes["iou"], [1 / 2, 0, np.nan])
    np.testing.assert_allclose(classes["accuracy"], [1 / 2, np.nan, np.nan])
    assert classes["pixels"].tolist() == [2, 0, 0]
    results = segmentation.evaluate(confusion)
    assert results["mean_iou"] == 1 / 4
    assert math.isnan(results["mean_accuracy"]), "of the background alone"


def test_a_mean_over_the_background_alone_is_none():
    """Three pixels of background, all right: of the pixels 1.0 is right, and nothing is known of the classes.

    With one of them taken for class 1, IoU is 2/3 and 0, whose mean says something of class 1.
    """
    truth = np.zeros(3, np.uint8)
    results = segmentation.evaluate(segmentation.confusion_matrix(truth, truth, classes=2))
    assert results.pop("pixel_accuracy") == 1.0
    assert all(math.isnan(value) for value in results.values())
    taken = segmentation.evaluate(segmentation.confusion_matrix(truth, np.array([0, 0, 1], np.uint8), classes=2))
    assert taken["mean_iou"] == pytest.approx((2 / 3 + 0) / 2)
    assert math.isnan(taken["frequency_weighted_iou"])


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 5, 9), (300, 401)])
@pytest.mark.parametrize("run", [1, 5, 24])
def test_each_pixel_is_counted_once(shape, run):
    """Maps of noise, of short runs and of long ones, of any size and order in memory: against a loop over the pixels."""
    random = np.random.default_rng(run)
    size = int(np.prod(shape))
    truth, prediction = (
        np.repeat(random.choice(labels, size // run + 1), run)[:size].astype(np.uint8).reshape(shape)
        for labels in ([0, 1, 20, 255], [0, 9, 20])
    )
    prediction = np.where(truth == 255, 255, prediction).astype(np.uint8)  # what is void is not looked at
    expected = np.zeros((21, 21), int)
    for true, predicted in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if true != 255:
            expected[true, predicted] += 1
    counts = segmentation.confusion_matrix(truth, prediction, classes=21)
    np.testing.assert_array_equal(counts, expected)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(segmentation.confusion_matrix(truth.T, prediction.T, classes=21), expected)


def test_void_alone_has_no_measure():
    """NaN, not an error."""
    void = np.full((2, 2), 255, np.uint8)
    confusion = segmentation.confusion_matrix(void, np.zeros((2, 2), np.uint8), classes=2)
    assert not confusion.any()
    assert all(math.isnan(value) for value in segmentation.evaluate(confusion).values())


def test_a_perfect_prediction_is_one_everywhere():
    """Whatever lies under void."""
    truth = random_maps(1, classes=4, seed=1)[0][0]
    prediction = np.where(truth == 255, 3, truth).astype(np.uint8)
    confusion = segmentation.confusion_matrix(truth, prediction, classes=4)
    assert set(segmentation.evaluate(confusion).values()) == {1.0}


def test_wrong_label_maps_are_named():
    """Another size, another type, a label beyond the last, void in the prediction."""
    two, three = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match=r"truth \(2, 2\) and prediction \(3, 3\)"):
        segmentation.confusion_matrix(two, three, classes=2)
    with pytest.raises(ValueError, match="received: uint8 and int64"):
        segmentation.confusion_matrix(two, two.astype(np.int64), classes=2)
    with pytest.raises(ValueError, match="up to 0 in the truth, 7 in the prediction"):
        segmentation.confusion_matrix(two, two + np.uint8(7), classes=2)
    with pytest.raises(ValueError, match="255 in the prediction"):
        segmentation.confusion_matrix(two, two + np.uint8(255), classes=2)
