"""Images augmented while a network trains: the same for any number of workers and from any epoch on, and annotations move along."""

import csv
import itertools
import multiprocessing
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from cnnkeras.jpeg import encode_jpeg
from cnnkeras.protocols import fits
from cnnkeras.training.batches import Batches, PreparedBatches
from pipeline.formats.packed import Index, SplitWriter, open_split
from pipeline.params import input_shape, load_params
from pipeline.runtime.errors import InputError
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.slots import Slots
from pipeline.stages.train.workers import read_with_processes, read_with_threads
from pipeline.tracking.fingerprints import result_params
from tests.test_train_predict import PARAMS, finish, start, write_dataset, write_project

TASKS = ("classification", "detection", "segmentation")
SIDE, GRID, CLASSES = 32, 4, 10
SETTINGS = {"seed": 3, "output_shape": (GRID, GRID, 20), "classes": CLASSES}
BOX = np.array([[0.2, 0.3, 0.7, 0.6]], np.float32)
POLICY = (
    {"HorizontalFlip": {"p": 0.5}},
    {"RandomResizedCrop": {"size": [SIDE, SIDE], "scale": [0.5, 1.0]}},
    {"RandomBrightnessContrast": {"p": 0.5}},
)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A packed dataset of each task."""
    folder = tmp_path_factory.mktemp("packed")
    for task in TASKS:
        write_dataset(folder / task, task)
    return folder


def reader(packed: Path, task: str, *transforms: dict) -> Reader:
    return augmenting_reader(open_split(packed / task, "train"), task, transforms or POLICY, "here", **SETTINGS)


@contextmanager
def prepared(read: Reader, *, workers: int, batch_size: int = 8) -> Iterator[PreparedBatches]:
    with read_with_processes(read, batch_size=batch_size, workers=workers) as ahead:
        yield PreparedBatches(ahead.examples, ahead.start, ahead=ahead.ahead, batch_size=batch_size, seed=3)


def epochs(data: Batches, *numbers: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """All batches of some epochs, as `fit` asks for them."""
    found = []
    for epoch in numbers:
        data.epoch = epoch
        found.append([data[batch] for batch in range(len(data))])
    return found


def equal(first: object, second: object) -> bool:
    flat = [[part for epoch in each for batch in epoch for part in batch] for each in (first, second)]
    return len(flat[0]) == len(flat[1]) and all(itertools.starmap(np.array_equal, zip(*flat, strict=True)))


# ---- determinism ----


@pytest.mark.parametrize("task", TASKS)
def test_the_same_batches_for_any_number_of_workers(packed, task):
    """1, 2 and 3 processes give what this process makes by itself, images and targets, epoch after epoch."""
    read = reader(packed, task)
    plain = Batches(read.inputs, read.targets, batch_size=8, seed=3)
    expected = [[read(plain.indices(epoch, batch), epoch) for batch in range(len(plain))] for epoch in range(3)]
    for workers in (1, 2, 3):
        with prepared(read, workers=workers) as data:
            assert equal(epochs(data, 0, 1, 2), expected)
    assert expected[0][0][0].shape == (8, SIDE, SIDE, 3)
    assert expected[0][0][0].dtype == np.uint8


@pytest.mark.parametrize("task", TASKS)
def test_the_same_batches_for_any_number_of_threads(packed, task):
    """1, 2 and 3 threads give what this thread makes by itself, in shuffled order and in the split's own, whose last batch is smaller."""
    read = Reader(open_split(packed / task, "train"), task, **SETTINGS)
    for seed in (3, None):
        plain = Batches(read.inputs, read.targets, batch_size=7, seed=seed)
        expected = epochs(plain, 0, 1, 2) if seed else epochs(plain, 0) * 3
        for threads in (1, 2, 3):
            with read_with_threads(read, batch_size=7, threads=threads) as ahead:
                data = PreparedBatches(ahead.examples, ahead.start, ahead=ahead.ahead, batch_size=7, seed=seed)
                assert equal(epochs(data, *((0, 1, 2) if seed else (0, 0, 0))), expected)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_no_thread_is_left_when_a_training_is_interrupted(packed, kind):
    """Ctrl-C while batches are under way ends threads and processes, and is what the caller sees."""
    read = Reader(open_split(packed / "classification", "train"), "classification", **SETTINGS)
    before = set(threading.enumerate())
    ahead = (
        read_with_threads(read, batch_size=4)
        if kind == "threads"
        else read_with_processes(read, batch_size=4, workers=2)
    )

    def interrupt() -> None:
        with ahead as batches:
            batches.start(np.arange(4), 0, lambda batch: batch)
            batches.start(np.arange(4), 1, lambda batch: batch)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert set(threading.enumerate()) == before
    assert not multiprocessing.active_children()


