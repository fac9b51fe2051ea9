"""Formats, intersection over union and non-maximum suppression of boxes."""

import itertools

import numpy as np
import pytest

from cnnkeras import boxes
from cnnkeras.boxes import clip_boxes, convert_boxes, iou, non_maximum_suppression, suppress_by_class

FORMATS = ("xyxy", "xywh", "cxcywh")


def random_boxes(count: int, seed: int = 0, side: int = 20) -> np.ndarray:
    """Boxes with whole corners, none empty."""
    rng = np.random.default_rng(seed)
    low = rng.integers(0, side, (count, 2))
    return np.concatenate([low, low + rng.integers(1, side, (count, 2))], axis=1).astype(float)


def test_a_box_in_every_format():
    """Left 10, top 20, right 40, bottom 30 is 30 wide and 10 high, with its centre at (25, 25)."""
    same_box = {"xyxy": [10, 20, 40, 30], "xywh": [10, 20, 30, 10], "cxcywh": [25, 25, 30, 10]}
    for source, target in itertools.product(FORMATS, FORMATS):
        np.testing.assert_array_equal(convert_boxes(np.array(same_box[source]), source, target), same_box[target])


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(FORMATS, 2)))
def test_converting_back_is_the_identity(source, target):
    """There and back again changes nothing."""
    given = convert_boxes(random_boxes(50), "xyxy", source)
    np.testing.assert_allclose(convert_boxes(convert_boxes(given, source, target), target, source), given)


def test_unknown_formats_are_named():
    """The message says which formats there are and which was asked for."""
    with pytest.raises(ValueError, match="xyxy, xywh or cxcywh; received: 'yxyx'"):
        convert_boxes(random_boxes(1), "yxyx", "xyxy")
    with pytest.raises(ValueError, match="xyxy, xywh or cxcywh; received: 'yxyx'"):
        convert_boxes(random_boxes(1), "xyxy", "yxyx")


def test_iou_by_hand():
    """Two 4 x 4 boxes shifted by 2 share 2 x 4 = 8 of 16 + 16 - 8 = 24: a third. Touching boxes share nothing."""
    box = np.array([0.0, 0.0, 4.0, 4.0])
    others = np.array([[2.0, 0, 6, 4], [4, 0, 8, 4], [9, 9, 10, 10], [1, 1, 3, 3], [0, 0, 4, 4]])
    np.testing.assert_allclose(iou(box, others), [1 / 3, 0, 0, 4 / 16, 1])


def test_iou_counts_pixels():
    """For boxes with whole corners, IoU is the ratio of the numbers of unit squares in both and in either."""

    def squares(box: np.ndarray) -> set[tuple[int, int]]:
        x0, y0, x1, y1 = box.astype(int)
        return set(itertools.product(range(x0, x1), range(y0, y1)))

    a, b = random_boxes(40, seed=1), random_boxes(40, seed=2)
    expected = [[len(squares(p) & squares(q)) / len(squares(p) | squares(q)) for q in b] for p in a]
    np.testing.assert_allclose(iou(a[:, None], b), expected)


def test_continuous_corners_are_vocs_plus_one_widths():
    """IoU of inclusive 1-based corners with the devkit's +1 is IoU of (xmin - 1, ymin - 1, xmax, ymax)."""
    a, b = random_boxes(200, seed=3) + 1, random_boxes(200, seed=4) + 1
    width = np.minimum(a[:, 2], b[:, 2]) - np.maximum(a[:, 0], b[:, 0]) + 1
    height = np.minimum(a[:, 3], b[:, 3]) - np.maximum(a[:, 1], b[:, 1]) + 1
    shared = np.where((width > 0) & (height > 0), width * height, 0)
    sizes = [(c[:, 2] - c[:, 0] + 1) * (c[:, 3] - c[:, 1] + 1) for c in (a, b)]
    np.testing.assert_allclose(iou(a - [1, 1, 0, 0], b - [1, 1, 0, 0]), shared / (sizes[0] + sizes[1] - shared))


def test_iou_invariants():
    """A box with itself is 1; the order of the two does not matter; two points have no area to share."""
    a, b = random_boxes(50, seed=5), random_boxes(50, seed=6)
    np.testing.assert_array_equal(iou(a, a), 1)
    np.testing.assert_array_equal(iou(a, b), iou(b, a))
    assert iou(np.zeros(4), np.zeros(4)) == 0


def test_boxes_are_cut_at_their_images_edges():
    """Each box at its own image's; one outside keeps no area."""
    given = np.array([[-5.0, 2, 120, 30], [5, -3, 20, 90], [110, 5, 130, 20]])
    sizes = np.array([[50, 100], [60, 40], [50, 100]])  # height, width
    expected = [[0, 2, 100, 30], [5, 0, 20, 60], [100, 5, 100, 20]]
    np.testing.assert_array_equal(clip_boxes(given, sizes), expected)


