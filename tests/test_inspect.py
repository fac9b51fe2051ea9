"""`cnnkeras inspect`: data of each kind are recognised, counted by hand here, and the entries that it adds are valid and train."""

import difflib
import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from ruamel.yaml import YAML

from cnnkeras.label_maps import encode_png
from pipeline import sources
from pipeline.cli import main
from pipeline.commands.inspect import kinds
from pipeline.params import load_params
from pipeline.sources.cifar import VARIANTS
from tests.archive_files import image, write_archive
from tests.copied_project import copy_project, environment

GENERATED = {"mnist1d", "digit_scenes", "files"}  # there is nothing to look at
PARAMS = """\
# The settings.
seed: 1

sources:   # where bytes come from
  # A comment within.
  old: {kind: mnist1d, validation_examples: 400}  # and one behind

# Above the datasets.
datasets:
  old: {source: old, task: classification, size: [40]}

experiments: {}
"""


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "params.yaml").write_text(PARAMS)
    monkeypatch.chdir(tmp_path / "project")


def inspect(*arguments, code=0):
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result.output


def noise(seed, side=40):
    """A photograph of its own: two that are equal would be a leak."""
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_files(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def class_folders(parts=("",), count=8):
    names = [f"{part}{name}/{number}.png" for part in parts for name in ("cats", "dogs") for number in range(count)]
    return {name: noise(seed) for seed, name in enumerate(names)}


def xml(*objects):
    boxes = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>2</ymin><xmax>{x + 9}</xmax><ymax>12</ymax></bndbox></object>"
        for name, x in objects
    )
    return f"<annotation>{boxes}</annotation>".encode()


def voc_files():
    files = {f"kit/JPEGImages/{n}.png": noise(n) for n in range(12)}
    files |= {f"kit/Annotations/{n}.xml": xml(("nut", 3), ("bolt", 14), ("nut", 22)) for n in range(12)}
    return files | {
        "kit/ImageSets/Main/train.txt": b"".join(b"%d\n" % n for n in range(8)),
        "kit/ImageSets/Main/val.txt": b"8\n9\n10\n11\n",
    }


def coco_document(first, count):
    return json.dumps(
        {
            "images": [
                {"id": n, "file_name": f"{n}.png", "width": 48, "height": 40} for n in range(first, first + count)
            ],
            "categories": [{"id": 7, "name": "nut"}, {"id": 9, "name": "unused"}, {"id": 3, "name": "bolt"}],
            "annotations": [
                {"id": n, "image_id": n, "category_id": category, "bbox": [x, 4, 12, 9]}
                for n in range(first, first + count)
                for category, x in ((7, 2), (3, 20))
            ],
        }
    ).encode()


def coco_files():
    files = {
        f"{part}/{n}.png": noise(n) for part, ns in (("train2017", range(8)), ("val2017", range(8, 12))) for n in ns
    }
    return files | {
        "annotations/instances_train2017.json": coco_document(0, 8),
        "annotations/instances_val2017.json": coco_document(8, 4),
        "annotations/captions_train2017.json": b'{"images": [], "annotations": []}',
    }


def yolo_files(images, labels, text, parts=("train", "val")):
    files, first = {}, 0
    for part, count in zip(parts, (8, 4, 4), strict=False):
        for n in range(first, first + count):
            files |= {images.format(part, n): noise(n), labels.format(part, n): text.encode()}
        first += count
    return files


def label_map(values):
    labels = np.zeros((40, 48), np.uint8)
    for number, value in enumerate(values):
        labels[5 * number : 5 * number + 5] = value
    return encode_png(labels)


def rows_of(values, *shape):
    labels = np.zeros((40, 48, *shape), np.int16)
    for number, value in enumerate(values):
        labels[5 * number : 5 * number + 5] = value
    return labels


