"""Which class a label is, by one rule in every kind: listed, renamed, merged, all that there are, and what becomes of the others."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline import sources
from pipeline.cli import main
from pipeline.files.classes import Classified, write_found
from pipeline.files.local import LocalFile, write_listing
from pipeline.formats import packed
from pipeline.images.reading import read_labels
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.sources import cifar
from pipeline.sources.cifar import VARIANTS
from tests.archive_files import write_archive
from tests.test_inspect import LAYOUTS, class_folders, idx_files, label_map, noise, write_files, xml

# Layouts that hold two classes, with the key that lists them and the two labels.
KINDS = {
    "folders": ("folders", "cats", "dogs"),
    "csv_labels": ("labels", "cat", "dog"),
    "voc": ("classes", "nut", "bolt"),
    "coco": ("classes", "nut", "bolt"),
    "yolo": ("names", "0", "1"),
    "csv_boxes": ("classes", "nut", "bolt"),
    "labelme": ("classes", "nut", "bolt"),
    "masks": ("classes", "4", "9"),
}
# How many of the second class an example of all has; None where an example is of one class.
PER_EXAMPLE = {"voc": 1, "coco": 1, "yolo": 1, "csv_boxes": 1, "labelme": 1, "masks": 1}
ALL_OF_TRAIN = {
    "folders": (8, 8),
    "csv_labels": (6, 6),
}  # before a fraction is drawn: images of the first, of the second class
WITHOUT = {
    "idx",
    "cifar",
    "hugging_face",
    "video_folder",
    "digit_scenes",
    "mnist1d",
    "files",
}  # tested below, or with classes of their own


@pytest.fixture
def opened(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)

    def opened(layout, listed, **changes):
        """The source of a layout whose key lists these classes, and its folder."""
        files, kind, entry, _ = LAYOUTS[layout]
        if layout == "labelme":
            shape = b'{"label": "bolt", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"}'
            files = {
                name: text.replace(b"[{", b"[" + shape + b", {", 1) if name.endswith("json") else text
                for name, text in files.items()
            }
        write_files(tmp_path / "data", files)
        raw = tmp_path / "raw"
        raw.mkdir(exist_ok=True)
        write_listing(LocalFile(path="data"), raw)
        entry = {key: value for key, value in entry.items() if key != "class_values"}
        every = {"other_classes": "error", "kind": kind, "files": [{"path": "data"}], **entry, KINDS[layout][0]: listed}
        source = sources.load(kind).Source(**every | changes)
        if source.takes_all:
            write_found(source, raw, sources.load(kind).labels_in(source, raw))
        return source, raw

    return opened


def examples(source, raw, split="train"):
    kind = sources.load(source.kind)
    return kind.examples(source, raw, masks=source.kind == "mask_pairs", split=split)


def labels_of(found):
    """Each example's classes, sorted."""
    return [
        sorted(set(np.unique(each.mask)) - {0, 255})
        if each.mask is not None
        else sorted(each.labels.tolist() if each.labels is not None else [each.label])
        for each in found
    ]


def test_every_kind_is_here():
    """But for those that have tests of their own, or make their data."""
    kinds = {LAYOUTS[layout][1] for layout in KINDS}
    assert kinds == set(sources.names()) - WITHOUT
    assert all(issubclass(sources.load(kind).Source, Classified) for kind in kinds)


@pytest.mark.parametrize("layout", KINDS)
def test_others_are_an_error(opened, layout):
    """Which names the label, the key and both ways out, unless `other_classes` is said otherwise."""
    key, first, other = KINDS[layout]
    shown = "received: 9" if layout == "masks" else f"'{other}'"
    key = "class_values" if layout == "masks" else key
    with pytest.raises(InputError, match=rf"{shown}.*Name it under `?{key}.*or say other_classes: drop"):
        list(examples(*opened(layout, {first: "thing"})))


