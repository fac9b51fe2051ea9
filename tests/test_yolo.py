"""YOLO's text labels: boxes and polygons by hand-worked numbers, the usual layouts, and what is wrong in a file."""

import numpy as np
import pytest

from pipeline.files.local import LocalFile, write_listing
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, yolo
from tests.archive_files import image


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)


def source_of(tmp_path, files, **entry):
    """A source of files in a folder, and the folder that its reader is given."""
    for name, content in files.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    raw = tmp_path / "raw"
    raw.mkdir()
    write_listing(LocalFile(path="data"), raw)
    every = {"kind": "yolo", "files": [{"path": "data"}], "names": ["car", "person"]}
    every["splits"] = {"train": "images", "val": 0.2, "test": 0.2}
    return yolo.Source(**every | entry), raw


def one(tmp_path, text, *, masks=False, **entry):
    """The example of one image of 100 x 50 pixels with these labels, which is all of the test split."""
    files = {"images/a.png": image(100, 50, "PNG"), "labels/a.txt": text}
    splits = {"train": "images", "val": "images", "test": "images"}
    source, raw = source_of(tmp_path, files, splits=splits, **entry)
    return yolo.examples(source, raw, masks=masks, split="test")[0]


def test_a_box_by_hand(tmp_path):
    """Centre 0.5, 0.5 of 100 x 50 is 50, 25; width 0.2 is 20, height 0.4 is 20: 40..60, 15..35."""
    example = one(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 .25 2.5e-1 0.5 0.5\r\n")
    assert example.boxes.tolist() == [[40, 15, 60, 35], [0, 0, 50, 25]]
    assert example.labels.tolist() == [1, 0]
    assert not example.difficult.any()


def test_a_polygon_by_hand(tmp_path):
    """Corners 10..50 x 10..40 hold 40 x 30 pixels; a triangle on top has half of its square's, on the right of the diagonal."""
    text = "1.0 0.2 0.4 0.3 0.4 0.3 0.6\n0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n"
    example = one(tmp_path, text, masks=True)
    assert example.boxes.tolist() == [[20, 20, 30, 30], [10, 10, 50, 40]]
    rows, columns = np.mgrid[:50, :100] + 0.5
    triangle = (columns > 20) & (columns < 30) & (rows > 20) & (rows < 30) & (columns - 20 > rows - 20)
    expected = np.where((columns > 10) & (columns < 50) & (rows > 10) & (rows < 40), 1, 0)
    expected[triangle] = 2
    edge = np.isclose(columns, rows)  # pixels whose centres lie on the triangle's long side
    assert (example.mask == expected)[~edge].all()
    assert (example.mask == 1).sum() + (example.mask == 2).sum() == 1200


def test_what_is_dropped_is_counted(tmp_path):
    """Without area, twice, and of classes that are not named; a hundredth beyond the edge is clipped."""
    lines = ["3 .5 .5 .2 .2", "3 .5 .5 .2 .2", "3 .5 .5 0 .2", "9 .5 .5 .2 .2", "0 0.005 .5 0.02 1"]
    example = one(tmp_path, "\n".join(lines), names={3: "cat", 0: "dog"}, other_classes="drop")
    assert example.dropped == {
        "boxes without area": 1,
        "boxes that are written twice": 1,
        "objects of other classes": 1,
    }
    assert example.boxes.tolist() == [[40, 20, 60, 30], [0, 0, 1.5, 50]]
    assert example.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 .5 .5 .2 .2\n1 .5 .5 .2", r"labels/a\.txt, line 2: expected a class and x, y, width, height, .*received: '1 \.5 \.5 \.2'"),
        ("0 .5 .5 .2 .2 .1 .3 .4", r"line 1: expected a class and"),
        ("car .5 .5 .2 .2", r"line 1: expected a class and .*received: 'car"),
        ("0 .5 nan .2 .2", r"line 1: expected a class and .*received: '0 \.5 nan"),
        ("-1 .5 .5 .2 .2", r"line 1: expected a class and"),
        ("0 320 240 50 60", r"line 1: expected fractions of the image, from 0 to 1; received: 320\. Divide pixels"),
        ("2 .5 .5 .2 .2", r"line 1: unknown class '2' \(known: 0, 1\)\. Name it under `names`"),
        (b"\xff\xfe\xfa", r"labels/a\.txt: expected text in"),
    ],
)  # fmt: skip
def test_wrong_lines_are_named(tmp_path, text, message):
    """File, line, what was expected, and what was received."""
    with pytest.raises(InputError, match=message):
        one(tmp_path, text)


