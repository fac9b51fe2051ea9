"""Augmenting and packing: what moves with an image, what packed splits hold, and that it is the same every time."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from cnnkeras.label_maps import VOID, decode_png, resize_labels
from pipeline.formats import packed
from pipeline.images import annotated
from pipeline.images.annotated import AnnotatedImage
from pipeline.images.augmentation import Policy, transform_names
from pipeline.params import TrainingProposals, load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.workers import ordered_map
from pipeline.stages import augment, download
from pipeline.stages.augment import journal
from pipeline.stages.augment.decoding import decode
from pipeline.stages.augment.moments import Moments
from pipeline.stages.augment.packer import Packer
from pipeline.stages.augment.packing import pack

REPOSITORY = Path(__file__).parents[1]
PARAMS = """\
seed: 5
sources:
  scenes: {kind: digit_scenes, seed: 2, scenes: {train: 37, val: 5, test: 6}}
  signals: {kind: mnist1d}
datasets:
  detection:
    source: scenes
    task: detection
    size: [48, 64]
    copies: 2
    augmentation:
      - Affine: {scale: [0.7, 1.3], translate_percent: [-0.3, 0.3], p: 1.0}
      - RandomBrightnessContrast: {p: 0.5}
  segmentation:
    source: scenes
    task: segmentation
    size: [40, 40]
    copies: 1
    augmentation: [HorizontalFlip: {p: 1.0}]
  objects: {source: scenes, task: segmentation, size: [32, 32], examples: objects, object_margin: 0.25}
  crops:
    source: scenes
    task: classification
    size: [32, 32]
    examples: objects
    copies: 1
    augmentation: [Rotate: {limit: 15}]
  compressed:
    source: scenes
    task: detection
    size: [48, 64]
    jpeg_quality: 90
    copies: 2
    augmentation: [Affine: {scale: [0.7, 1.3], p: 1.0}]
  signals: {source: signals, task: classification, size: [40]}
experiments: {}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose two sources have been downloaded."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "params.yaml").write_text(PARAMS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        download.run("scenes")
        download.run("signals")
        yield folder


in_project = pytest.mark.usefixtures("project")


def packer(name, **changes):
    params = load_params()
    dataset = params.dataset(name).model_copy(update=changes)
    return Packer(name, dataset, params.source(dataset.source), paths.raw(dataset.source), params.seed)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ---- the packed splits ----


@in_project
def test_the_same_bytes_for_any_number_of_workers():
    """1, 2 and 3 processes write the same files, contact sheet and index included."""
    written = []
    for workers in (1, 2, 3):
        augment.run("detection", workers=workers)
        written.append(digests(paths.augmented("detection")))
    assert written[0] == written[1] == written[2]
    assert {"index.json", "contact_sheet.png", "train/inputs.npy", "test/originals.npy"} <= set(written[0])


KILLED = """
import os, signal
from pipeline.stages import augment
from pipeline.stages.augment import journal as progress
progress.SHARD = 32
add = progress.Journal.add
def add_and_die(journal, chunk):
    add(journal, chunk)
    if journal.chunks == 3:
        for writer in journal.writers.values():
            for column in writer._columns.values():
                column._shard._file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
progress.Journal.add = add_and_die
augment.run("{name}", workers={workers})
"""


@pytest.fixture
def continued(monkeypatch):
    """Where runs of this test began, in chunks."""
    began, opened = [], journal.Journal.open.__func__

    def opened_and_noted(cls, *arguments):
        continued = opened(cls, *arguments)
        began.append(continued.chunks)
        return continued

    monkeypatch.setattr(journal.Journal, "open", classmethod(opened_and_noted))
    return began