def color_map(values):
    stream = io.BytesIO()
    Image.fromarray(rows_of(values, 3).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def array_map(values):
    stream = io.BytesIO()
    np.save(stream, rows_of(values))
    return stream.getvalue()


def mask_files():
    images = {f"photos/{n}.png": noise(n) for n in range(10)}
    return images | {f"masks/{n}.png": label_map((0, 4, 9, 255)) for n in range(10)}


def mask_lists():
    files = {f"{part}/{n}.png": noise(n) for part, ns in (("train", range(8)), ("test", range(8, 12))) for n in ns}
    files |= {
        f"{part}annot/{n}.png": label_map((1, 2))
        for part, ns in (("train", range(8)), ("test", range(8, 12)))
        for n in ns
    }
    lines = {
        part: "".join(f"/CamVid/{part}/{n}.png /CamVid/{part}annot/{n}.png\n" for n in ns)
        for part, ns in (("train", range(8)), ("test", range(8, 12)))
    }
    return files | {f"{part}.txt": text.encode() for part, text in lines.items()}


def idx(shape, values):
    header = bytes([0, 0, 8, len(shape)]) + b"".join(int(size).to_bytes(4, "big") for size in shape)
    return gzip.compress(header + bytes(values))


def idx_files():
    random = np.random.default_rng(0)
    files = {}
    for start, count in (("train", 40), ("t10k", 20)):
        files[f"{start}-images-idx3-ubyte.gz"] = idx(
            (count, 28, 28), random.integers(0, 256, count * 784, np.uint8).tobytes()
        )
        files[f"{start}-labels-idx1-ubyte.gz"] = idx((count,), [n % 10 for n in range(count)])
    return files


LAYOUTS = {
    "folders": (class_folders(), "image_folder", {"folders": ["cats", "dogs"], "splits": {"train": ".", "val": 0.15, "test": 0.15}}, "16 images: 12 train, 2 val, 2 test"),
    "split_folders": (
        class_folders(("top/train/", "top/valid/", "top/test/")),
        "image_folder",
        {"root": "top", "folders": ["cats", "dogs"], "splits": {"train": "train", "val": "valid", "test": "test"}},
        "48 images: 16 train, 16 val, 16 test",
    ),
    "voc": (
        voc_files(),
        "voc",
        {"root": "kit", "classes": ["nut", "bolt"], "splits": {"train": "train", "val": 0.15, "test": "val"}},
        "2 classes: nut 24, bolt 12",
    ),
    "coco": (
        coco_files(),
        "coco",
        {
            "classes": ["nut", "bolt"],
            "splits": {
                "train": {"annotations": "annotations/instances_train2017.json", "images": "train2017"},
                "val": 0.15,
                "test": {"annotations": "annotations/instances_val2017.json", "images": "val2017"},
            },
        },
        "2 classes: nut 12, bolt 12",
    ),
    "masks": (
        mask_files(),
        "mask_pairs",
        {"classes": ["class_4", "class_9"], "class_values": [4, 9], "splits": {"train": {"images": "photos", "masks": "masks"}, "val": 0.15, "test": 0.15}},
        "10 images: 6 train, 2 val, 2 test",
    ),
    "mask_lists": (
        mask_lists(),
        "mask_pairs",
        {"classes": ["class_1", "class_2"], "class_values": [1, 2], "splits": {"train": "train.txt", "val": 0.15, "test": "test.txt"}},
        "12 images: 7 train, 1 val, 4 test",
    ),
    "yolo": (
        yolo_files("images/{}/{}.png", "labels/{}/{}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.6\n1 0.2 0.2 0.9 0.3 0.9 0.9 0.1 0.8\n") | {"data.yaml": b"path: ../datasets/nuts\ntrain: images/train\nval: images/val\nnames:\n  0: nut\n  1: bolt\n"},
        "yolo",
        {"names": ["nut", "bolt"], "splits": {"train": "images/train", "val": 0.15, "test": "images/val"}},
        "2 classes: nut 12, bolt 12",
    ),
    "roboflow": (
        yolo_files("kit/{}/images/{}.png", "kit/{}/labels/{}.txt", "0 0.5 0.5 0.2 0.4\n", parts=("train", "valid", "test")) | {"kit/data.yaml": b"train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 1\nnames: ['nut']\n"},
        "yolo",
        {"root": "kit", "names": ["nut"], "splits": {"train": "train/images", "val": "valid/images", "test": "test/images"}},
        "16 images: 8 train, 4 val, 4 test",
    ),
    "yolo_alone": (
        yolo_files("{}/{}.png", "{}/{}.txt", "2 0.5 0.5 0.2 0.4\n0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4\n") | {"classes.txt": b"nut\nbolt\nring\n"},
        "yolo",
        {"names": ["nut", "bolt", "ring"], "splits": {"train": "train", "val": 0.15, "test": "val"}},
        "3 classes: nut 12, bolt 12, ring 12",
    ),
    "csv_labels": (
        {f"train/{n}.png": noise(n) for n in range(12)} | {"train.csv": ("id,breed,age\n" + "".join(f"{n},{'cat' if n % 2 else 'dog'},{n}\n" for n in range(12))).encode(), "sample_submission.csv": b"id,breed\n99,cat\n"},
        "csv_labels",
        {"images": "train", "image_column": "id", "label_column": "breed", "labels": ["cat", "dog"], "splits": {"train": "train.csv", "val": 0.15, "test": 0.15}},
        "2 classes: cat 6, dog 6",
    ),
    "csv_boxes": (
        {f"data/photos/{n}.png": noise(n) for n in range(10)} | {"boxes.csv": ("image;category;XMin;YMin;XMax;YMax\n" + "".join(f"photos/{n}.png;nut;2;3;{20 + n};30\nphotos/{n}.png;bolt;9;3;22;30\n" for n in range(10))).encode()},
        "csv_boxes",
        {"images": "data", "image_column": "image", "delimiter": ";", "label_column": "category", "classes": ["bolt", "nut"], "box_columns": ["XMin", "YMin", "XMax", "YMax"], "splits": {"train": "boxes.csv", "val": 0.15, "test": 0.15}},
        "2 classes: bolt 10, nut 10",
    ),
    "labelme": (
        {f"{n}.png": noise(n) for n in range(11)} | {f"{n}.json": json.dumps({"shapes": [{"label": "nut", "points": [[2, 2], [20, 9]], "shape_type": "rectangle"}], "imagePath": f"{n}.png"}).encode() for n in range(10)},
        "labelme",
        {"classes": ["nut"], "splits": {"train": ".", "val": 0.15, "test": 0.15}},
        "10 images: 6 train, 2 val, 2 test",
    ),
    "voc_beside": (
        yolo_files("{}/{}.png", "{}/{}.xml", xml(("nut", 3), ("bolt", 20)).decode(), parts=("train", "valid", "test")),
        "voc",
        {"root": "", "classes": ["bolt", "nut"], "splits": {split: {"images": part, "annotations": part} for split, part in (("train", "train"), ("val", "valid"), ("test", "test"))}},
        "2 classes: bolt 16, nut 16",
    ),
    "voc_apart": (
        {f"top/images/{n}.png": noise(n) for n in range(10)} | {f"top/annotations/{n}.xml": xml(("nut", 3)) for n in range(10)},
        "voc",
        {"root": "top", "classes": ["nut"], "splits": {"train": {"images": "images", "annotations": "annotations"}, "val": 0.15, "test": 0.15}},
        "10 images: 6 train, 2 val, 2 test",
    ),
    "masks_beside": (
        {f"{n}.png": noise(n) for n in range(10)} | {f"{n}_mask.png": label_map((0, 1)) for n in range(10)},
        "mask_pairs",
        {"classes": ["class_1"], "class_values": [1], "splits": {"train": {"images": ".", "masks": ".", "mask_names": "{}_mask"}, "val": 0.15, "test": 0.15}},
        "10 images: 6 train, 2 val, 2 test",
    ),
    "masks_templates": (
        {f"img/{place}_{n}_rgb.png": noise(n) for n, place in enumerate("aabbccddee")} | {f"gt/{place}_{n}_labelIds.png": label_map((0, 1)) for n, place in enumerate("aabbccddee")},
        "mask_pairs",
        {"classes": ["class_1"], "class_values": [1], "splits": {"train": {"images": "img", "masks": "gt", "image_names": "{}_rgb", "mask_names": "{}_labelIds"}, "val": 0.15, "test": 0.15}},
        "10 images: 6 train, 2 val, 2 test",
    ),
    "masks_colors": (
        {f"photos/{n}.png": noise(n) for n in range(10)} | {f"masks/{n}.png": color_map(((0, 0, 0), (128, 64, 0), (255, 255, 255), (7, 8, 9))) for n in range(10)},
        "mask_pairs",
        {"classes": ["class_070809", "class_804000"], "class_values": [[7, 8, 9], [128, 64, 0]], "splits": {"train": {"images": "photos", "masks": "masks"}, "val": 0.15, "test": 0.15}},
        "2 classes: class_070809 10, class_804000 10",
    ),
    "masks_arrays": (
        {f"photos/{n}.png": noise(n) for n in range(10)} | {f"masks/{n}.npy": array_map((0, 300, -1)) for n in range(10)},
        "mask_pairs",
        {"classes": ["class_-1", "class_300"], "class_values": [-1, 300], "splits": {"train": {"images": "photos", "masks": "masks"}, "val": 0.15, "test": 0.15}},
        "2 classes: class_-1 10, class_300 10",
    ),
    "idx": (idx_files(), "idx", {}, "60 images: 36 train, 4 val, 20 test"),
}  # fmt: skip


def test_every_kind_has_a_recogniser():
    """But for those that generate their data, or have none."""
    assert set(kinds.names()) == set(sources.names()) - GENERATED


@pytest.mark.parametrize("layout", LAYOUTS)
def test_data_are_recognised_and_their_entries_are_valid(tmp_path, layout):
    """The kind, the counts and each key; params.yaml has the entries and is valid as it is; a contact sheet is drawn."""
    files, kind, entry, counts = LAYOUTS[layout]
    write_files(tmp_path / "some-Data", files)
    output = inspect("../some-Data", "--write")
    assert counts in output
    params = load_params(with_files=True)
    written = YAML(typ="safe").load(Path("params.yaml"))["sources"]["some_data"]
    assert written["kind"] == kind
    if kind != "idx":
        assert written == {"kind": kind, "files": [{"path": "../some-Data"}], **entry}
    assert params.dataset("some_data").source == "some_data"
    assert [name for name, each in params.experiments.items() if each.dataset == "some_data"]
    with Image.open("inspect/some_data.png") as sheet:
        assert sheet.size[0] > 400


def test_an_archive_is_recognised_as_its_folder_is(tmp_path):
    """Here CIFAR's, which is one, and class folders in a .zip."""
    write_archive(tmp_path / "photos.zip", class_folders())
    assert "2 classes: cats 8, dogs 8" in inspect("../photos.zip", "--write")
    assert load_params(with_files=True).source("photos").files[0].path == "../photos.zip"
    variant = VARIANTS["cifar10"]
    records = [bytes([n % 10]) + bytes(np.random.default_rng(n).integers(0, 256, 3072, np.uint8)) for n in range(60)]
    with tarfile.open(tmp_path / "cifar.tar.gz", "w:gz") as archive:
        for number, name in enumerate((*variant.train, *variant.test)):
            content = b"".join(records[10 * number : 10 * number + 10])
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    assert "60 images: 45 train, 5 val, 10 test" in inspect("../cifar.tar.gz", "--write")
    assert load_params(with_files=True).source("cifar").variant == "cifar10"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_nothing_else_of_params_is_changed(tmp_path, end):
    """Lines are only added: comments, order and ends of lines stay."""
    write_files(tmp_path / "photos", class_folders())
    Path("params.yaml").write_bytes(PARAMS.replace("\n", end).encode())
    inspect("../photos", "--write")
    before, after = PARAMS.splitlines(), Path("params.yaml").read_bytes().decode().split(end)
    changes = [line for line in difflib.ndiff(before, after) if line[0] in "-?"]
    assert [line for line in changes if line[0] == "-"] == ["- experiments: {}"]
    assert "\r" not in "".join(after)
    assert after[after.index("  photos:") - 2 :][0] == before[5]  # below what was the section's last entry
    printed = inspect("../photos", "--name", "photos")
    assert "".join(f"{line}\n" for line in after if line)[-200:] in printed.replace("\n\n", "\n")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("  old: {source", "  photos: {source"), "params.yaml:10: datasets.photos: expected a name that is new; received: 'photos'"),
        (("experiments: {}", "experiments: {a: {}}"), "params.yaml:12: experiments"),
        (("datasets:\n  old: {source: old, task: classification, size: [40]}", "datasets: {old: {source: old, task: classification, size: [40]}}"), "params.yaml:9: datasets: expected an entry a line below it"),
        (("seed: 1", "seed: one"), "params.yaml:2: seed: expected a whole number"),
    ],
)  # fmt: skip
def test_nothing_is_written_where_it_cannot_be_right(tmp_path, edit, message):
    """A name that exists, a section in one line, a params file that is wrong: exit code 2, and the file stays."""
    write_files(tmp_path / "photos", class_folders())
    text = PARAMS.replace(*edit)
    Path("params.yaml").write_text(text)
    assert message in inspect("../photos", "--write", code=2)
    assert Path("params.yaml").read_text() == text