def suppressed_one_by_one(given, scores, groups, iou_threshold) -> list[int]:
    """Textbook NMS: rows kept, by group and then by score."""
    kept = []
    for group in sorted(set(groups)):
        rows = sorted(np.flatnonzero(groups == group), key=lambda row: (-scores[row], row))
        winners = []
        for row in rows:
            if all(float(iou(given[row], given[winner])) <= iou_threshold for winner in winners):
                winners.append(row)
        kept += winners
    return kept


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("block", [1, 40, boxes.NMS_BLOCK])
def test_suppression_equals_the_textbooks(iou_threshold, block, monkeypatch):
    """Groups of 1 to 60 boxes, unsorted, with equal scores: the same rows in the same order, however blocked."""
    monkeypatch.setattr(boxes, "NMS_BLOCK", block)
    rng = np.random.default_rng(7)
    groups = rng.permutation(np.repeat(rng.choice(1000, 12, replace=False), [1, 1, 2, 2, 3, 4, 5, 9, 10, 20, 40, 60]))
    given, scores = random_boxes(len(groups), seed=8), rng.integers(0, 10, len(groups)) / 10
    kept = non_maximum_suppression(given, scores, groups, iou_threshold=iou_threshold)
    assert kept.tolist() == suppressed_one_by_one(given, scores, groups, iou_threshold)


@pytest.mark.parametrize("iou_threshold", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("count", "limits"), [(1, {}), (9, {"NMS_BITS": 1}), (70, {"NMS_IMAGES": 2}), (130, {"NMS_PAIRS": 1})]
)
def test_suppression_of_shared_boxes_equals_the_textbooks(iou_threshold, count, limits, monkeypatch):
    """Five images, of 1 to 130 boxes (bits of one to three numbers), one with no score above the threshold: each class by itself, however divided."""
    for name, value in limits.items():
        monkeypatch.setattr(boxes, name, value)
    rng = np.random.default_rng(count)
    given = random_boxes(5 * count, seed=9).reshape(5, count, 4).astype(np.float32)
    given[:, :2] = given[:, :1, [0, 1, 0, 1]]  # without area, in one place: their IoU is 0
    scores = (rng.integers(0, 10, (5, count, 3)) / 10).astype(np.float32)  # many are equal, or the threshold itself
    scores[2] = 0
    images, candidates, labels = np.nonzero(scores > np.float32(0.3))
    expected = suppressed_one_by_one(
        given[images, candidates].astype(np.float64),
        scores[images, candidates, labels],
        images * 3 + labels,
        iou_threshold,
    )
    found = suppress_by_class(given, scores, score_threshold=np.float32(0.3), iou_threshold=iou_threshold)
    for values, rows in zip(found, (images, candidates, labels), strict=True):
        assert values.tolist() == rows[expected].tolist()


def test_no_image_has_nothing_to_suppress():
    """Neither has an image whose scores are all below the threshold."""
    for n in (0, 2):
        found = suppress_by_class(
            np.zeros((n, 4, 4)), np.zeros((n, 4, 3), np.float32), score_threshold=0.1, iou_threshold=0.5
        )
        assert [values.tolist() for values in found] == [[], [], []]


def test_suppression_by_hand():
    """A suppressed box suppresses no other: A takes out B (IoU 2/3), so C, which only B overlaps that much, stays."""
    # Ten wide, shifted by two each: IoU of neighbours 8 / 12, of A and C 6 / 14.
    given = np.array([[0.0, 0, 10, 10], [2, 0, 12, 10], [4, 0, 14, 10]])
    scores, groups = np.array([0.9, 0.8, 0.7]), np.zeros(3, int)
    assert non_maximum_suppression(given, scores, groups, iou_threshold=0.5).tolist() == [0, 2]
    assert non_maximum_suppression(given, scores, groups, iou_threshold=0.7).tolist() == [0, 1, 2]
    assert non_maximum_suppression(given, scores, np.arange(3), iou_threshold=0.5).tolist() == [0, 1, 2]


def test_an_iou_of_exactly_the_threshold_is_kept():
    """Halves: [0, 2] and [0, 1] share 1 of 2. Only an IoU greater than the threshold suppresses."""
    given = np.array([[0.0, 0, 2, 1], [0, 0, 1, 1]])
    kept = non_maximum_suppression(given, np.array([0.5, 0.4]), np.zeros(2, int), iou_threshold=0.5)
    assert kept.tolist() == [0, 1]


def test_suppressing_twice_is_suppressing_once():
    """What is kept stays kept."""
    rng = np.random.default_rng(9)
    given, scores, groups = random_boxes(300, seed=10), rng.random(300), rng.integers(0, 15, 300)
    once = non_maximum_suppression(given, scores, groups, iou_threshold=0.4)
    twice = non_maximum_suppression(given[once], scores[once], groups[once], iou_threshold=0.4)
    assert twice.tolist() == list(range(len(once)))


def test_no_boxes_leave_none():
    """An empty set is a set."""
    kept = non_maximum_suppression(np.empty((0, 4)), np.empty(0), np.empty(0, int), iou_threshold=0.5)
    assert kept.tolist() == []


def test_wrong_arguments_are_named():
    """Lengths that differ, a threshold out of its range."""
    with pytest.raises(ValueError, match="received: 2, 1, 2"):
        non_maximum_suppression(random_boxes(2), np.ones(1), np.ones(2, int), iou_threshold=0.5)
    with pytest.raises(ValueError, match=r"between 0 and 1; received: 1\.5"):
        non_maximum_suppression(random_boxes(2), np.ones(2), np.ones(2, int), iou_threshold=1.5)