def kill_a_run(project, name, workers):
    program = KILLED.format(name=name, workers=workers)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", program], cwd=project, env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("name", "killed_with", "workers"), [("detection", 1, 2), ("segmentation", 2, 1), ("compressed", 1, 2)]
)
def test_a_killed_run_is_continued_with_the_same_bytes(project, continued, name, killed_with, workers):
    """The next run begins at the shard where the killed one was, with any number of workers, and writes what one run would; its time is that of both."""
    augment.run(name, workers=1)
    whole = digests(paths.augmented(name))
    kill_a_run(project, name, killed_with)
    assert digests(paths.augmented(name)) == whole  # the former result is left alone
    saved = paths.augmented(name).parent / ".packing" / name / journal.JOURNAL
    facts = json.loads(saved.read_text())
    assert facts["notes"]["seconds"] > 0
    facts["notes"]["seconds"] += 1000  # as if the killed run had taken so long
    saved.write_text(json.dumps(facts))
    augment.run(name, workers=workers)
    assert 1000 < float(paths.duration(f"augment@{name}").read_text()) < 1500
    assert continued == [0, 2]
    assert digests(paths.augmented(name)) == whole
    assert not (paths.augmented(name).parent / ".packing" / name).exists()


@pytest.mark.parametrize("damage", ["seed", "column"])
def test_what_cannot_be_continued_is_begun_again(project, continued, damage):
    """After a change of a parameter, or where a saved column was cut off, a run starts from the first example."""
    kill_a_run(project, "detection", 1)
    (column,) = paths.augmented("").glob(".packing/detection/train/inputs.npy")
    try:
        if damage == "seed":
            (project / "params.yaml").write_text(PARAMS.replace("seed: 5", "seed: 6"))
        else:
            os.truncate(column, column.stat().st_size // 3)
        augment.run("detection", workers=1)
    finally:
        (project / "params.yaml").write_text(PARAMS)
    assert continued == [0]
    assert packed.open_split(paths.augmented("detection"), "train")["inputs"].shape == (111, 48, 64, 3)


@in_project
def test_a_truncated_file_is_refused():
    """A column that lost its end is named when it is read, and so is one whose header says less than the index."""
    augment.run("objects", workers=1)
    file = paths.augmented("objects") / "train" / "inputs.npy"
    whole = file.read_bytes()
    for kept in (len(whole) - 1, len(whole) // 2, 50, 0):
        file.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"inputs\.npy: expected a whole \.npy file"):
            packed.open_split(paths.augmented("objects"), "train")["inputs"]
    np.save(file, np.zeros((2, 32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"inputs\.npy: expected shape"):
        packed.open_split(paths.augmented("objects"), "train")["inputs"]


@in_project
def test_jpeg_files_read_like_the_images_that_they_are_of(tmp_path):
    """The same columns and annotations as without them, in less room; rows, slices and lists of rows give about the same pixels."""
    indices = {}
    for quality in (None, 90):
        indices[quality] = pack(packer("compressed", jpeg_quality=quality), tmp_path / str(quality), workers=2)
    plain, compressed = (packed.open_split(tmp_path / str(quality), "train") for quality in (None, 90))
    wanted, found = plain["inputs"], compressed["inputs"]
    assert (found.shape, found.dtype, found.ndim, len(found)) == (wanted.shape, wanted.dtype, wanted.ndim, len(wanted))
    # Fine textures and coloured edges lose most; on the average a value is some steps of 255 away.
    assert np.abs(np.asarray(found).astype(int) - wanted).mean() < 8
    for rows in (5, np.int64(5), -1, slice(3, 9, 2), [7, 0, 7], np.array([110, 2])):
        np.testing.assert_array_equal(found[rows], np.asarray(found)[rows])
    for name in ("boxes", "box_labels"):
        np.testing.assert_array_equal(compressed[name].values, plain[name].values)
    np.testing.assert_array_equal(compressed["ids"], plain["ids"])
    files, pixels = (tmp_path / str(quality) / "train/inputs.npy" for quality in (90, None))
    assert files.stat().st_size < pixels.stat().st_size / 2
    values = np.asarray(found, np.float64).reshape(-1, 3)
    np.testing.assert_allclose(indices[90].mean, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(indices[90].std, values.std(axis=0), atol=1e-6)
    entry = indices[90].splits["train"]["columns"]["inputs"]
    assert entry["sha256"] == hashlib.sha256(np.load(files).tobytes()).hexdigest()


@in_project
def test_a_damaged_jpeg_column_is_refused():
    """A file that lost its end, its places or the image of a row is named."""
    augment.run("compressed", workers=1)
    folder = paths.augmented("compressed") / "train"
    for name in ("inputs", "inputs.offsets"):
        whole = (folder / f"{name}.npy").read_bytes()
        (folder / f"{name}.npy").write_bytes(whole[:-8])
        with pytest.raises(InputError, match=rf"{name}\.npy: expected a whole \.npy file"):
            packed.open_split(folder.parent, "train")["inputs"]
        (folder / f"{name}.npy").write_bytes(whole)
    offsets = np.load(folder / "inputs.offsets.npy")
    values = np.load(folder / "inputs.npy", mmap_mode="r+")
    values[offsets[4] : offsets[5]] = 0
    values.flush()
    inputs = packed.open_split(folder.parent, "train")["inputs"]
    assert inputs[3].shape == (48, 64, 3)
    with pytest.raises(InputError, match=r"inputs\.npy: expected a JPEG file of shape \(48, 64, 3\) in row 4"):
        inputs[4]


@in_project
def test_another_seed_augments_differently(tmp_path):
    """The seed decides the augmented versions, not the plain ones."""
    first, second = packer("detection"), packer("detection")
    second._seed += 1
    for number, each in enumerate((first, second)):
        pack(each, tmp_path / str(number), workers=1)
    a, b = (packed.open_split(tmp_path / str(number), "train")["inputs"] for number in (0, 1))
    np.testing.assert_array_equal(a[::3], b[::3])
    assert all((a[row] != b[row]).any() for row in range(len(a)) if row % 3)


@in_project
def test_detection_columns(tmp_path):
    """Training holds plain and augmented rows; val and test are resized and keep the originals; boxes are fractions."""
    each = packer("detection")
    index = pack(each, tmp_path, workers=2)
    assert {split: entry["examples"] for split, entry in index.splits.items()} == {"train": 111, "val": 5, "test": 6}
    train, test = packed.open_split(tmp_path, "train"), packed.open_split(tmp_path, "test")
    assert train["inputs"].shape == (111, 48, 64, 3)
    assert list(train["ids"][:4]) == ["train_000001", "train_000001+1", "train_000001+2", "train_000002"]
    columns = {split: set(entry["columns"]) for split, entry in index.splits.items()}
    assert columns["train"] == {"ids", "inputs", "boxes", "box_labels", "difficult"}
    assert columns["val"] == columns["test"] == columns["train"] | {"sizes", "originals", "original_boxes"}
    for row in range(6):
        example = each.splits["test"][row]
        height, width = test["sizes"][row]
        assert test["originals"][row].tobytes() == example.image
        np.testing.assert_array_equal(test["original_boxes"][row], example.boxes)
        np.testing.assert_allclose(test["boxes"][row] * [width, height, width, height], example.boxes, rtol=1e-6)
        np.testing.assert_array_equal(test["box_labels"][row], example.labels)
    every = train["boxes"].values
    assert every.dtype == np.float32
    assert (every >= 0).all()
    assert (every <= 1).all()
    assert (every[:, 2:] > every[:, :2]).all()
    values = np.asarray(train["inputs"], np.float64).reshape(-1, 3)
    np.testing.assert_allclose(index.mean, values.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(index.std, values.std(axis=0), atol=1e-6)
    assert set(index.versions) == {"albumentations", "numpy", "opencv-python-headless", "pillow"}


@in_project
def test_segmentation_columns(tmp_path):
    """Masks move with the images: the flipped version of each row is its mirror image; originals are lossless."""
    each = packer("segmentation")
    pack(each, tmp_path, workers=1)
    train, test = packed.open_split(tmp_path, "train"), packed.open_split(tmp_path, "test")
    np.testing.assert_array_equal(train["masks"][1::2], train["masks"][0::2, :, ::-1])
    difference = train["inputs"][1::2].astype(int) - train["inputs"][0::2, :, ::-1]
    assert np.abs(difference).max() <= 1
    assert set(np.unique(train["masks"])) == {*range(11), VOID}
    for row in range(6):
        published = decode_png(each.splits["test"][row].mask)
        np.testing.assert_array_equal(decode_png(test["original_masks"][row].tobytes()), published)
        assert tuple(test["sizes"][row]) == published.shape


@in_project
def test_objects_for_segmentation_hold_one_class(tmp_path):
    """One example per digit: its class, background and void; void where the square leaves the image."""
    each = packer("objects")
    pack(each, tmp_path, workers=2)
    for split in ("train", "val", "test"):
        labels = np.concatenate([example.labels for example in each.splits[split]])
        masks = packed.open_split(tmp_path, split)["masks"]
        assert len(masks) == len(labels)
        for mask, label in zip(masks, labels, strict=True):
            assert {0, label + 1} <= set(np.unique(mask)) <= {0, label + 1, VOID}
    test = packed.open_split(tmp_path, "test")
    assert test["ids"][0] == "test_000001.1"
    assert test["sizes"][0][0] == test["sizes"][0][1]


@in_project
def test_proposals_that_overlap_an_object_are_trained_on(tmp_path, project):
    """Each with all that its part of the label map says; nothing of images without any. Others stay whole."""
    example = next(example for example in packer("segmentation").splits["train"] if len(example.boxes) > 1)
    x0, y0, x1, y1 = (round(edge) for edge in example.boxes[0])
    middle = (y0 + y1) // 2
    boxes = [(x0, y0, x1, y1), (0, 0, 9, 9), (x0, y0, x1, middle + 3), (x0, y0, x1, middle - 6)]
    rows = [
        {"id": example.id, "bbox": [left, top, right - left, bottom - top], "score": -number}
        for number, (left, top, right, bottom) in enumerate(boxes)
    ]
    (project / "boxes.json").write_text(json.dumps(rows))
    checksum = hashlib.sha256((project / "boxes.json").read_bytes()).hexdigest()
    proposals = TrainingProposals(file="boxes.json", sha256=checksum, min_side=9)
    each = packer("segmentation", examples="proposals", proposals=proposals, size=(y1 - y0, x1 - x0))
    pack(each, tmp_path, workers=2)
    train, test = packed.open_split(tmp_path, "train"), packed.open_split(tmp_path, "test")
    assert train["ids"].tolist() == [f"{example.id}.1", f"{example.id}.1+1", f"{example.id}.3", f"{example.id}.3+1"]
    whole = decode(example, classes=10)
    np.testing.assert_array_equal(train["inputs"][0], whole.image[y0:y1, x0:x1])
    np.testing.assert_array_equal(train["masks"][0], whole.mask[y0:y1, x0:x1])
    assert test["ids"].tolist() == [example.id for example in each.splits["test"]]


@in_project
def test_objects_for_classification_are_labelled(tmp_path):
    """Every digit is a row with its class; the copies follow it."""
    each = packer("crops")
    index = pack(each, tmp_path, workers=1)
    train = packed.open_split(tmp_path, "train")
    labels = np.concatenate([example.labels for example in each.splits["train"]])
    np.testing.assert_array_equal(train["labels"], np.repeat(labels, 2))
    assert set(index.splits["val"]["columns"]) == {"ids", "inputs", "labels", "originals", "sizes"}


@in_project
def test_signals_are_packed_as_they_are():
    """Signals keep their values; mean and standard deviation are those of the training split."""
    augment.run("signals", workers=2)
    folder = paths.augmented("signals")
    index, train = packed.open_index(folder), packed.open_split(folder, "train")
    assert index.shape == (40, 1)
    assert train["inputs"].shape == (3600, 40, 1)
    np.testing.assert_allclose(index.mean[0], train["inputs"].mean(), atol=1e-6)
    np.testing.assert_allclose(index.std[0], train["inputs"].std(), atol=1e-6)
    assert (folder / "contact_sheet.png").stat().st_size > 10_000


def test_moments_of_a_constant_can_be_divided_by():
    """A channel that never changes has the standard deviation 1 by convention; 2 and 4 have mean 3 and deviation 1."""
    moments = Moments()
    moments += Moments(np.array([[[7, 2], [7, 4]]], np.uint8))
    assert moments.mean_and_std() == ((7.0, 3.0), (1.0, 1.0))


# ---- images with annotations ----


def test_cut_out_by_hand():
    """A 4 x 2 box at (1, 1) with margin 0.25: side 4 * 1.5 = 6, centre (3, 2), so columns 0..5 and rows -1..4."""
    image = np.zeros((5, 8, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(5)[:, None], np.arange(8)
    mask = np.zeros((5, 8), np.uint8)
    mask[1:3, 1:5] = 3  # the object's class in its own box
    mask[4, 0] = 3  # the same class outside it
    mask[2, 2] = 1  # another class inside
    mask[0, 5] = VOID
    whole = AnnotatedImage(image, np.array([[1.0, 1, 5, 3]]), np.array([2]), np.array([False]), mask)
    part = annotated.cut_out(whole, 0, 0.25)
    assert part.image[:, 0, 0].tolist() == [0, 0, 1, 2, 3, 4]  # row -1 repeats row 0
    assert part.image[0, :, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert part.mask.tolist() == [
        [VOID] * 6,  # row -1: outside the image
        [0, 0, 0, 0, 0, VOID],
        [0, 3, 3, 3, 3, 0],
        [0, 3, 0, 3, 3, 0],
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_label_maps_shrink_without_mixing():
    """A mask takes labels, never between them."""
    board = np.indices((8, 8)).sum(axis=0) % 2
    assert set(np.unique(resize_labels(board.astype(np.uint8) * 9, (3, 5)))) <= {0, 9}


# ---- policies ----


def image_with_boxes(boxes=((10.0, 5.0, 30.0, 25.0),)):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    return AnnotatedImage(image, boxes, np.arange(len(boxes), dtype=np.int32), np.zeros(len(boxes), bool))


def policy(*transforms, boxes=True):
    return Policy(transforms, "params.yaml: datasets.x.augmentation", boxes=boxes)


def test_boxes_move_with_the_image():
    """A flip of a 60 pixels wide image takes (10, 5, 30, 25) to (60 - 30, 5, 60 - 10, 25)."""
    example = image_with_boxes()
    flipped = policy({"HorizontalFlip": {"p": 1.0}}).apply(example, np.random.SeedSequence(0))
    np.testing.assert_array_equal(flipped.image, example.image[:, ::-1])
    np.testing.assert_allclose(flipped.boxes, [[30, 5, 50, 25]], atol=1e-4)
    assert flipped.labels.dtype == np.int32


def test_boxes_that_leave_the_image_are_dropped_with_their_labels():
    """Shifted by 30 of 60 pixels to the right: one box goes, one is clipped, one stays."""
    example = image_with_boxes([[31, 5, 59, 20], [20, 0, 40, 40], [0, 0, 10, 10]])
    shift = policy({"Affine": {"translate_px": {"x": [30, 30], "y": [0, 0]}, "p": 1.0}})
    shifted = shift.apply(example, np.random.SeedSequence(0))
    assert shifted.labels.tolist() == [1, 2]
    np.testing.assert_allclose(shifted.boxes, [[50, 0, 60, 40], [30, 0, 40, 10]], atol=1e-3)


def test_how_much_of_a_box_must_show_is_a_setting():
    """Of 20 x 20 pixels a crop leaves 2 columns, a tenth: dropped at .25, kept at 0 and at .1; what does not show at all is gone."""
    crop = [{"Crop": {"x_min": 28, "y_min": 0, "x_max": 60, "y_max": 40, "p": 1.0}}]
    example = image_with_boxes([(10.0, 5, 30, 25), (2.0, 2, 8, 8)])
    for fraction, expected in ((0.25, []), (0.11, []), (0.1, [[0, 5, 2, 25]]), (0.0, [[0, 5, 2, 25]])):
        moved = Policy(crop, "x", boxes=True, min_visible_fraction=fraction).apply(example, np.random.SeedSequence(0))
        assert moved.boxes.tolist() == expected
    moved = Policy(crop, "x", boxes=True).apply(example, np.random.SeedSequence(0))
    assert moved.boxes.shape == (0, 4)


def test_images_without_boxes_stay_so():
    """No box before, no box after, in the shapes that the packed format expects."""
    moved = policy({"Affine": {"rotate": [5, 5], "p": 1.0}}).apply(image_with_boxes(()), np.random.SeedSequence(0))
    assert moved.boxes.shape == (0, 4)
    assert moved.labels.shape == moved.difficult.shape == (0,)


def test_a_version_depends_on_its_seed_alone():
    """The same seed gives the same image, whatever was augmented before."""
    noisy = policy({"Affine": {"rotate": [-40, 40], "p": 1.0}}, {"GaussNoise": {"p": 0.5}})
    example = image_with_boxes()
    first = noisy.apply(example, np.random.SeedSequence([1, 2, 3]))
    for number in range(5):
        noisy.apply(image_with_boxes(()), np.random.SeedSequence(number))
    again = noisy.apply(example, np.random.SeedSequence([1, 2, 3]))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)


def test_transforms_draw_independently():
    """Two flips of p = 0.5 act together in about a quarter of the cases, not always (the result of one seed for all)."""
    flips = policy({"HorizontalFlip": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}, boxes=False)
    example = AnnotatedImage(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    corners = [int(flips.apply(example, np.random.SeedSequence(seed)).image[0, 0, 0]) for seed in range(400)]
    counts = [corners.count(value) for value in (0, 3, 6, 9)]  # none, horizontal, vertical, both
    assert min(counts) > 60


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"Afine": {}}, r"augmentation\.0: unknown transform 'Afine'; did you mean 'Affine'\?"),
        ({"Affine": {"rotat": 3}}, r"augmentation\.0\.Affine: unknown argument 'rotat'; did you mean 'rotate'\?"),
        ({"Affine": {"p": 2}}, r"Affine: p: expected less than or equal to 1; received: 2"),
        ({"Affine": {"rotate": "left"}}, r"Affine: rotate: expected .*; received: 'left'"),
        ({"RandomCrop": {"height": 8}}, r"RandomCrop: expected the argument 'width'; received: none"),
    ],
)
def test_a_wrong_policy_is_named(transform, message):
    """An unknown transform or argument is answered with the nearest; a wrong value with what was expected."""
    with pytest.raises(InputError, match=message) as failure:
        policy(transform)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({"CenterCrop": {"height": 400, "width": 400, "p": 1.0}}, "expected transforms that fit the images"),
        ({"Normalize": {"p": 1.0}}, "expected transforms that keep images RGB with values 0..255; received: float32"),
    ],
)
def test_a_policy_that_does_not_suit_the_images_is_named(transform, message):
    """What shows only when it is applied is one line too."""
    with pytest.raises(InputError, match=message):
        policy(transform).apply(image_with_boxes(), np.random.SeedSequence(0))


def test_transforms_of_images_are_known():
    """The list holds the transforms that policies use, and neither base classes nor those of volumes."""
    names = transform_names()
    assert {"Affine", "HorizontalFlip", "RandomResizedCrop", "HueSaturationValue", "FancyPCA"} <= set(names)
    assert not {"BasicTransform", "DualTransform", "ImageOnlyTransform", "Pad3D", "Compose"} & set(names)


# ---- bad input ----


@in_project
@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "objects",
            {"copies": 0, "augmentation": ({"Afine": {}},)},
            r"unknown transform 'Afine'; did you mean 'Affine'",
        ),
        ("crops", {"examples": "images"}, r"crops\.examples: expected 'objects'"),
        ("crops", {"size": (32,)}, r"crops\.size: expected \[height, width\]"),
        ("signals", {"size": (41,)}, r"signals\.size: expected \[40\]"),
        ("signals", {"size": (40, 40)}, r"signals\.size: expected \[40\]"),
        ("signals", {"examples": "objects"}, r"signals: expected copies: 0 and examples: images"),
    ],
)
def test_entries_that_do_not_fit_the_source_are_named(tmp_path, name, changes, message):
    """Keys that exclude each other, or the source, give one line with the key; it is the same from a worker process."""
    for workers in (1, 2):
        with pytest.raises(InputError, match=message):
            pack(packer(name, **changes), tmp_path / str(workers), workers=workers)