def test_memory_is_used_again_only_when_nobody_reads_it():
    """A batch keeps its numbers as long as it, or a view of it, is there; then its memory holds another; batches that are kept are copied."""
    slots = Slots([((3, 2), np.dtype(np.int32)), ((3,), np.dtype(np.float64))], under_way=2)

    def batch(number: int) -> tuple[np.ndarray, ...]:
        slot = slots.take()
        for part in slots.parts(slot):
            part[...] = number
        return slots.lend(slot, 2)

    first = batch(1)
    assert [(part.shape, part.dtype.name, part.ctypes.data % 64) for part in first] == [
        ((2, 2), "int32", 0),
        ((2,), "float64", 0),
    ]
    view, place = np.asarray(first[0])[1:].T, first[0].ctypes.data
    kept = [batch(number) for number in range(2, 40)]  # many more than there are slots
    del first
    kept += [batch(number) for number in range(40, 50)]
    assert view.tolist() == [[1], [1]]
    assert [part.tolist() for part in kept[-1]] == [[[49, 49], [49, 49]], [49.0, 49.0]]
    assert [int(inputs[0, 0]) for inputs, _ in kept] == list(range(2, 50))
    del view
    assert batch(50)[0].ctypes.data == place


@pytest.mark.parametrize("task", TASKS)
def test_a_restart_at_an_epoch_sees_what_it_would_have_seen(packed, task):
    """The images of epoch 2 are the same whether epochs 0 and 1 came before or not, and others than in epoch 1."""
    read = reader(packed, task)
    with prepared(read, workers=2) as data:
        straight = epochs(data, 0, 1, 2)
    with prepared(reader(packed, task), workers=1) as data:
        restarted = epochs(data, 2)
    assert equal(restarted, straight[2:])
    assert not equal(straight[1:2], straight[2:])


def test_a_image_changes_from_epoch_to_epoch_and_with_the_seed(packed):
    """Its stream is one of (seed, epoch, row): not of the batch that it is in, nor of its place there."""
    read = reader(packed, "classification")
    together = read(np.array([4, 9]), 1)[0]
    np.testing.assert_array_equal(read(np.array([9]), 1)[0][0], together[1])
    other = augmenting_reader(
        open_split(packed / "classification", "train"), "classification", POLICY, "here", **SETTINGS | {"seed": 4}
    )
    assert (read(np.array([9]), 2)[0][0] != together[1]).any()
    assert (other(np.array([9]), 1)[0][0] != together[1]).any()


def test_jpeg_files_are_decoded_by_the_workers(tmp_path):
    """Without a policy too, and then to what the column itself reads as; with one, the same for any number of workers."""
    writer, random = (
        SplitWriter(tmp_path / "train", encoded={"inputs": ("jpeg", (SIDE, SIDE, 3))}),
        np.random.default_rng(0),
    )
    for number in range(20):
        image = cv2.resize(random.integers(0, 256, (6, 6, 3), dtype=np.uint8), (SIDE, SIDE))
        writer.append(str(number), fixed={"labels": np.int32(number % 10)}, ragged={"inputs": encode_jpeg(image, 90)})
    Index("classification", ("a",) * 10, (SIDE, SIDE, 3), (0.0,), (1.0,), {"train": writer.close()}, {}, {}).write(
        tmp_path
    )
    columns = open_split(tmp_path, "train")
    plain = Reader(columns, "classification", **SETTINGS)
    assert plain.is_slow
    with prepared(plain, workers=2) as data:
        indices = data.indices(0, 1)
        images, labels = epochs(data, 0)[0][1]
    np.testing.assert_array_equal(images, np.asarray(columns["inputs"])[indices])
    np.testing.assert_array_equal(labels, columns["labels"][indices])
    read = augmenting_reader(columns, "classification", POLICY, "here", **SETTINGS)
    found = []
    for workers in (1, 2):
        with prepared(read, workers=workers) as data:
            found.append(epochs(data, 0, 1))
    assert equal(*found)


# ---- annotations ----


