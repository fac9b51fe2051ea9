"""The report on a dataset, leaks between splits, and examples that cannot be read."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from pipeline.formats.packed import Index, SplitWriter
from pipeline.images.paper_transforms import PCALighting
from pipeline.images.principal_components import principal_components
from pipeline.params import load_params
from pipeline.sources import image_folder
from pipeline.stages.augment import report as dataset_report
from pipeline.stages.augment.report import Notes, write_report
from pipeline.tracking.fingerprints import result_params
from tests import recipe_parts
from tests.archive_files import MIRROR, image, needs_mirror, write_archive
from tests.contents import digests

PARAMS = """\
seed: 1
sources:
  images:
    kind: image_folder
    files: [{{name: images.zip, urls: ["file://{archive}"], sha256: {checksum}}}]
    folders: [cat, dog]
    splits: {{train: train, val: val, test: test}}
datasets:
  images: {{source: images, task: classification, size: [8, 8]{keys}}}
experiments: {{}}
"""


def run(folder: Path, files: dict[str, bytes], keys: str = ""):
    """Download and augment images through the command line; returns how that ended."""
    write_archive(folder / "published.zip", files)
    checksum = hashlib.sha256((folder / "published.zip").read_bytes()).hexdigest()
    text = PARAMS.format(archive=folder / "published.zip", checksum=checksum, keys=keys)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    assert CliRunner().invoke(main, ["download", "images"]).exit_code == 0
    return CliRunner().invoke(main, ["augment", "images", "--workers", "1"])


def images() -> dict[str, bytes]:
    """Two images of each class in each split, all different, the dogs larger."""
    names = [(split, name, n) for split in ("train", "val", "test") for name in ("cat", "dog") for n in range(2)]
    return {
        f"{split}/{name}/{n}.png": image(12, 10 if name == "cat" else 20, "PNG", value=10 * place + 5)
        for place, (split, name, n) in enumerate(names)
    }


def test_the_colours_are_the_principal_components_of_the_training_images(tmp_path):
    """By hand: the values 0 and 255 in R alone have the variance 0.25 along (1, 0, 0); the copies and other splits do not count."""
    red, black = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    splits = {}
    for split, values in (("train", [red, red + 9, black, red + 9]), ("val", [red + 1]), ("test", [red + 2])):
        writer = SplitWriter(tmp_path / split)
        for number, inputs in enumerate(values):
            writer.append(str(number), fixed={"inputs": inputs, "labels": np.int32(0)})
        splits[split] = writer.close()
    Index("classification", ("a",), (4, 4, 3), (127.5, 0.0, 0.0), (1.0,) * 3, splits, {}, {}).write(tmp_path)
    (tmp_path / "report").mkdir()
    write_report(tmp_path / "report", tmp_path, "colours", versions=2, leaks="fail", notes=Notes())
    found = json.loads((tmp_path / "report/report.json").read_text(encoding="utf-8"))["colours"]
    assert (found["images"], found["eigenvalues"]) == (2, [0.25, 0, 0])
    assert found["eigenvectors"][0] == [1, 0, 0]


def test_the_report_and_the_lighting_share_their_components():
    """PCALighting shifts along what `principal_components` finds, against NumPy's covariance of all pixels."""
    images = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8) // np.array([1, 2, 4], np.uint8)
    values, vectors = principal_components(images)
    covariance = np.cov(images.reshape(-1, 3).T / 255, bias=True)
    np.testing.assert_allclose(vectors @ np.diag(values) @ vectors.T, covariance, atol=1e-12)
    lighting = PCALighting(magnitude="eigenvalues")
    lighting.fit(images)
    np.testing.assert_array_equal(lighting._directions, vectors * values)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def report() -> dict:
    return json.loads(Path("results/datasets/images/report.json").read_text(encoding="utf-8"))