def test_label_maps_need_polygons(tmp_path):
    """A box has no outline."""
    with pytest.raises(InputError, match=r"labels/a\.txt, line 1: expected a polygon, for label maps; received: a box"):
        one(tmp_path, "0 .5 .5 .2 .2", masks=True)


LAYOUTS = {
    "ultralytics": (lambda part, n: (f"images/{part}/{n}.png", f"labels/{part}/{n}.txt"), {}, "images/{}"),
    "roboflow": (lambda part, n: (f"{part}/images/{n}.png", f"{part}/labels/{n}.txt"), {}, "{}/images"),
    "darknet": (
        lambda _part, n: (f"obj/{n}.png", f"obj/{n}.txt"),
        {"train.txt": "data/obj/0.png\ndata/obj/1.png\n", "val.txt": "obj/2.png\n", "test.txt": "/mnt/x/obj/3.png\n"},
        "{}.txt",
    ),
}
NUMBERS = {"train": (0, 1), "val": (2,), "test": (3,)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    """Each image has the labels of its own file, told by a box of its own; one without a file has no objects."""
    names, lists, pattern = LAYOUTS[layout]
    files = dict(lists)
    for part, numbers in NUMBERS.items():
        for n in numbers:
            photo, text = names(part, n)
            files |= {f"root/{photo}": image(10, 10, "PNG", value=n)}
            files |= {f"root/{text}": f"0 .5 .5 .{n + 1} .{n + 1}"} if n != 1 else {}
    files = {name if name.startswith("root/") else f"root/{name}": content for name, content in files.items()}
    splits = {split: pattern.format(split) for split in SPLITS}
    source, raw = source_of(tmp_path, files, root="root", splits=splits)
    for part, numbers in NUMBERS.items():
        examples = list(yolo.examples(source, raw, masks=False, split=part))
        widths = [[round(box[2] - box[0], 6) for box in each.boxes] for each in examples]
        assert widths == [[] if n == 1 else [n + 1] for n in numbers]


def test_images_without_any_labels_are_refused(tmp_path):
    """The folder of labels was forgotten, or has another name."""
    source, raw = source_of(tmp_path, {f"images/{n}.png": image(4, 4, "PNG") for n in range(5)})
    with pytest.raises(
        InputError, match=r"images: expected labels of images, such as labels/0\.txt; received: none of 5 images"
    ):
        yolo.examples(source, raw, masks=False, split="train")


def test_a_list_of_images_that_are_not_there_is_named(tmp_path):
    """With its line."""
    files = {"obj/0.png": image(4, 4, "PNG"), "obj/0.txt": "", "train.txt": "obj/0.png\n\nobj/9.png\n"}
    source, raw = source_of(tmp_path, files, splits={"train": "train.txt", "val": 0.2, "test": 0.2})
    with pytest.raises(
        InputError, match=r"train\.txt, line 3: expected an image of the archive; received: 'obj/9\.png'"
    ):
        yolo.examples(source, raw, masks=False, split="train")


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "a"], "distinct"), ({"x": "a"}, "numbers of classes"), ([], "at least 1")],
)  # fmt: skip
def test_wrong_names_are_refused(tmp_path, names, message):
    """Twice the same, keys that are no numbers, none."""
    with pytest.raises(ValueError, match=message):
        source_of(tmp_path, {"a.png": image(4, 4, "PNG")}, names=names)