def test_a_failed_run_leaves_the_former_result(project):
    """When the policy is wrong, what was packed before stays as it was."""
    augment.run("objects", workers=1)
    before = digests(paths.augmented("objects"))
    (project / "params.yaml").write_text(PARAMS.replace("object_margin: 0.25", "copies: 1, augmentation: [Afine: {}]"))
    try:
        with pytest.raises(InputError, match="Afine"):
            augment.run("objects", workers=1)
    finally:
        (project / "params.yaml").write_text(PARAMS)
    assert digests(paths.augmented("objects")) == before
    assert [path.name for path in paths.augmented("objects").parent.glob(".partial*")] == []


# ---- worker processes ----


def square(number):
    if number == 13:
        raise InputError("13 is not for us")
    return number * number


def nothing():
    """Workers that need no preparation."""


def test_results_come_in_order_and_errors_as_they_are():
    """Order is that of the tasks; a worker's error reaches the caller, and the workers are gone afterwards."""
    with ordered_map(square, range(10), workers=3, initializer=nothing) as results:
        assert list(results) == [number**2 for number in range(10)]
    with (
        pytest.raises(InputError, match="13 is not for us"),
        ordered_map(square, range(50), workers=2, initializer=nothing) as results,
    ):
        list(results)
    assert psutil.Process().children() == []