def test_the_report_counts(here):
    """Examples per class and split, without copies; the images' own sizes; the same bytes when made again."""
    keys = ", copies: 2, augmentation: [HorizontalFlip: {p: 0.5}]"
    ended = run(here, images(), keys)
    assert ended.exit_code == 0, ended.output
    found = report()
    train = found["splits"]["train"]
    assert train["examples"] == 4
    assert train["per_class"] == {"cat": 2, "dog": 2}
    assert train["sizes"] == {"min": [10, 12], "max": [20, 12], "median": [15, 12], "different": 2}
    # Rows of one colour: 5, 15, 25, 35, and their flips.
    assert found["mean"] == [20, 20, 20]
    assert found["skipped"] == []
    assert found["duplicates"] == {"within": {"train": 0, "val": 0, "test": 0}, "across": 0, "pairs": []}
    folder = Path("results/datasets/images")
    before = digests(folder)
    assert set(before) == {"report.json", "report.png"}
    run(here, images(), keys)
    assert digests(folder) == before
    assert {file.name for file in Path("data/augmented/images").iterdir()} == {
        *("train", "val", "test", "index.json", "contact_sheet.png")
    }


def test_a_leak_is_an_error_unless_allowed(here):
    """An image that trains and tests is named, whatever its file's name and size; allowed, it is counted and named."""
    files = images()
    files["test/dog/other name.png"] = image(30, 30, "PNG", value=15)  # another file of the same pixels
    files["train/cat/again.png"] = files["train/cat/0.png"]
    ended = run(here, files)
    assert ended.exit_code == 2
    expected = "datasets.images: expected each image in one split; received: 1 in two, such as train_cat_1 of train and test_dog_other name of test"
    assert expected in ended.stderr
    assert not Path("data/augmented/images").exists()
    ended = run(here, files, ", leaks: allow")
    assert ended.exit_code == 0, ended.output
    assert report()["duplicates"] == {
        "within": {"train": 1, "val": 0, "test": 0},
        "across": 1,
        "pairs": [{"train": "train_cat_1", "test": "test_dog_other name"}],
    }


def test_broken_images_end_or_are_skipped(here):
    """By default the first one is named and nothing is written; skipped, each is listed with what is wrong."""
    files = images()
    files["train/dog/cut.png"] = files["train/dog/0.png"][:60]
    files["val/cat/text.jpg"] = b"no image"
    ended = run(here, files)
    assert ended.exit_code == 2
    assert "train_dog_cut: expected a whole image; received:" in ended.stderr
    assert not Path("data/augmented/images").exists()
    ended = run(here, files, ", on_error: skip")
    assert ended.exit_code == 0, ended.output
    assert "images: 4 train, 4 val, 4 test; 2 unreadable skipped" in ended.stdout
    reasons = [(entry["split"], entry["reason"].split(";")[0]) for entry in report()["skipped"]]
    assert reasons == [
        ("train", "train_dog_cut: expected a whole image"),
        ("val", "val_cat_text: expected a whole image"),
    ]
    assert "0x" not in json.dumps(report()), "an address is another one each time"


def test_a_split_of_broken_images_is_an_error(here):
    """Skipping all of them is no dataset; the first reason is named."""
    files = {name: b"none" if name.startswith("val") else data for name, data in images().items()}
    ended = run(here, files, ", on_error: skip")
    assert ended.exit_code == 2
    assert "expected examples in the split 'val'; received: none. Skipped: val_cat_0: expected a whole" in ended.stderr


def test_images_of_12_bits_in_16_are_refused(here):
    """Their upper 8 bits are almost black; Pillow would cut their values off at 255."""
    deep = here / "deep.png"
    Image.fromarray(np.full((4, 4), 4000, np.uint16)).save(deep)
    ended = run(here, images() | {"train/cat/deep.png": deep.read_bytes()})
    assert (
        "train_cat_deep: expected an image of 8 bits a channel, or of 16 that it makes use of; received: 16 bits"
        in ended.stderr
    )


def test_whatever_a_reader_raises_is_skipped(here, monkeypatch):
    """Not only what it was prepared for; without `skip` a bug of ours keeps its traceback."""
    read = image_folder.examples

    def examples(*arguments, split, **keys):
        found = read(*arguments, split=split, **keys)
        if split == "train":
            found._read = lambda item, whole=found._read: {}["x"] if item[0] == "train_cat_1" else whole(item)
        return found

    monkeypatch.setattr(image_folder, "examples", examples)
    ended = run(here, images(), ", on_error: skip")
    assert ended.exit_code == 0, ended.output
    assert "images: 3 train, 4 val, 4 test; 1 unreadable skipped" in ended.stdout
    assert report()["skipped"] == [{"split": "train", "reason": "example 2: KeyError 'x'"}]
    assert isinstance(run(here, images()).exception, KeyError)