@pytest.mark.parametrize("layout", KINDS)
def test_others_are_left_out_and_counted(opened, layout):
    """An object or an area is dropped from its image; an image of one class is left out, before fractions are drawn."""
    _, first, _ = KINDS[layout]
    found = examples(*opened(layout, {first: "thing"}, other_classes="drop"))
    if layout in ALL_OF_TRAIN:
        listed, others = ALL_OF_TRAIN[layout]
        assert len(found.others) == others
        drawn = max(1, round(0.15 * listed))
        assert labels_of(found) == [[0]] * (listed - 2 * drawn)
        return
    what = "areas of other classes" if layout == "masks" else "objects of other classes"
    for example in found:
        assert example.dropped == {what: PER_EXAMPLE[layout]}
    every = {"voc": [0, 0], "masks": [1]}.get(layout, [0])
    assert labels_of(found) == [every] * len(found)


@pytest.mark.parametrize("layout", KINDS)
def test_labels_of_one_name_are_one_class(opened, layout):
    """Two labels are merged and renamed; a third class would be the second one."""
    _, first, second = KINDS[layout]
    source, raw = opened(layout, {first: "thing", second: "thing"})
    assert sources.class_names(source, raw) == ("thing",)
    assert {label for labels in labels_of(examples(source, raw)) for label in labels} == {layout == "masks"}
    source, raw = opened(layout, {second: "later", first: "thing"})
    assert sources.class_names(source, raw) == ("later", "thing")
    counts = np.bincount(np.concatenate(labels_of(examples(source, raw))).astype(int) - (layout == "masks"))
    twice = 2 if layout == "voc" else 1  # two nuts an image
    assert counts[1] == twice * counts[0] if layout in PER_EXAMPLE else counts.min() > 0


@pytest.mark.parametrize("layout", KINDS)
def test_all_are_those_that_the_data_have(opened, layout):
    """The same examples as where they are listed by hand, in the order of the data or of the alphabet."""
    key, first, second = KINDS[layout]
    names = {
        "yolo": ("nut", "bolt"),
        "coco": ("nut", "bolt"),
        "masks": ("class_4", "class_9"),
        "folders": (first, second),
        "csv_labels": (first, second),
    }.get(layout, ("bolt", "nut"))
    source, raw = opened(layout, "all")
    assert sources.class_names(source, raw) == names
    labels = {"masks": (first, second), "yolo": (first, second)}.get(layout, names)
    by_hand, raw = opened(layout, dict(zip(labels, names, strict=True)))
    assert labels_of(examples(source, raw)) == labels_of(examples(by_hand, raw))
    changed = source.model_copy(update={"root": "elsewhere"}) if "root" in type(source).model_fields else None
    if changed is not None:
        with pytest.raises(InputError, match=rf"{key}: all.*received: those of another entry\. Run `cnnkeras download"):
            changed.table(raw)
    (raw / "classes.found.json").unlink()
    with pytest.raises(InputError, match=rf"{key}: all.*received: none\. Run `cnnkeras download raw`"):
        examples(source, raw)


def test_the_mnist_family_has_labels_by_number(tmp_path):
    """EMNIST's letters begin at 1; digits that are not listed are left out."""
    kind = sources.load("idx")
    for name, content in idx_files().items():
        (tmp_path / name).write_bytes(content)
    names = ("train_images", "train_labels", "test_images", "test_labels")
    files = {
        key: {"name": f"{part}-{what}-ubyte.gz", "sha256": "0" * 64}
        for key, part, what in zip(
            names, ("train",) * 2 + ("t10k",) * 2, ("images-idx3", "labels-idx1") * 2, strict=True
        )
    }
    every = {"kind": "idx", "files": files, "splits": {"train": "train", "val": 0.25, "test": "test"}}
    source = kind.Source(**every, classes={"3": "A", "1": "B", "5": "A"}, other_classes="drop")
    found = kind.examples(source, tmp_path, masks=False, split="test")
    assert [(each.id, each.label) for each in found] == [
        (f"test_{n:06d}", {3: 0, 1: 1, 5: 0}[n % 10]) for n in range(20) if n % 10 in (1, 3, 5)
    ]
    assert len(found.others) == 14
    assert len(kind.examples(source, tmp_path, masks=False, split="train")) == 9
    with pytest.raises(InputError, match="unknown class '2'"):
        kind.examples(kind.Source(**every, classes=["a", "b"]), tmp_path, masks=False, split="test")
    source = kind.Source(**every, classes="all")
    write_found(source, tmp_path, kind.labels_in(source, tmp_path))
    assert sources.class_names(source, tmp_path) == tuple("0123456789")


