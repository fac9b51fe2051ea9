"""`display_threshold: best`: chosen on the validation split, by F1, and used wherever boxes are drawn."""

import json

import cv2
import numpy as np
import pytest

from cnnkeras.boxes import Detections, Objects
from cnnkeras.metrics.detection import THRESHOLDS, best_threshold, f1_over_thresholds
from pipeline.commands import trained
from pipeline.formats.packed import Index, SplitWriter
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import evaluate, postprocess
from tests.conftest import DIGITS
from tests.test_evaluate import read_rows

SIDE = 100  # of the images, whose grid has 2 x 2 cells
CELL = np.array([0.0, 0.0, 50.0, 50.0])  # the cell of the first row and column, in pixels


def f1_by_hand(detections: Detections, objects: Objects, threshold: float) -> float:
    """F1 by a slow loop: the surest detection first takes the object of its class that it overlaps most, if no surer one has it."""
    taken, hits, wrong = set(), 0, 0
    for row in sorted(np.flatnonzero(detections.scores >= threshold), key=lambda row: -detections.scores[row]):
        best, best_iou = None, 0.5
        for number in np.flatnonzero(
            (objects.images == detections.images[row]) & (objects.labels == detections.labels[row])
        ):
            a, b = detections.boxes[row], objects.boxes[number]
            sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
            overlap = sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod())
            if overlap >= best_iou and (best is None or overlap > best_iou):
                best, best_iou = number, overlap
        if best is not None and objects.difficult[best]:
            continue
        if best is None or best in taken:
            wrong += 1
        else:
            taken.add(best)
            hits += 1
    missed = (~objects.difficult).sum() - hits
    return 2 * hits / (2 * hits + wrong + missed)