def test_a_class_without_an_example_is_refused(here):
    """The last one of `dog` is broken and skipped: nothing is left to learn from, and nothing is written."""
    files = images() | {"train/dog/0.png": b"", "train/dog/1.png": b""}
    ended = run(here, files, ", on_error: skip")
    assert ended.exit_code == 2
    expected = "datasets.images: expected an example of each class in the training split; received: 0 of dog; 2 unreadable skipped. Leave it out"
    assert expected in ended.stderr
    assert not Path("data/augmented/images").exists()


def test_what_is_no_image_is_counted_by_its_ending(here):
    """In the classes' folders, each file once whatever the number of splits; not what is hidden, left behind, or beside the folders."""
    hidden = (".DS_Store", "dog/.DS_Store", "dog/Thumbs.db", "cat/.ipynb_checkpoints/0-checkpoint.png", "@eaDir/0.png")
    remains = {f"train/{name}": b"x" for name in hidden} | {"__MACOSX/train/dog/._0.png": b"x", "readme.txt": b"x"}
    others = {"train/cat/a.heic": b"x", "train/dog/b.HEIC": b"x", "train/cat/labels.txt": b"x", "test/cat/raw": b"x"}
    ended = run(here, images() | remains | others)
    assert ended.exit_code == 0, ended.output
    assert "images: 4 train, 4 val, 4 test; left out as no images: 2 .heic, 1 .txt, 1 no ending" in ended.stdout
    assert report()["left_out"] == {".heic": 2, ".txt": 1, "no ending": 1}
    assert (
        run(here, images()).stdout.splitlines()[-1] == "augment images: 4 train, 4 val, 4 test -> data/augmented/images"
    )
    assert "left_out" not in report()


@pytest.mark.usefixtures("here")
def test_what_is_left_at_its_default_leaves_results_as_they_were():
    """`on_error` and `leaks` are part of a result's params only where they are set otherwise."""
    experiment = """
  x:
    dataset: images
    architecture: vgg
    model: {width: 0.03125}
    input: {mean: 128.0, std: 64.0}
    train: {epochs: 1, batch_size: 1, optimizer: {name: sgd, learning_rate: 0.1}, schedule: {name: constant}, initial_weights: {experiment: scratch}}
    predict: {batch_size: 1}
    postprocess: {top_k: 2}
    evaluate: {images: 4}
"""
    text = PARAMS.format(archive="/x", checksum="a" * 64, keys="KEYS").replace("size: [8, 8]", "size: [32, 32]")
    named = []
    for keys in ("", ", on_error: fail, leaks: fail", ", on_error: skip, leaks: fail"):
        Path("params.yaml").write_text(text.replace("KEYS", keys).replace(" {}\n", experiment), encoding="utf-8")
        named.append(result_params(load_params(), "x"))
    assert named[0] == named[1]
    assert set(named[2]) - set(named[0]) == {"dataset.on_error"}


def pack_boxes(folder: Path, boxes: dict[str, list]) -> None:
    """A packed detection dataset of these boxes, the last image's last object difficult."""
    splits = {}
    for number, (split, images) in enumerate(boxes.items()):
        writer = SplitWriter(folder / split)
        for row, each in enumerate(images):
            corners = np.array(each, np.float32).reshape(-1, 4)
            difficult = np.zeros(len(corners), bool)
            if row == len(images) - 1:
                difficult[-1:] = True
            inputs = np.full((8, 8, 3), 10 * number + row, np.uint8)
            ragged = {"boxes": corners, "box_labels": np.arange(len(corners), dtype=np.int32), "difficult": difficult}
            writer.append(f"{split}{row}", fixed={"inputs": inputs}, ragged=ragged)
        splits[split] = writer.close()
    index = Index(
        "detection", ("a", "b", "c"), (8, 8, 3), (0.0,) * 3, (1.0,) * 3, splits, {"boxes without area": 2}, {}
    )
    index.write(folder)