def test_cifars_classes_may_be_merged(tmp_path):
    """Its names are known without the data; labels 3 and 8 are cat and ship."""
    variant = VARIANTS["cifar10"]
    records = b"".join(bytes([label]) + bytes(3072) for label in (3, 8, 0, 3))
    write_archive(tmp_path / "c.tar.gz", dict.fromkeys((*variant.train, *variant.test), records))
    every = {"kind": "cifar", "variant": "cifar10", "file": {"name": "c.tar.gz", "sha256": "0" * 64}}
    listed = {"cat": "animal", "ship": "vehicle", "airplane": "vehicle"}
    source = cifar.Source(**every, classes=listed, other_classes="drop")
    assert [each.label for each in cifar.examples(source, tmp_path, masks=False, split="test")] == [0, 1, 1, 0]
    source = cifar.Source(**every, classes=["ship"], other_classes="drop")
    found = cifar.examples(source, tmp_path, masks=False, split="test")
    assert ([each.id for each in found], len(found.others)) == (["test_00001"], 3)
    with pytest.raises(InputError, match=r"unknown class 'airplane'.*other_classes: drop"):
        cifar.examples(cifar.Source(**every, classes=["ship"]), tmp_path, masks=False, split="test")
    with pytest.raises(ValueError, match=r"unknown class 'shp'; did you mean 'ship'"):
        cifar.Source(**every, classes=["shp"])


def test_some_of_vocs_classes_are_found_in_its_label_maps(tmp_path, monkeypatch):
    """Index 8 is the cat and 12 the dog, whatever the order here; index 15, the person, is left out, and void stays."""
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(tmp_path)
    files = {f"JPEGImages/{n}.png": noise(n) for n in range(3)}
    files |= {f"SegmentationClass/{n}.png": label_map((8, 12, 15, 255)) for n in range(3)}
    files |= {f"Annotations/{n}.xml": xml(("dog", 3), ("cat", 14), ("person", 22)) for n in range(3)}
    files["ImageSets/Segmentation/a.txt"] = files["ImageSets/Main/a.txt"] = b"0\n1\n2\n"
    write_files(tmp_path / "data", files)
    (tmp_path / "raw").mkdir()
    write_listing(LocalFile(path="data"), tmp_path / "raw")
    kind = sources.load("voc")
    every = {
        "kind": "voc",
        "root": "",
        "files": [{"path": "data"}],
        "splits": dict.fromkeys(("train", "val", "test"), "a"),
    }

    def first(**entry):
        return kind.examples(kind.Source(**every, **entry), tmp_path / "raw", masks=True, split="test")[0]

    found = first(classes=["dog", "cat"], other_classes="drop")
    assert [int(found.mask[row, 0]) for row in (0, 5, 10, 15, 20)] == [2, 1, 0, 255, 0]
    assert found.dropped == {"objects of other classes": 1, "areas of other classes": 1}
    assert found.labels.tolist() == [0, 1]
    found = first(classes={"dog": "pet", "person": "owner", "cat": "pet"})
    assert [int(found.mask[row, 0]) for row in (0, 5, 10, 15, 20)] == [1, 1, 2, 255, 0]
    with pytest.raises(InputError, match=r"SegmentationClass/0\.png: unknown class 'person'.*other_classes: drop"):
        first(classes=["dog", "cat"])
    found = first(
        classes={"x8": "cat", "dog": "dog", "cat": "cat", "person": "person"},
        palette=[f"x{n}" for n in range(1, 20)],
        other_classes="drop",
    )
    assert [int(found.mask[row, 0]) for row in (0, 5, 10)] == [1, 0, 0]
    source = kind.Source(**every)
    write = kind.examples(source, tmp_path / "raw", masks=True, split="test")[0].mask
    assert isinstance(write, bytes)  # as published
    assert sorted(np.unique(read_labels(write, "")).tolist()) == [0, 8, 12, 15, 255]