def test_masks_move_with_their_images(tmp_path):
    """An image whose red is its own label map still is after flips, turns, a crop and a shift that leaves the image."""
    writer, random = SplitWriter(tmp_path / "train"), np.random.default_rng(0)
    for number in range(12):
        mask = cv2.resize(random.integers(0, 5, (8, 8), dtype=np.uint8), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
        writer.append(str(number), fixed={"inputs": np.dstack([mask, mask, mask]), "masks": mask})
    index = Index(
        "segmentation", ("a",) * 4, (SIDE, SIDE, 3), (0.0,) * 3, (1.0,) * 3, {"train": writer.close()}, {}, {}
    )
    index.write(tmp_path)
    transforms = (
        {"D4": {"p": 1.0}},
        {"PadIfNeeded": {"min_height": 40, "min_width": 40, "fill_mask": 0}},
        {"RandomCrop": {"height": SIDE, "width": SIDE}},
        {"Affine": {"translate_px": [-4, 4], "interpolation": 0, "p": 0.5}},
    )
    read = augmenting_reader(open_split(tmp_path, "train"), "segmentation", transforms, "here", **SETTINGS)
    images, masks = read(np.arange(12), 0)
    np.testing.assert_array_equal(images[..., 0], masks)
    assert sum((mask == before).all() for mask, before in zip(masks, read.targets(np.arange(12), 0), strict=True)) < 3


def test_boxes_move_with_their_images(tmp_path):
    """The only object of a black image is its white rectangle; after flips and crops the target's box is that of the white."""
    writer, random = SplitWriter(tmp_path / "train"), np.random.default_rng(0)
    for number in range(16):
        image, (x0, y0), (width, height) = np.zeros((SIDE, SIDE, 3), np.uint8), random.integers(8, 12, 2), (12, 8)
        image[y0 : y0 + height, x0 : x0 + width] = 255
        box = np.array([[x0, y0, x0 + width, y0 + height]], np.float32) / SIDE
        ragged = {"boxes": box, "box_labels": np.array([2], np.int32), "difficult": np.array([False])}
        writer.append(str(number), fixed={"inputs": image}, ragged=ragged)
    index = Index("detection", ("a",) * 10, (SIDE, SIDE, 3), (0.0,) * 3, (1.0,) * 3, {"train": writer.close()}, {}, {})
    index.write(tmp_path)
    transforms = (
        {"HorizontalFlip": {}},
        {"VerticalFlip": {}},
        {"RandomResizedCrop": {"size": [SIDE, SIDE], "scale": [0.4, 1]}},
    )
    read = augmenting_reader(open_split(tmp_path, "train"), "detection", transforms, "here", **SETTINGS)
    before = read.targets(np.arange(16), 0)
    images, targets = read(np.arange(16), 0)
    moved = 0
    for image, target, unmoved in zip(images, targets, before, strict=True):
        ((row, column),) = np.argwhere(target[..., 0])
        x, y, width, height = target[row, column, 1:5]
        assert target[row, column, 5:].argmax() == 2
        rows, columns = np.nonzero(image[..., 0] > 127)
        found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        centre = (column + x) / GRID * SIDE, (row + y) / GRID * SIDE
        sides = width * SIDE, height * SIDE
        expected = [
            centre[0] - sides[0] / 2,
            centre[1] - sides[1] / 2,
            centre[0] + sides[0] / 2,
            centre[1] + sides[1] / 2,
        ]
        np.testing.assert_allclose(found, expected, atol=1.01)
        moved += not np.allclose(target, unmoved)
    assert moved > 12


# ---- wrong policies ----


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (({"RandomCrop": {"height": 24, "width": 24, "p": 0.01}},), "end at 32 x 32 pixels.*received: 24 x 24"),
        (
            ({"Resize": {"height": 40, "width": 40}}, {"RandomCrop": {"height": 32, "width": 32, "p": 0.5}}),
            "end at 32 x 32 pixels.*received: 40 x 40",
        ),
        (({"RandomCrop": {"height": 40, "width": 40}},), "transforms that fit the images"),
        (({"Normalize": {}},), "keep images RGB"),
        (({"HorizontalFlop": {}},), "did you mean 'HorizontalFlip'"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_before_the_training(packed, transforms, message):
    """One that changes the size, however rarely, cannot cut the size, normalises, or is misspelt; the place is named."""
    with pytest.raises(InputError, match=f"^here.*{message}"):
        reader(packed, "classification", *transforms)


def test_a_transform_is_certain_for_the_trial_only(packed):
    """Afterwards it acts as often as it says: never, at p = 0."""
    read = reader(packed, "classification", {"HorizontalFlip": {"p": 0.0}})
    np.testing.assert_array_equal(read(np.arange(20), 0)[0], read.inputs)


@pytest.mark.parametrize("recipe", sorted(Path(__file__).parents[1].glob("recipes/*.yaml")), ids=lambda file: file.name)
def test_the_recipes_policies_end_at_the_size_of_the_input(tmp_path, recipe):
    """Each that an experiment applies while it trains fits images as its dataset packs them."""
    params = load_params(recipe)
    for name, experiment in params.experiments.items():
        dataset = params.dataset(experiment.dataset)
        if not experiment.train.augmentation:
            continue
        sides, shape = dataset.stored_size((300, 400)), input_shape(params, experiment)
        fixed, ragged = {
            "classification": ({"labels": np.int32(0)}, {}),
            "segmentation": ({"masks": np.zeros(sides, np.uint8)}, {}),
            "detection": ({}, {"boxes": BOX, "box_labels": np.zeros(1, np.int32), "difficult": np.zeros(1, bool)}),
        }[dataset.task]
        writer = SplitWriter(tmp_path / name / "train")
        for number in range(2):
            image = np.random.default_rng(number).integers(0, 256, (*sides, 3), dtype=np.uint8)
            writer.append(str(number), fixed=fixed | {"inputs": image}, ragged=ragged)
        index = Index(dataset.task, ("a",), (*sides, 3), (0.0,), (1.0,), {"train": writer.close()}, {}, {})
        index.write(tmp_path / name)
        columns = open_split(tmp_path / name, "train")
        settings = {**SETTINGS, "size": shape[:2], "fit": fits.stretch()}
        read = augmenting_reader(columns, dataset.task, experiment.train.augmentation, name, **settings)
        assert read(np.arange(2), 1)[0].shape == (2, *shape)


def test_what_a_result_depends_on_names_the_policy_and_the_quality(project):
    """Each transform by itself, one without arguments too; an experiment without any, or of pixels, depends on neither key."""
    before = result_params(load_params(), "crops")
    project.edit("examples: objects}", "examples: objects, jpeg_quality: 90}")
    project.edit(
        "      batch_size: 1\n", "      batch_size: 1\n      augmentation: [HorizontalFlip: {}, Rotate: {limit: 5}]\n"
    )
    # The other experiments of the project are like this one but for their dataset, and signals have no images to augment.
    text = project.params.read_text(encoding="utf-8")
    project.params.write_text(re.sub(r"  signals:\n    <<.*?(?=  boxes:)", "", text, flags=re.DOTALL), encoding="utf-8")
    added = {key: value for key, value in result_params(load_params(), "crops").items() if key not in before}
    assert added == {
        "dataset.jpeg_quality": "90",
        "train.augmentation.0.HorizontalFlip": "{}",
        "train.augmentation.1.Rotate.limit": "5",
    }


# ---- the stage ----

AUGMENTED = PARAMS.replace(
    "initial_weights: {experiment: scratch}",
    "initial_weights: {experiment: scratch}\n      augmentation: [HorizontalFlip: {}, RandomResizedCrop: {size: [32, 32]}]",
)
TRAIN = """
import sys
from pipeline.stages import train
from pipeline.stages.train import workers
begin = workers._begin
def begin_and_look(*arguments):
    # A lazily loaded Keras is in sys.modules under its own name before it is imported.
    assert not {"keras.src", "tensorflow"} & sys.modules.keys()
    begin(*arguments)
workers._begin = begin_and_look
train.run("digits", workers=int(sys.argv[1]))
"""
FAIL = """
from pipeline.stages import train
from pipeline.stages.train.reader import Reader
from pipeline.runtime.errors import InputError
read = Reader.into
def fail_later(reader, parts, indices, epoch):
    if epoch == 1:
        raise InputError("what is wrong with this image")
    read(reader, parts, indices, epoch)
Reader.into = fail_later
try:
    train.run("digits")
except InputError as error:
    print(error)
"""


def test_trainings_with_any_number_of_workers_give_the_same_bytes(tmp_path):
    """Networks and histories are equal bit for bit with 1 worker and with 2, none of which has TensorFlow."""
    roots = [write_project(tmp_path / name) for name in ("one", "two")]
    for root in roots:
        (root / "params.yaml").write_text(AUGMENTED, encoding="utf-8")
    for process in [start(TRAIN, root, str(workers)) for workers, root in enumerate(roots, start=1)]:
        finish(process)
    files = [f"results/digits/{file}" for file in ("history.csv", "model/model.keras")]
    assert [file for file in files if len({(root / file).read_bytes() for root in roots}) > 1] == []
    with (roots[0] / "results/digits/history.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 3


@pytest.mark.parametrize("text", [PARAMS, AUGMENTED], ids=["threads", "processes"])
def test_what_fails_while_training_says_why(tmp_path, text):
    """TensorFlow wraps the exception of a batch in its own; the user reads the first one, and no result is left."""
    root = write_project(tmp_path / "project")
    (root / "params.yaml").write_text(text, encoding="utf-8")
    output, _ = finish(start(FAIL, root))
    assert output == "what is wrong with this image\n"
    assert list((root / "results/digits").iterdir()) == []