def test_boxes_that_share_a_cell_are_counted(tmp_path):
    """Worked by hand on a grid of 5 x 5, whose cells are 0.2 wide.

    Centres (0.1, 0.1), (0.15, 0.05) and (0.3, 0.1): the first two share cell (0, 0), so that one of three objects is lost;
    with the second image's two, in cells of their own, one of five; the difficult one does not count.
    """
    first = [[0.0, 0.0, 0.2, 0.2], [0.1, 0.0, 0.2, 0.1], [0.2, 0.0, 0.4, 0.2]]
    second = [[0.0, 0.0, 0.2, 0.2], [0.8, 0.8, 1.0, 1.0], [0.8, 0.8, 1.0, 1.0]]
    pack_boxes(tmp_path / "packed", {"train": [first, second], "val": [[]], "test": [first[:1]]})
    out = tmp_path / "report"
    out.mkdir()
    write_report(out, tmp_path / "packed", "boxes", versions=1, leaks="fail", notes=Notes())
    found = json.loads((out / "report.json").read_text())
    boxes = found["splits"]["train"]["boxes"]
    assert boxes["objects"] == 5
    assert boxes["lost_by_grid"]["5"] == 0.2
    assert boxes["per_image"] == {"mean": 2.5, "max": 3}
    assert boxes["width"]["median"] == 0.2
    assert boxes["width"]["min"] == 0.1
    assert found["splits"]["train"]["per_class"] == {"a": 2, "b": 2, "c": 1}
    assert found["splits"]["val"]["boxes"] == {"objects": 0}
    assert found["dropped"] == {"boxes without area": 2}
    assert (out / "report.png").read_bytes()[:4] == b"\x89PNG"


def test_shares_of_pixels_leave_void_out(tmp_path):
    """Of four pixels, one void: background 2/3, the class 1/3."""
    splits = {}
    for number, split in enumerate(("train", "val", "test")):
        writer = SplitWriter(tmp_path / split)
        inputs = np.full((2, 2, 3), number, np.uint8)
        writer.append("x", fixed={"inputs": inputs, "masks": np.array([[0, 0], [1, 255]], np.uint8)})
        splits[split] = writer.close()
    Index("segmentation", ("a",), (2, 2, 3), (0.0,) * 3, (1.0,) * 3, splits, {}, {}).write(tmp_path)
    (tmp_path / "report").mkdir()
    write_report(tmp_path / "report", tmp_path, "masks", versions=1, leaks="fail", notes=Notes())
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert found["splits"]["test"]["per_class"] == {"background": 0.666667, "a": 0.333333}


@needs_mirror
@pytest.mark.usefixtures("here")
def test_real_cells_share_the_cells_of_yolos_grid():
    """BCCD through `download` and `augment`: two boxes without area, and about 3.6 % of the boxes share a cell of 7 x 7."""
    with Path("params.yaml").open("w", encoding="utf-8") as file:
        recipe_parts.yaml().dump(recipe_parts.read("bccd"), file)
    for command in (["download", "bccd"], ["augment", "bccd"]):
        ended = CliRunner(env={"CNNKERAS_MIRROR": str(MIRROR)}).invoke(main, command)
        assert ended.exit_code == 0, ended.output
    found = json.loads(Path("results/datasets/bccd/report.json").read_text())
    assert [entry["examples"] for entry in found["splits"].values()] == [205, 87, 72]
    assert found["dropped"] == {"boxes without area": 2}
    objects = [entry["boxes"]["objects"] for entry in found["splits"].values()]
    assert sum(objects) == 4886
    lost = sum(
        count * entry["boxes"]["lost_by_grid"]["7"]
        for count, entry in zip(objects, found["splits"].values(), strict=True)
    )
    assert lost / sum(objects) == pytest.approx(0.036, abs=0.003)
    assert dataset_report.summary(found) == "205 train, 87 val, 72 test · 2 boxes without area dropped"
