"""Tables of labels and of boxes, as Kaggle has them: hand-worked numbers, and what is wrong in a table."""

import pytest

from pipeline.files.local import LocalFile, write_listing
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, csv_boxes, csv_labels
from tests.archive_files import image

SPLIT = {"train": "train.csv", "val": "train.csv", "test": "train.csv"}  # all rows, in each split


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)


def read(tmp_path, kind, table, *, images=("a.png", "b.png", "c.png"), **entry):
    """All examples of a table and of images of 100 x 50 pixels in the folder photos."""
    for name in images:
        file = tmp_path / "data" / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image(100, 50, "PNG"))
    (tmp_path / "data" / "train.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    (tmp_path / "raw").mkdir()
    write_listing(LocalFile(path="data"), tmp_path / "raw")
    every = {"kind": kind.__name__.rpartition(".")[2], "files": [{"path": "data"}], "images": "photos", "splits": SPLIT}
    source = kind.Source(**every | {"image_column": "id"} | entry)
    return list(kind.examples(source, tmp_path / "raw", masks=False, split="test"))


def labels(tmp_path, table, **entry):
    return read(tmp_path, csv_labels, table, **{"label_column": "breed", "labels": ["cat", "dog"]} | entry)


def boxes(tmp_path, table, **entry):
    every = {"classes": ["car", "bus"], "label_column": "what", "box_columns": ["x0", "y0", "x1", "y1"]}
    return read(tmp_path, csv_boxes, table, **every | entry)


def test_labels_by_hand(tmp_path):
    """With and without an ending, with a path, in any column, between quotes; empty lines are none."""
    table = '\ufeffage, breed ,id\n3,dog,a\n\n"4,5",cat,x/photos/b.png\n1,"dog","c.png"\n'
    found = labels(tmp_path, table)
    assert [(each.id, each.label) for each in found] == [("a", 1), ("b", 0), ("c", 1)]


def test_labels_may_be_numbers_with_names(tmp_path):
    """And values may be apart by another character."""
    found = labels(tmp_path, "id;breed\na;7\nb;0\n", labels={"7": "scab", "0": "healthy"}, delimiter=";")
    assert [each.label for each in found] == [0, 1]


def test_an_image_that_is_not_there_is_named_when_it_is_read(tmp_path):
    """With its line, so that `on_error: skip` leaves it out alone."""
    with pytest.raises(InputError, match=r"train\.csv, line 3: expected an image in photos/; received: 'z\.png'"):
        labels(tmp_path, "id,breed\na,dog\nz.png,cat\n")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,breed\na,wolf\n", r"train\.csv, line 2: unknown class 'wolf'.*Name it under `labels`"),
        ("id,breed\na,cat\nb,dog\na.png,dog\n", r"line 4: expected each image in one row; received: 'a\.png' again, which train\.csv, line 2 has"),
        ("id,race\na,cat\n", r"train\.csv, line 1: unknown column 'breed' \(known: id, race\)"),
        ("id;breed\na;cat\n", r"line 1: unknown column 'id'.*Is ',' between its values\? Say it as `delimiter`"),
        ("id,breed,id\na,cat,a\n", r"line 1: expected one column 'id'; received: several"),
        ("id,breed\na,cat,3\n", r"line 2: expected 2 values, as the header has; received: 3"),
        ("id,breed\n", r"train\.csv: expected a row for each label; received: the header alone"),
        ("", r"train\.csv: expected a header"),
        ('id,breed\na,"cat\n', r"train\.csv, line 2: expected a table of text"),
        (b"id,breed\na,\xff\xfe\n", r"train\.csv: expected text in UTF-8"),
    ],
)  # fmt: skip
def test_wrong_tables_are_named(tmp_path, table, message):
    """File, line, what was expected, and what was received."""
    with pytest.raises(InputError, match=message):
        labels(tmp_path, table)