@pytest.mark.parametrize("seed", range(5))
def test_f1_at_each_threshold_is_that_of_the_detections_above_it(seed):
    """Against the loop, on random boxes of two classes around random objects."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (12, 2))
    boxes = np.hstack([corners, corners + random.uniform(10, 40, (12, 2))])
    objects = Objects(np.repeat(np.arange(4), 3), random.integers(0, 2, 12), boxes, random.random(12) < 0.2)
    of = random.integers(0, 12, 60)
    detections = Detections(
        objects.images[of],
        random.integers(0, 2, 60),
        boxes[of] + random.uniform(-6, 6, (60, 4)),
        random.random(60).round(2),
    )
    f1 = f1_over_thresholds(detections, objects, classes=2)
    assert f1.shape == (3, 1001)
    chosen = range(0, 1001, 25)
    assert f1[0, chosen] == pytest.approx([f1_by_hand(detections, objects, THRESHOLDS[row]) for row in chosen])
    best = best_threshold(f1[0])
    assert f1_by_hand(detections, objects, best) == pytest.approx(np.nanmax(f1[0]))


def pack(project, splits: dict[str, list[list[int]]]) -> None:
    """Pack a detection dataset: of each image the classes of its objects, which all fill the first cell."""
    folder, entries = project.folder / "data/augmented/boxes", {}
    content = cv2.imencode(".png", np.full((SIDE, SIDE, 3), 128, np.uint8))[1].reshape(-1)
    for split, images in splits.items():
        writer = SplitWriter(folder / split)
        for number, labels in enumerate(images):
            boxes = np.tile(CELL, (len(labels), 1))
            ragged = {
                "originals": content,
                "boxes": (boxes / SIDE).astype(np.float32),
                "original_boxes": boxes,
                "box_labels": np.array(labels, np.int32),
                "difficult": np.zeros(len(labels), bool),
            }
            fixed = {"inputs": np.zeros((64, 64, 3), np.uint8), "sizes": np.array([SIDE, SIDE], np.int32)}
            writer.append(f"{split}{number}", fixed=fixed, ragged=ragged)
        entries[split] = writer.close()
    Index("detection", DIGITS, (64, 64, 3), (0.0,), (1.0,), entries, {}, {}).write(folder)


def write_outputs(found: list[tuple[int, float]], place: str = "") -> None:
    """Outputs of an image each: a box that fills the first cell, of a class and a score."""
    outputs = np.zeros((len(found), 2, 2, len(DIGITS) + 5), np.float32)
    for image, (label, score) in enumerate(found):
        outputs[image, 0, 0, label] = score
        outputs[image, 0, 0, len(DIGITS) :] = [1, 0.5, 0.5, np.sqrt(0.5), np.sqrt(0.5)]
    folder = paths.outputs("boxes") / place
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "outputs.npy", outputs)
    facts = {"experiment": "boxes", "dataset": "boxes", "task": "detection", "classes": list(DIGITS)}
    (folder / "outputs.json").write_text(json.dumps(facts))


@pytest.fixture
def best(project):
    """A project whose detector chooses its threshold; scores of the test split are others than those of the validation split."""
    project.edit("display_threshold: 0.3", "display_threshold: best")
    project.edit("confidence_threshold: 0.25", "confidence_threshold: 0.01")
    pack(project, {"val": [[0], [1], [2], [0]], "test": [[0], [1]]})
    write_outputs([(0, 0.9), (1, 0.6), (0, 0.5), (1, 0.3)], "val")
    write_outputs([(0, 0.7), (2, 0.65)])
    return project


@pytest.mark.usefixtures("best")
def test_the_threshold_is_chosen_on_the_validation_split():
    """Four objects. From .9 on one is right, F1 2 / (2 + 3) = .4; from .6 on two, 4 / (4 + 2) = .667; from .5 on one is wrong, 4 / (4 + 1 + 2)."""
    postprocess.run("boxes")
    chosen = json.loads((paths.predictions("boxes") / "chosen.json").read_text())
    assert chosen == {
        "settings": {"display_threshold": 0.6},
        "by": "F1",
        "f1": 0.666667,
        "split": "validation",
        "images": 4,
    }
    assert len(json.loads((paths.predictions("boxes") / "detections.json").read_text())) == 2, (
        "what is measured is not cut"
    )


@pytest.mark.usefixtures("best")
def test_what_was_chosen_decides_what_is_drawn(monkeypatch):
    """In the figures of the evaluation, and by `cnnkeras show`; on the test split, by itself, .7 would be best."""
    postprocess.run("boxes")
    paths.history("boxes").write_text("epoch,loss\n1,2.0\n")
    drawn = []
    module = evaluate.load("detection")
    draw = module.draw_boxes
    monkeypatch.setattr(module, "draw_boxes", lambda *args, **options: drawn.append(args[4:]) or draw(*args, **options))
    evaluate.run("boxes")
    assert [scores.round(2).tolist() for (scores,) in filter(None, drawn)] == [[0.7], [0.65]]
    assert (paths.figures("boxes") / "f1.png").is_file()
    assert read_rows(paths.plots("boxes") / "per_class/per_class.csv")
    assert trained.chosen_settings(load_params(), "boxes")["display_threshold"] == 0.6


@pytest.mark.usefixtures("best")
def test_without_a_choice_show_says_which_stage_makes_it():
    """A file or key, what was expected, and the fix."""
    with pytest.raises(
        InputError, match=r"postprocess.display_threshold: expected a number that was chosen.*postprocess@boxes"
    ):
        trained.chosen_settings(load_params(), "boxes")


def test_a_validation_split_without_objects_cannot_choose(best):
    """One sentence with the key, and no predictions."""
    pack_again = best.folder / "data/augmented/boxes"
    for split in ("val", "test"):
        for file in (pack_again / split).iterdir():
            file.unlink()
        (pack_again / split).rmdir()
    pack(best, {"val": [[], [], [], []], "test": [[0], [1]]})
    with pytest.raises(
        InputError, match=r"boxes.postprocess: display_threshold: expected objects in the validation split"
    ):
        postprocess.run("boxes")
    assert not paths.predictions("boxes").exists()


def test_best_asks_for_the_outputs_of_the_validation_split(project):
    """Nothing else has to be written, and without it nothing changes; the contrary is refused."""
    assert "validation" not in load_params().experiment("boxes").model_dump()["predict"]
    project.edit("display_threshold: 0.3", "display_threshold: best")
    assert load_params().experiment("boxes").predict.validation
    assert not load_params().experiment("crops").predict.validation
    project.edit("predict: {batch_size: 1}", "predict: {batch_size: 1, validation: false}")
    with pytest.raises(
        InputError, match=r"predict.validation: expected true beside postprocess: {display_threshold: best}"
    ):
        load_params()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("display_threshold: 0.3", "display_threshold: bset", "expected a number or 'best'; received: 'bset'"),
        ("display_threshold: 0.3", "display_threshold: 1.5", "expected a number of at most 1 or 'best'; received: 1.5"),
        ("nms_iou: 0.5", "nms_iou: best", "expected a number; received: 'best'"),
        ("top_k: 2", "top_k: best", "expected a whole number; received: 'best'"),
    ],
)
def test_only_the_threshold_of_what_is_drawn_may_be_best(project, old, new, message):
    """Another setting decides what is measured."""
    project.edit(old, new)
    with pytest.raises(InputError) as error:
        load_params()
    assert message in str(error.value)