def test_what_is_odd_is_named_and_the_entries_allow_for_it(tmp_path):
    """A broken image is skipped, an image in two splits allowed; classes without an example and other files are said."""
    files = class_folders(("train/", "val/"), count=4)
    files["val/dogs/again.png"] = files["train/cats/0.png"]
    files["train/cats/broken.jpg"] = image(9, 9)[:100]
    files["train/dogs/notes.txt"] = b"x"
    write_files(tmp_path / "photos", files)
    output = inspect("../photos", "--write")
    assert "1 examples that cannot be read, such as train_cats_broken: expected a" in output
    assert "1 images in two splits" in output
    assert "1 files among the images that are none, such as train/dogs/notes.txt" in output
    dataset = load_params(with_files=True).dataset("photos")
    assert (dataset.on_error, dataset.leaks) == ("skip", "allow")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "expected files in ../photos; received: an empty folder"),
        ({"a.txt": b"x", "b.csv": b"y"}, "../photos: expected images; received: 1 .csv, 1 .txt"),
        (
            {"a.png": noise(1), "b.png": noise(2)},
            "received: 2 images without labels that are recognised, such as a.png, b.png",
        ),
        (
            {"JPEGImages/1.png": noise(1), "Annotations/1.xml": xml()},
            "expected objects in the annotation files; received: none in 1",
        ),
        (
            {"a/1.png": noise(1), "b/2.xml": xml(("nut", 3))},
            "expected images of the annotation files in b; received: none of these names",
        ),
        (
            class_folders(("train/", "val/")) | {"val/birds/1.png": noise(99)},
            "expected images of each class; received: none of birds",
        ),
        (
            {"a.json": coco_document(0, 2)},
            "expected the images of a.json; received: a.json: its images are not here, such as 0.png",
        ),
    ],
)
def test_what_nothing_reads_is_named(tmp_path, files, message):
    """What was expected, what is there, and what to do; nothing is drawn."""
    (tmp_path / "photos").mkdir()
    write_files(tmp_path / "photos", files)
    assert message in inspect("../photos", code=2)
    assert not Path("inspect").exists()


