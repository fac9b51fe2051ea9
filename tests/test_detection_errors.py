"""The analysis of a detector's errors, on boxes made by hand."""

import json

import numpy as np
import pytest

from cnnkeras.boxes import Detections, Objects
from cnnkeras.metrics.detection import ERROR_KINDS, count_errors
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.stages.evaluate.detection import error_table

# Each box is 10 high, from y 0 to 10; objects (image, class, left, right, difficult).
OBJECTS = [
    (0, 0, 0, 10, False),
    (0, 1, 20, 30, False),
    (1, 0, 0, 10, False),
    (1, 2, 50, 60, False),
    (1, 0, 80, 90, True),
    (2, 0, 0, 10, False),
    (2, 0, 40, 50, False),
    (2, 0, 60, 70, False),
]


def rows(*boxes: tuple) -> Detections:
    """Detections of (image, class, left, right, score)."""
    images, labels, left, right, scores = np.array(boxes, float).T
    zeros = np.zeros_like(left)
    return Detections(images.astype(int), labels.astype(int), np.stack([left, zeros, right, zeros + 10], 1), scores)


def objects() -> Objects:
    """`OBJECTS`."""
    images, labels, left, right, difficult = np.array(OBJECTS, float).T
    boxes = np.stack([left, 0 * left, right, 0 * left + 10], axis=1)
    return Objects(images.astype(int), labels.astype(int), boxes, difficult.astype(bool))


def counted(detections: Detections, label: int, **options) -> dict[str, int]:
    """Counts of a class's kinds that are not 0."""
    counts = count_errors(detections, objects(), classes=4, **options)[label]
    return {kind: count for kind, count in zip(ERROR_KINDS, counts.tolist(), strict=True) if count}


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 0, 10), "correct"),  # IoU 1
        ((0, 0, 5, 10), "correct"),  # 5 / 10
        ((0, 0, 6, 10), "localisation"),  # 4 / 10
        ((0, 0, 8, 18), "localisation"),  # 2 / 18 = .111
        ((0, 0, 9, 19), "background"),  # 1 / 19 = .053
        ((0, 0, 21, 31), "similar"),  # 9 / 11 of class 1
        ((1, 0, 52, 62), "other"),  # 8 / 12 of class 2
        ((1, 0, 200, 210), "background"),
        ((0, 0, 11, 31), "similar"),  # touches class 1 by 10 / 20; class 0 not at all
        ((0, 0, 8, 30), "similar"),  # 2 / 30 of class 0 is too little, 10 / 22 of class 1
    ],
)
def test_each_kind_by_hand(box, kind):
    """Right class at .5, right class above .1, similar, other, background, with the arithmetic beside."""
    assert counted(rows((*box, 0.9)), 0, similar=[(0, 1)]) == {kind: 1}


def test_without_groups_nothing_is_similar():
    """The same box of another class is `other`."""
    assert counted(rows((0, 0, 21, 31, 0.9)), 0) == {"other": 1}


def test_the_right_class_comes_before_a_similar_one():
    """A box over both, IoU 8 / 22 with each of two objects, is badly placed, not mistaken."""
    found = rows((2, 0, 42, 64, 0.9))
    assert counted(found, 0, similar=[(0, 1)]) == {"localisation": 1}


def test_a_second_detection_of_an_object_is_a_localisation_error():
    """The surer one is correct, whichever comes first in the file."""
    assert counted(rows((0, 0, 1, 10, 0.5), (0, 0, 0, 10, 0.9)), 0) == {"correct": 1, "localisation": 1}


def test_as_many_detections_as_objects_and_difficult_ones_do_not_count():
    """Class 0 has five objects that are not difficult: the sixth surest is not looked at; one of the difficult object is no place taken."""
    sure = [(1, 0, 80, 90, 0.99)]  # of the difficult object
    background = [(3, 0, 0, 10, 0.9 - 0.01 * number) for number in range(5)]
    late = [(0, 0, 0, 10, 0.1)]
    assert counted(rows(*sure, *background, *late), 0) == {"background": 5}
    assert counted(rows(*sure, *background[:4], *late), 0) == {"background": 4, "correct": 1}


def test_shares_are_of_what_was_looked_at_and_their_mean_is_over_classes():
    """(3, 1) and (1, 1) give .75 and .5 correct, mean .625; a class without detections has none and is no part of it."""
    table = error_table(np.array([[3, 1, 0, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]]), ["a", "b", "c"])
    assert [row["correct"] for row in table[:3]] == [0.625, 0.75, 0.5]
    assert [row["detections"] for row in table] == [6, 4, 2, 0]
    assert np.isnan(table[3]["correct"])
    json.dumps(table[:3])


@pytest.mark.parametrize(
    ("where", "groups", "message"),
    [
        ("yolo", "[[3, 4], [cat, 5]]", "expected text; received: 3"),
        ("yolo", '[["zero", "one"], ["cat", "two"]]', "evaluate.similar_classes.1: unknown class 'cat'"),
        ("deconvnet", '[["zero", "one"]]', "expected none, as only detections have an analysis of errors"),
    ],
)
def test_groups_of_similar_classes_are_checked(project, where, groups, message):
    """Unknown classes and tasks without the analysis are refused before anything runs."""
    project.edit(
        f"    architecture: {where}\n", f"    architecture: {where}\n    evaluate: {{similar_classes: {groups}}}\n"
    )
    with pytest.raises(InputError) as error:
        load_params()
    assert message in str(error.value)