BUSY_OPENCV = """
import time
import cv2, numpy as np
from pipeline.runtime.workers import ordered_map
def blur(number):
    cv2.setNumThreads(1)
    return cv2.GaussianBlur(large, (9, 9), 0).shape, cv2.getNumThreads()
def nothing(): pass
large = np.zeros((2000, 2000, 3), np.uint8)
cv2.setNumThreads(4)
cv2.GaussianBlur(large, (9, 9), 0)
time.sleep(0.5)
with ordered_map(blur, range(4), workers=2, initializer=nothing) as results:
    print(set(results), cv2.getNumThreads())
"""


def test_workers_do_not_wait_for_threads_of_opencv_that_no_fork_copies():
    """This process's threads rest while it forks; a worker that sets their number once more would wait for them for ever."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        [sys.executable, "-c", BUSY_OPENCV], check=True, capture_output=True, text=True, env=environment, timeout=300
    )
    assert ended.stdout == "{((2000, 2000, 3), 1)} 4\n"


AWAIT = """
import time
from pipeline.runtime.workers import ordered_map
def work(number):
    time.sleep(0.2)
    return number
def nothing(): pass
with ordered_map(work, range(1000), workers=2, initializer=nothing) as results:
    for number in results:
        print(number, flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_their_parent(how):
    """Killed or interrupted, the parent leaves no worker behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", AWAIT], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout.readline() == "0\n", parent.stderr.read()
        workers = psutil.Process(parent.pid).children()
        assert len(workers) == 2
        os.kill(parent.pid, how)
        assert parent.wait(timeout=60) != 0
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == []


@in_project
def test_an_index_names_the_splits_in_order(tmp_path):
    """index.json is plain JSON that a person can read: task, classes, shape, counts."""
    pack(packer("objects"), tmp_path, workers=1)
    index = json.loads((tmp_path / "index.json").read_text())
    assert list(index["splits"]) == ["train", "val", "test"]
    assert index["classes"][:3] == ["zero", "one", "two"]