def test_a_wrong_kind_is_told_of_inspect(tmp_path):
    """By the params file's check, and by `augment`, which reads the data first."""
    write_files(tmp_path / "photos", class_folders())
    text = PARAMS.replace("{kind: mnist1d, validation_examples: 400}", "{kind: photos, files: [{path: ../photos}]}")
    Path("params.yaml").write_text(text)
    assert "`cnnkeras inspect PATH` says which kind" in CliRunner().invoke(main, ["check"]).output
    source = "{kind: voc, root: '', files: [{path: ../photos}], splits: {train: train, val: 0.1, test: 0.1}}"
    text = PARAMS.replace("{kind: mnist1d, validation_examples: 400}", source)
    Path("params.yaml").write_text(text.replace("size: [40]", "size: [32, 32], examples: objects"))
    assert CliRunner().invoke(main, ["download", "old"]).exit_code == 0
    result = CliRunner().invoke(main, ["augment", "old"])
    assert result.exit_code == 2
    assert "expected a list ImageSets/Main/train.txt" in result.output
    assert "`cnnkeras inspect ../photos` says what is there" in result.output


def test_no_backend_is_loaded(tmp_path):
    """Neither TensorFlow nor Keras: it answers at once."""
    write_files(tmp_path / "photos", class_folders())
    code = "import sys; from pipeline.cli import main; main(['inspect', '../photos'], standalone_mode=False); sys.exit(bool({'tensorflow', 'keras.src', 'mlflow', 'dvc'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_what_it_adds_trains_and_notices_a_new_image(tmp_path):
    """With real DVC: `inspect --write`, `dvc repro`, a model; then a further image makes the download stale, and what follows."""
    write_files(tmp_path / "photos", class_folders(count=5))
    root = tmp_path / "copy"
    copy_project(root, PARAMS)
    env = environment(tmp_path)

    def run(*command):
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    cnnkeras = (sys.executable, "-m", "pipeline.cli")
    run(*cnnkeras, "inspect", "../photos", "--write")
    assert "never run" in run(*cnnkeras, "plan")
    run("dvc", "repro", "evaluate@vgg_photos")
    assert json.loads((root / "results/vgg_photos/metrics.json").read_text())
    assert not [line for line in run(*cnnkeras, "plan").splitlines() if "download@photos" in line]
    (tmp_path / "photos/cats/new.png").write_bytes(noise(77))
    assert "download@photos" in (planned := run(*cnnkeras, "plan"))
    assert "made before ../photos changed" in planned


def test_names_are_checked_and_known_ones_are_said(tmp_path):
    """A name that params.yaml may not have is an error; one that it has already is said beside what is printed."""
    write_files(tmp_path / "photos", class_folders())
    assert "--name: expected a name of lower-case letters, digits and _; received: 'My-Photos'" in inspect(
        "../photos", "--name", "My-Photos", code=2
    )
    assert "already" not in inspect("../photos")
    assert "params.yaml has sources.old, datasets.old already: --name calls these otherwise" in inspect(
        "../photos", "--name", "old"
    )