def test_the_report_counts_images_that_are_left_out(tmp_path, monkeypatch):
    """Each once, though three splits are drawn from their folder."""
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "photos", class_folders() | {f"birds/{n}.png": noise(100 + n) for n in range(5)})
    text = PARAMS.replace("../photos", "photos").replace("folders: all", "folders: [cats, dogs], other_classes: drop")
    Path("params.yaml").write_text(text[: text.index("experiments:")] + "experiments: {}\n")
    for command in (["download", "pets"], ["augment", "pets"]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
    assert "5 images of other classes dropped" in result.output
    index = packed.open_index(Path("data/augmented/pets"))
    assert (index.classes, index.dropped) == (("cats", "dogs"), {"images of other classes": 5})


PARAMS = """\
seed: 1
sources:
  pets: {kind: image_folder, files: [{path: ../photos}], folders: all, splits: {train: ., val: 0.2, test: 0.2}}
datasets:
  pets: {source: pets, task: classification, size: [32, 32]}
experiments:
  vgg:
    dataset: pets
    architecture: vgg
    model: {width: 0.03125}
    input: {mean: 128.0, std: 64.0}
    train:
      epochs: 1
      batch_size: 4
      optimizer: {name: sgd, learning_rate: 0.1}
      schedule: {name: constant}
      loss: {class_weights: [1.0, 2.0, 1.0]}
      initial_weights: {experiment: scratch}
    predict: {batch_size: 4}
    postprocess: {top_k: 3}
    evaluate: {images: 4}
"""


def test_a_model_has_as_many_outputs_as_the_data_have_classes(tmp_path, monkeypatch):
    """Before the download all is valid; then what does not fit the classes is refused when the experiment runs, and `check` never looks."""
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    write_files(tmp_path / "photos", class_folders() | {f"birds/{n}.png": noise(100 + n) for n in range(8)})

    def run(*command, code=0):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == code, result.output
        return result.output

    (project / "params.yaml").write_text(PARAMS.replace("[1.0, 2.0, 1.0]", "[1.0, 2.0]"))
    run("check")
    run("download", "pets")
    written = json.loads(Path("data/raw/pets/classes.found.json").read_text())
    assert written["labels"] == {"birds": "birds", "cats": "cats", "dogs": "dogs"}
    run("augment", "pets")
    assert packed.open_index(Path("data/augmented/pets")).classes == ("birds", "cats", "dogs")
    run("check")
    assert "expected 3 numbers, one for each class; received: 2" in run("train", "vgg", code=2)
    (project / "params.yaml").write_text(PARAMS.replace("top_k: 3", "top_k: 4"))
    run("check")
    assert "expected at most 3, the number of classes of pets; received: 4" in run("train", "vgg", code=2)
    (project / "params.yaml").write_text(PARAMS)
    run("train", "vgg")
    run("predict", "vgg")
    outputs = json.loads(Path("results/vgg/outputs/outputs.json").read_text())
    assert outputs["classes"] == ["birds", "cats", "dogs"]
    params = load_params()
    assert params.known_classes("pets") is None
    assert params.classes("pets") == ("birds", "cats", "dogs")
