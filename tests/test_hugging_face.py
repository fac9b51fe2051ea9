"""Hugging Face data sets: Arrow files in the layout of `save_to_disk`, by hand and, where `datasets` is installed, by itself."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline import sources
from pipeline.cli import main
from pipeline.files.classes import write_found
from pipeline.files.local import LocalFile, write_listing
from pipeline.formats import packed
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.sources import SPLITS, hugging_face
from tests.archive_files import image

CAT_OR_DOG = {"names": ["cat", "dog"], "_type": "ClassLabel"}
OBJECTS = {
    "bbox": {"feature": {"feature": {"dtype": "float32", "_type": "Value"}, "length": 4, "_type": "List"}, "_type": "List"},
    "category": {"feature": {"names": ["nut", "bolt"], "_type": "ClassLabel"}, "_type": "List"},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)


def photo(value=0, path=None):
    return {"bytes": image(20, 10, "PNG", value=value), "path": path}


def save(folder, columns, features, shards=1):
    """A part, as `save_to_disk` writes it: a stream with a schema, batches, and two JSON files beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    names = [f"data-{number:05d}-of-{shards:05d}.arrow" for number in range(shards)]
    for number, name in enumerate(names):
        rows = table.slice(number * len(table) // shards, len(table) // shards)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(rows, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))


def save_classes(folder, count=12):
    columns = {
        "image": [photo(n) for n in range(count)],
        "label": [n % 2 for n in range(count)],
        "patient": [n // 3 for n in range(count)],
    }
    save(folder, columns, {"image": {"_type": "Image"}, "label": CAT_OR_DOG}, shards=2)


def opened(split="train", *, part=".", **entry):
    Path("raw").mkdir(exist_ok=True)
    write_listing(LocalFile(path="data"), Path("raw"))
    splits = {"train": part, "val": 0.2, "test": 0.2} | entry.pop("splits", {})
    every = {"kind": "hugging_face", "files": [{"path": "data"}], "splits": splits}
    source = hugging_face.Source(**every | {"classes": ["cat", "dog"]} | entry)
    if source.takes_all:
        write_found(source, Path("raw"), hugging_face.labels_in(source, Path("raw")))
    found = hugging_face.examples(source, Path("raw"), masks=False, split=split)
    return found, sources.class_names(source, Path("raw"))


def test_classes_by_hand():
    """Two files are one part; labels are called as their ClassLabel does; images are the bytes that are stored."""
    save_classes(Path("data/train"))
    found = {split: opened(split, part="train", label_column="label", classes="all") for split in SPLITS}
    assert {names for _, names in found.values()} == {("cat", "dog")}
    read = {each.id: each for own, _ in found.values() for each in own}
    assert [len(own) for own, _ in found.values()] == [8, 2, 2]
    assert sorted(read) == [f"train_{n:07d}" for n in range(12)]
    for n in range(12):
        assert read[f"train_{n:07d}"].image == image(20, 10, "PNG", value=n)
        assert read[f"train_{n:07d}"].label == n % 2


def test_labels_may_be_texts_or_numbers_of_no_classlabel():
    """Renamed and merged by what the data call them; an unknown one is an error, or left out and counted."""
    labels = ["a", "b", "c", "a", "b", "c"]
    save(Path("data"), {"photo": [photo(n, f"p/{n}.png") for n in range(6)], "what": labels}, {})
    entry = {"image_column": "photo", "label_column": "what", "splits": {"val": ".", "test": "."}}
    found, names = opened("test", **entry, classes={"a": "x", "c": "x", "b": "y"})
    assert names == ("x", "y")
    assert [(each.id, each.label) for each in found] == [
        (f"p_{n}", int(label == "b")) for n, label in enumerate(labels)
    ]
    found, _ = opened("test", **entry, classes=["a"], other_classes="drop")
    assert ([each.id for each in found], len(found.others)) == (["p_0", "p_3"], 4)
    with pytest.raises(InputError, match=r"unknown class 'b'.*Name it under `classes`, or say other_classes: drop"):
        opened("test", **entry, classes=["a"])
    found, _ = opened(
        "test",
        image_column="photo",
        label_column="what",
        classes="all",
        splits={"val": ".", "test": ".", "only": "p/[01].*"},
    )
    assert [each.id for each in found] == ["p_0", "p_1"]


@pytest.mark.parametrize("form", ["lists", "objects"])
def test_boxes_by_hand(form):
    """COCO's corner and size become corners; both forms of objects; what sticks out of 20 x 10 pixels is clipped, what has no area dropped."""
    boxes, categories = [[[1, 2, 10, 4], [18, 8, 9, 9], [3, 3, 0, 5]], []], [[1, 0, 0], []]
    objects = [{"bbox": own, "category": what} for own, what in zip(boxes, categories, strict=True)]
    if form == "objects":
        objects = [
            [{"bbox": box, "category": what} for box, what in zip(each["bbox"], each["category"], strict=True)]
            for each in objects
        ]
    feature = OBJECTS if form == "lists" else [{"bbox": None, "category": OBJECTS["category"]["feature"]}]
    save(Path("data"), {"image": [photo(), photo(1)], "objects": objects}, {"objects": feature})
    found, names = opened("test", objects_column="objects", classes="all", splits={"val": ".", "test": "."})
    assert names == ("nut", "bolt")
    assert found[0].boxes.tolist() == [[1, 2, 11, 6], [18, 8, 20, 10]]
    assert found[0].labels.tolist() == [1, 0]
    assert found[0].dropped == {"boxes without area": 1}
    assert found[1].boxes.shape == (0, 4)
    found, _ = opened(
        "test",
        objects_column="objects",
        classes=["bolt"],
        other_classes="drop",
        box_format="corners",
        splits={"val": ".", "test": "."},
    )
    assert found[0].boxes.tolist() == [[1, 2, 10, 4]]
    assert found[0].dropped == {"objects of other classes": 2}


def test_a_column_says_groups():
    """The three images of a patient are in one split."""
    save_classes(Path("data"), count=30)
    found = [
        opened(split, label_column="label", group_column="patient", splits={"stratified": True})[0] for split in SPLITS
    ]
    patients = [{int(each.id[-7:]) // 3 for each in own} for own in found]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 10
    assert [len(each) for each in patients] == [6, 2, 2]


@pytest.mark.parametrize(
    ("change", "entry", "message"),
    [
        (lambda: Path("data/state.json").unlink(), {}, r"expected state\.json, as `save_to_disk` writes it; received: none of that name"),
        (lambda: Path("data/state.json").write_text("{"), {}, r"state\.json: expected JSON; received"),
        (lambda: Path("data/state.json").write_text('{"_data_files": []}'), {}, r"state\.json: expected `_data_files`; received: \[\]"),
        (lambda: Path("data/data-00001-of-00002.arrow").write_bytes(b"x" * 99), {}, r"data-00001-of-00002\.arrow: expected an Arrow stream"),
        (lambda: None, {"label_column": "what"}, "expected a column 'what'; received: image, label, patient"),
        (lambda: None, {"image_column": "patient"}, "expected images in the column 'patient'; received: int64"),
        (lambda: None, {"label_column": "image"}, "expected texts or whole numbers in the column 'image'; received: struct"),
        (lambda: None, {"classes": ["cat"]}, "unknown class 'dog'"),
    ],
)  # fmt: skip
def test_wrong_data_are_named(change, entry, message):
    """File, what was expected, and what was received."""
    save_classes(Path("data"))
    change()
    with pytest.raises(InputError, match=message):
        opened(**{"label_column": "label"} | entry)


def test_an_image_that_is_not_stored_costs_itself_alone():
    """Data sets may refer to files of the machine that they were made on."""
    save(Path("data"), {"image": [photo(), {"bytes": None, "path": "/data/of/others/a.png"}], "label": ["a", "a"]}, {})
    found, _ = opened("test", label_column="label", classes=["a"], splits={"val": ".", "test": "."})
    assert found[0].label == 0
    with pytest.raises(
        InputError,
        match=r"row 2: expected the image's bytes; received: none\. Load it in `datasets`, and save it again",
    ):
        found[1]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "expected the key label_column, or objects_column; received: neither"),
        ({"label_column": "a", "objects_column": "b"}, "received: both"),
        ({"label_column": "a", "group_column": "b", "splits": {"groups": "x"}}, "group_column: expected none beside splits: groups"),
    ],
)  # fmt: skip
def test_wrong_entries_are_refused(entry, message):
    """Before anything is read."""
    save_classes(Path("data"))
    with pytest.raises(ValueError, match=message):
        opened(**entry)


@pytest.mark.parametrize("wrong", [[1, 2, 3], [1, 2, 3, None]])
def test_wrong_boxes_are_named(wrong):
    """With the row."""
    save(Path("data"), {"image": [photo()], "objects": [{"bbox": [wrong], "category": ["nut"]}]}, {})
    found, _ = opened("test", objects_column="objects", classes=["nut"], splits={"val": ".", "test": "."})
    with pytest.raises(InputError, match="row 1: expected four numbers of a box; received"):
        found[0]


def test_it_is_recognised_and_packed(tmp_path, monkeypatch):
    """`inspect --write` adds entries that `download` and `augment` take as they are."""
    random = np.random.default_rng(0)

    def noise():
        stream = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (40, 48, 3), np.uint8)).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    for part, count in (("train", 12), ("validation", 4), ("test", 4)):
        columns = {"image": [noise() for _ in range(count)], "label": [n % 2 for n in range(count)]}
        save(tmp_path / "pets" / part, columns, {"image": {"_type": "Image"}, "label": CAT_OR_DOG}, shards=2)
    (tmp_path / "pets" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    Path("params.yaml").write_text("seed: 1\nsources: {}\ndatasets: {}\nexperiments: {}\n")

    def run(*command):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        return result.output

    assert "20 images: 12 train, 4 val, 4 test" in run("inspect", "../pets", "--write")
    assert load_params().source("pets").splits.val == "validation"
    run("download", "pets")
    run("augment", "pets")
    index = packed.open_index(Path("data/augmented/pets"))
    assert (index.classes, index.splits["test"]["examples"]) == (("cat", "dog"), 4)


def test_what_datasets_itself_saves(tmp_path):
    """The layout by hand is that of the package, with images that it encoded."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 20, 3), np.uint8)
    columns = {"image": [Image.fromarray(each) for each in pixels], "label": [0, 1] * 3}
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "data", num_shards=2)
    found, names = opened("test", label_column="label", classes="all", splits={"val": ".", "test": "."})
    assert names == ("cat", "dog")
    assert [each.label for each in found] == [0, 1] * 3
    assert all(
        np.array_equal(np.asarray(Image.open(io.BytesIO(each.image))), own)
        for each, own in zip(found, pixels, strict=True)
    )
