"""labelme's JSON files: shapes by hand-worked numbers, and what is wrong in a file."""

import json

import numpy as np
import pytest

from pipeline.files.local import LocalFile, write_listing
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, labelme
from tests.archive_files import image


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, "flags": {}, **more}


def document(*shapes, name="a.png", size=(100, 50)):
    return json.dumps(
        {"version": "5.4.1", "shapes": list(shapes), "imagePath": name, "imageData": None, "imageWidth": size[0], "imageHeight": size[1]}
    )  # fmt: skip


def source_of(tmp_path, files, **entry):
    for name, content in files.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "raw").mkdir()
    write_listing(LocalFile(path="data"), tmp_path / "raw")
    splits = {"train": ".", "val": ".", "test": "."}
    every = {"kind": "labelme", "files": [{"path": "data"}], "classes": ["nut", "bolt"], "splits": splits}
    return labelme.Source(**every | entry), tmp_path / "raw"


def one(tmp_path, text, *, masks=False):
    source, raw = source_of(tmp_path, {"a.png": image(100, 50, "PNG"), "a.json": text})
    return labelme.examples(source, raw, masks=masks, split="test")[0]


def test_shapes_by_hand(tmp_path):
    """A polygon, a rectangle with its corners in any order, and a circle of radius 5; lines and points are counted."""
    text = document(
        shape("nut", [[10, 10], [50, 10], [50, 40], [10, 40]]),
        shape("bolt", [[90, 45], [70, 5.5]], "rectangle"),
        shape("nut", [[60, 20], [63, 24]], "circle"),
        shape("bolt", [[1, 1], [5, 5]], "line"),
        shape("bolt", [[1, 1]], "point"),
    )
    example = one(tmp_path, text)
    assert example.boxes.round(9).tolist() == [[10, 10, 50, 40], [70, 5.5, 90, 45], [55, 15, 65, 25]]
    assert example.labels.tolist() == [0, 1, 0]
    assert example.dropped == {"points and lines": 2}
    assert example.annotated_size == (100, 50)


def test_a_label_map_by_hand(tmp_path):
    """40 x 30 pixels of a nut, and on it 10 x 10 of a bolt, which is smaller, although it comes first."""
    text = document(shape("bolt", [[20, 20], [30, 30]], "rectangle"), shape("nut", [[10, 10], [50, 40]], "rectangle"))
    mask = one(tmp_path, text, masks=True).mask
    expected = np.zeros((50, 100), np.uint8)
    expected[10:40, 10:50] = 1
    expected[20:30, 20:30] = 2
    assert np.array_equal(mask, expected)


def test_shapes_of_a_group_are_one_object(tmp_path):
    """Of one label and one number; others of that number, and shapes without one, are objects of their own."""
    parts = [
        ([[0, 0], [10, 10]], 1),
        ([[30, 20], [40, 30]], 1),
        ([[50, 0], [60, 10]], None),
        ([[70, 0], [80, 10]], None),
    ]
    shapes = [shape("nut", points, "rectangle", group_id=group) for points, group in parts]
    text = document(*shapes, shape("bolt", [[5, 5], [9, 9]], "rectangle", group_id=1))
    example = one(tmp_path, text, masks=True)
    assert example.boxes.tolist() == [[0, 0, 40, 30], [50, 0, 60, 10], [70, 0, 80, 10], [5, 5, 9, 9]]
    assert (example.mask == 1).sum() == 4 * 100 - 16


def test_boxes_at_the_edge(tmp_path):
    """Clipped, or dropped and counted."""
    corners = ([[-5, -5], [10, 10]], [[200, 5], [210, 9]], [[5, 5], [5, 9]])
    example = one(tmp_path, document(*(shape("nut", points, "rectangle") for points in corners)))
    assert example.boxes.tolist() == [[0, 0, 10, 10]]
    assert example.dropped == {"boxes outside the image": 1, "boxes without area": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"a\.json: expected JSON; received: "),
        ("[1]", r"a\.json: expected a JSON of labelme, with `shapes`; received: '\[1\]'"),
        ("[" * 100_000, r"a\.json: expected JSON"),
        (document({"points": []}), r"a\.json: shapes\[0\]: expected a shape with a label"),
        (document(shape("nut", [[1, 2], [3, 4]])), r"shapes\[0\]: expected 3 points or more of a polygon; received: 2"),
        (document(shape("nut", [[1, 2]], "circle")), r"shapes\[0\]: expected 2 of a circle; received: 1"),
        (document(shape("nut", [[1, 2], [3, "4"]], "rectangle")), r"shapes\[0\]: expected points \[x, y\] in pixels"),
        (document(shape("nut", [[1, 2], [3, float("nan")]], "rectangle")), r"shapes\[0\]: expected points \[x, y\] in pixels"),
        (document(shape("nut", [], "star")), r"shapes\[0\]: expected a polygon, rectangle or circle; received: 'star'"),
        (document(shape("nat", [[1, 2], [3, 4]], "rectangle")), r"a\.json: unknown class 'nat'; did you mean 'nut'\?.*Name it under `classes`"),
    ],
)  # fmt: skip
def test_wrong_files_are_named(tmp_path, text, message):
    """File, shape, what was expected, and what was received."""
    with pytest.raises(InputError, match=message):
        one(tmp_path, text)


def test_which_image_a_file_is_of(tmp_path):
    """The one that it names, from whatever folder; else that of its own name; an image without a file is no example."""
    files = {
        "train/x.json": document(name="C:\\photos\\b.png"),
        "train/b.png": image(9, 9, "PNG", value=1),
        "train/c.json": document(name="gone.jpg"),
        "train/c.png": image(9, 9, "PNG", value=2),
        "train/alone.png": image(9, 9, "PNG", value=3),
        "test/d.json": document(name="../secret.png"),
    }
    source, raw = source_of(
        tmp_path, files | {"secret.png": image(9, 9, "PNG")}, splits={"train": "train", "val": 0.5, "test": "test"}
    )
    found = {split: labelme.examples(source, raw, masks=False, split=split) for split in SPLITS[:2]}
    assert {each.id: each.image for split in found for each in found[split]} == {
        "train_x": image(9, 9, "PNG", value=1),
        "train_c": image(9, 9, "PNG", value=2),
    }
    with pytest.raises(InputError, match=r"test/d\.json: expected its image secret\.png beside it; received: none"):
        labelme.examples(source, raw, masks=False, split="test")[0]