def test_boxes_by_hand(tmp_path):
    """Rows of an image need not follow each other; corners in any order; one beyond the edge is clipped; an empty box is none."""
    table = "id,x0,y0,x1,y1,what\na,10,20,30,40,car\nb,,,,,\na.png,90,10,120,5,bus\nc,5,5,5,9,car\nc,200,1,210,9,car\n"
    a, b, c = boxes(tmp_path, table)
    assert (a.boxes.tolist(), a.labels.tolist()) == ([[10, 20, 30, 40], [90, 5, 100, 10]], [0, 1])
    assert (len(b.boxes), dict(b.dropped)) == (0, {})
    assert (len(c.boxes), c.dropped) == (0, {"boxes without area": 1, "boxes outside the image": 1})


@pytest.mark.parametrize(
    ("text", "entry", "expected"),
    [
        ('"[10, 20, 30, 15]"', {"box_format": "corner_and_size"}, [10, 20, 40, 35]),
        ('"10 20 30 16"', {"box_format": "centre_and_size"}, [0, 12, 25, 28]),
        ('"(10.0,20.0,30.5,25)"', {}, [10, 20, 30.5, 25]),
        ('"[0.1, 0.2, 0.5, 0.8]"', {"box_units": "fractions"}, [10, 10, 50, 40]),
    ],
)
def test_a_box_in_one_column(tmp_path, text, entry, expected):
    """As Kaggle's wheat has it, in each format and unit; of one class without a column."""
    found = boxes(tmp_path, f"id,bbox\na,{text}\n", box_columns=["bbox"], classes=["wheat"], label_column=None, **entry)
    assert found[0].boxes.tolist() == [expected]
    assert found[0].labels.tolist() == [0]


@pytest.mark.parametrize(
    ("row", "entry", "message"),
    [
        ("a,1,2,x,4,car", {}, r"train\.csv, line 2: expected the four numbers of a box in x0, y0, x1, y1; received: '1, 2, x, 4'"),
        ("a,1,2,3,,car", {}, r"line 2: expected the four numbers"),
        ("a,1,2,1e999,4,car", {}, r"line 2: expected the four numbers"),
        ("a,1,2,30,40,cart", {}, r"line 2: unknown class 'cart'; did you mean 'car'\?.*Name it under `classes`"),
        ("a,.1,.2,.3,.4,car", {}, r"train\.csv: expected boxes in pixels"),
        ("a,1,2,30,40,car", {"box_units": "fractions"}, r"line 2: expected fractions of the image, from 0 to 1; received: 40\. Say box_units: pixels"),
    ],
)  # fmt: skip
def test_wrong_boxes_are_named(tmp_path, row, entry, message):
    """File, line, what was expected, and what was received."""
    with pytest.raises(InputError, match=message):
        boxes(tmp_path, f"id,x0,y0,x1,y1,what\n{row}\n", **entry)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"box_columns": ["a", "b"]}, "box_columns: expected one column or four"),
        ({"label_column": None}, "classes: expected one class without label_column; received: 2"),
    ],
)
def test_keys_that_do_not_fit_together_are_refused(tmp_path, entry, message):
    """When params.yaml is read."""
    with pytest.raises(ValueError, match=message):
        boxes(tmp_path, "id\na\n", **entry)


def test_splits_are_drawn_by_images(tmp_path):
    """All boxes of an image are in one split."""
    rows = "".join(f"{n}.png,{k},1,{k + 9},9,car\n" for k in (1, 20, 40) for n in range(10))
    entry = {"splits": {"train": "train.csv", "val": 0.2, "test": 0.3}, "images": "photos"}
    names = [f"{n}.png" for n in range(10)]
    read(
        tmp_path,
        csv_boxes,
        f"id,x0,y0,x1,y1,what\n{rows}",
        images=names,
        classes=["car"],
        label_column="what",
        box_columns=["x0", "y0", "x1", "y1"],
    )
    every = {
        "kind": "csv_boxes",
        "files": [{"path": "data"}],
        "image_column": "id",
        "classes": ["car"],
        "label_column": "what",
    }
    source = csv_boxes.Source(**every, box_columns=["x0", "y0", "x1", "y1"], **entry)
    found = {split: list(csv_boxes.examples(source, tmp_path / "raw", masks=False, split=split)) for split in SPLITS}
    assert {split: len(each) for split, each in found.items()} == {"train": 5, "val": 2, "test": 3}
    assert len({each.id for split in SPLITS for each in found[split]}) == 10
    assert all(len(each.boxes) == 3 for split in SPLITS for each in found[split])
