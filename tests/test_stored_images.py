"""Images that are packed with their sides in proportion, and cut out while a network trains; fits, and boxes and label maps that go along."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from cnnkeras.boxes import Detections, in_images
from cnnkeras.jpeg import encode_jpeg
from cnnkeras.label_maps import VOID, decode_png, encode_png, in_frame
from cnnkeras.protocols import fits, views
from cnnkeras.tasks import detection
from pipeline.cli import main
from pipeline.formats import fitted, packed
from pipeline.formats.outputs import Facts
from pipeline.formats.packed import SplitWriter, open_split
from pipeline.formats.predictions import read_detections
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.stages import augment
from pipeline.stages.postprocess import detection as postprocess_detection
from pipeline.stages.postprocess import segmentation as postprocess_segmentation
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.workers import read_with_processes
from tests.test_wrong_input import refused

SIZES = (300, 400), (400, 300), (100, 250), (224, 224), (901, 350)  # height and width of the images
CROP = ({"RandomCrop": {"height": 64, "width": 48}}, {"HorizontalFlip": {"p": 0.5}})
CLASSES, GRID = ("a", "b", "c"), 7


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image that JPEG hardly changes."""
    noise = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def write_split(folder: Path, *, masks: bool = False) -> packed.Split:
    """A split of JPEG files of `SIZES`, two objects in each image, in cells of their own in any fit."""
    encoded = {"inputs": ("jpeg", (None, None, 3)), "masks": ("png", (None, None))}
    writer = SplitWriter(folder / "train", encoded=encoded)
    for number, (height, width) in enumerate(SIZES):
        boxes = np.array([[0.1, 0.15, 0.4, 0.45], [0.55, 0.5, 0.95, 0.9]], np.float32)
        ragged = {
            "inputs": encode_jpeg(smooth(height, width, number), 95),
            "boxes": boxes,
            "box_labels": np.array([number % 3, 2], np.int32),
            "difficult": np.zeros(2, bool),
        }
        if masks:
            ragged["masks"] = np.frombuffer(_png(height, width), np.uint8)
        fixed = {"labels": np.int32(number), "input_sizes": np.array([height, width], np.int32)}
        writer.append(f"e{number}", fixed=fixed | {"sizes": fixed["input_sizes"]}, ragged=ragged)
    index = packed.Index(
        "detection", CLASSES, (None, None, 3), (0.0,) * 3, (1.0,) * 3, {"train": writer.close()}, {}, {}
    )
    index.write(folder)
    return open_split(folder, "train")


def _png(height: int, width: int) -> bytes:
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2, : width // 2] = 1
    return encode_png(labels)


def reader(split: packed.Split, task: str = "classification", transforms: tuple = CROP, **more) -> Reader:
    settings = {
        "seed": 3,
        "output_shape": (GRID, GRID, 13),
        "classes": 3,
        "size": (64, 48),
        "fit": fits.stretch(),
    } | more
    return augmenting_reader(split, task, transforms, "here", **settings)


def test_a_letterbox_by_hand():
    """300 x 400 in 224 x 224: by 0.56 to 168 x 224, 28 rows above; the label map is void there, the box in the middle stays in it."""
    fit, image = fits.letterbox(fill=9), np.full((300, 400, 3), 200, np.uint8)
    result = fit.image(image, (224, 224))
    assert (result[:28] == 9).all()
    assert (result[196:] == 9).all()
    assert (result[28:196] == 200).all()
    labels = fit.labels(np.ones((300, 400), np.uint8), (224, 224))
    assert (labels[:28] == VOID).all()
    assert (labels[28:196] == 1).all()
    assert (labels[196:] == VOID).all()
    np.testing.assert_allclose(fit.frame((300, 400), (224, 224)), [0, 28 / 224, 1, 196 / 224])
    boxes = fit.boxes(np.array([[0.25, 0.0, 0.75, 1.0]]), (300, 400), (224, 224))
    np.testing.assert_allclose(boxes, [[0.25, 0.125, 0.75, 0.875]])


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_the_centre_is_the_one_of_the_test_protocol(shape):
    """Pixel by pixel the crop of the view `centre_crop`."""
    image = smooth(*shape)
    expected = views.centre_crop(scales=(256,)).crops(image, (224, 224))[0]
    np.testing.assert_array_equal(fits.centre(shorter_side=256).image(image, (224, 224)), expected)


@pytest.mark.parametrize("shape", SIZES, ids=str)
@pytest.mark.parametrize("fit", [fits.stretch(), fits.letterbox()], ids=["stretch", "letterbox"])
def test_boxes_come_back_from_an_input_as_they_went_in(fit, shape):
    """Within a float32's rounding, in an input of another aspect."""
    boxes = np.random.default_rng(0).random((5, 4))
    placed = fit.boxes(boxes, shape, (192, 320))
    frames = fit.frame(shape, (192, 320))[None]
    found = in_images(Detections(np.zeros(5, int), np.zeros(5, int), placed, np.ones(5)), frames)
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-12)


def test_score_maps_are_cut_to_the_image():
    """The frame's rows and columns, at the resolution of the scores."""
    scores = np.arange(56 * 56).reshape(56, 56, 1)
    np.testing.assert_array_equal(in_frame(scores, [0, 28 / 224, 1, 196 / 224]), scores[7:49])
    assert in_frame(scores, [0.5, 0, 0.5, 1]).shape == (56, 1, 1)


@pytest.mark.parametrize("by", [2, 4, 8])
def test_a_reduced_image_is_the_mean_of_its_pixels(tmp_path, by):
    """It has sides rounded up, R, G, B in that order, and the means of `by` x `by` pixels, as far as JPEG keeps them."""
    split = write_split(tmp_path)
    for row, (height, width) in enumerate(SIZES):
        image = split["inputs"].read(row, reduction=by)
        assert image.shape == (-(-height // by), -(-width // by), 3)
        rows, columns = height // by, width // by
        means = smooth(height, width, row)[: rows * by, : columns * by].reshape(rows, by, columns, by, 3).mean((1, 3))
        assert np.abs(image[:rows, :columns] - means).mean() < 3


def test_no_more_is_decoded_than_is_needed(tmp_path):
    """The largest reduction that leaves enough of both sides: of 901 x 350, by 2 for 175 columns, not at all for 176."""
    images = fitted.PackedImages(write_split(tmp_path))
    assert images.read(4, (224, 175)).shape == (451, 175, 3)
    assert images.read(4, (224, 176)).shape == (901, 350, 3)
    assert images.read(4, (100, 44)).shape == (113, 44, 3)
    assert images.read(4).shape == (901, 350, 3)


def test_inputs_of_the_fit_are_those_of_the_whole_images(tmp_path):
    """Of every row, alone and in a batch; where a file was decoded at a half, up to the difference of the means."""
    split, fit = write_split(tmp_path), fits.letterbox()
    inputs = fitted.FittedImages(split, fit, (64, 96))
    assert inputs.shape == (5, 64, 96, 3)
    for row in range(5):
        expected = fit.image(split["inputs"].read(row), (64, 96))
        assert np.abs(inputs[row].astype(int) - expected).mean() < 2
        np.testing.assert_array_equal(inputs[np.array([row, 0])][0], inputs[row])
    np.testing.assert_array_equal(inputs[1:3], inputs[[1, 2]])


def test_crops_are_of_the_stored_pixels_and_new_in_each_epoch(tmp_path):
    """Each is somewhere in its image, mirrored or not, and the same for any number of workers, whichever epoch is read first."""
    split = write_split(tmp_path)
    read, rows = reader(split), np.array([4, 0, 3, 1, 2])
    seen = [read(rows, epoch)[0] for epoch in (0, 1, 2)]
    assert not np.array_equal(seen[0], seen[1])
    for row, crop in zip(rows, seen[1], strict=True):
        whole = split["inputs"].read(row)
        places = []
        for each in (crop, np.ascontiguousarray(crop[:, ::-1])):
            left, top = cv2.minMaxLoc(cv2.matchTemplate(whole, each, cv2.TM_SQDIFF))[2]
            places.append(np.array_equal(whole[top : top + 64, left : left + 48], each))
        assert any(places)
    for workers in (1, 3):
        with read_with_processes(reader(split), batch_size=5, workers=workers) as ahead:
            for epoch in (2, 0, 1):
                found = ahead.start(rows, epoch, lambda batch: batch)()[0]
                np.testing.assert_array_equal(found, seen[epoch])
    np.testing.assert_array_equal(read(rows[[2]], 1)[0][0], seen[1][2])
    assert not np.array_equal(reader(split, seed=4)(rows, 1)[0], seen[1])


def test_label_maps_go_along(tmp_path):
    """With crops, with a file decoded at a quarter, and with a letterbox: where the label is 1 the image's upper left quarter is."""
    split = write_split(tmp_path, masks=True)
    resized = ({"Resize": {"height": 64, "width": 48}},)
    inputs, targets = reader(split, "segmentation", resized)(np.arange(5), 0)
    assert inputs.shape == (5, 64, 48, 3)
    assert targets.shape == (5, 64, 48)
    for labels in targets:
        np.testing.assert_allclose((labels[:32, :24] == 1).mean(), 1, atol=0.05)
        assert (labels == 1).mean() == pytest.approx(0.25, abs=0.03)
    letterbox = {"fit": fits.letterbox(), "size": (64, 48)}
    plain = Reader(split, "segmentation", seed=3, output_shape=(64, 48, 4), classes=3, **letterbox)
    _, targets = plain(np.arange(5), 0)
    top, bottom = 14, 50  # of 300 x 400: by .12 to 36 x 48
    assert (targets[0][:top] == VOID).all()
    assert (targets[0][bottom:] == VOID).all()
    assert (targets[0][top:32, :24] == 1).all()
    assert (targets[0][32:bottom] == 0).all()


@pytest.mark.parametrize("fit", [{"name": "stretch"}, {"name": "letterbox", "fill": 0}], ids=["stretch", "letterbox"])
def test_a_detector_that_is_right_finds_the_annotated_boxes_of_the_original(tmp_path, fit):
    """What a network would give that has learned its targets becomes the annotated boxes, in pixels of the images."""
    split = write_split(tmp_path)
    size, chosen = (448, 448), {key: value for key, value in fit.items() if key != "name"}
    function = getattr(fits, fit["name"])(**chosen)
    read = Reader(split, "detection", seed=0, output_shape=(GRID, GRID, 13), classes=3, fit=function, size=size)
    inputs, targets = read(np.arange(5), 0)
    assert inputs.shape == (5, *size, 3)
    is_object, boxes, labels = targets[..., :1], targets[..., 1:5], targets[..., 5:]
    roots = np.concatenate([boxes[..., :2], np.sqrt(boxes[..., 2:])], axis=-1)
    outputs = np.concatenate([labels, is_object, 0 * is_object, roots, 0 * roots], axis=-1)
    facts = Facts("e", "d", "detection", CLASSES, fit={**fit, "size": list(size)})
    settings = {"confidence_threshold": 0.5, "nms_iou": 0.5}
    postprocess_detection.write(outputs, split, CLASSES, settings, tmp_path, facts.frames(split))
    found = read_detections(tmp_path)
    assert len(found) == 10
    for number, (height, width) in enumerate(SIZES):
        expected = np.asarray(split["boxes"][number]) * [width, height, width, height]
        mine = found[np.flatnonzero(found.images == number)]
        np.testing.assert_allclose(np.sort(mine.boxes, axis=0), np.sort(expected, axis=0), atol=0.02)
    # Without the frame a letterbox would be measured in another system of coordinates.
    detections, _ = detection.postprocess(outputs, 3, **settings)
    is_same = np.allclose(in_images(detections, facts.frames(split)).boxes, detections.boxes)
    assert is_same == (fit["name"] == "stretch")


def test_label_maps_of_a_letterbox_are_of_the_image(tmp_path):
    """Scores that are right in the input give the original's label map, without a border."""
    split = write_split(tmp_path, masks=True)
    fit = {"name": "letterbox", "fill": 127}
    frames = Facts("e", "d", "segmentation", CLASSES, fit={**fit, "size": [128, 128]}).frames(split)
    maps = [fits.letterbox().labels(split["masks"][row], (128, 128)) for row in range(5)]
    scores = np.stack([np.stack([labels == label for label in range(4)], axis=-1) for labels in maps])
    scores = scores.astype(np.float32) + np.float32([0, 0, 0, 0.5])  # borders are class 3
    postprocess_segmentation.write(scores, split, CLASSES, {"resize": "nearest"}, tmp_path, frames)
    for row, (height, width) in enumerate(SIZES):
        labels = decode_png((tmp_path / "label_maps" / f"e{row}.png").read_bytes())
        assert labels.shape == (height, width)
        assert (labels == split["masks"][row]).mean() > 0.95
        assert not (labels == 3).any()


PARAMS = """\
seed: 1
sources:
  photos:
    kind: csv_boxes
    files: [{path: photos}]
    images: images
    image_column: id
    label_column: what
    classes: [a, b]
    box_columns: [x0, y0, x1, y1]
    splits: {train: train.csv, val: train.csv, test: train.csv}
datasets:
  boxes: {source: photos, task: detection, shorter_side: 96, jpeg_quality: 90, leaks: allow}
  small: {source: photos, task: detection, max_shorter_side: 120, jpeg_quality: 90, leaks: allow}
experiments:
  boxes: &boxes
    dataset: boxes
    architecture: yolo
    model: {width: 0.03125}
    input: {size: [64, 64], fit: {name: letterbox}, mean: dataset, std: 64.0}
    train: &train
      epochs: 1
      batch_size: 2
      optimizer: {name: sgd, learning_rate: 0.001}
      schedule: {name: constant}
      initial_weights: {experiment: scratch}
      augmentation:
        - RandomResizedCrop: {size: [64, 64]}
        - HorizontalFlip: {p: 0.5}
    predict: {batch_size: 2}
    postprocess: {confidence_threshold: 0.0, nms_iou: 0.5, display_threshold: 0.3}
    evaluate: {images: 2}
"""


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """A project with a folder of photographs of five sizes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "photos" / "images").mkdir(parents=True)
    lines = ["id,what,x0,y0,x1,y1"]
    for number, (height, width) in enumerate(SIZES):
        image = cv2.cvtColor(smooth(height, width, number), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(tmp_path / "photos" / "images" / f"p{number}.png"), image)
        lines.append(f"p{number}.png,{'ab'[number % 2]},10,20,{width // 2},{height // 2}")
    (tmp_path / "photos" / "train.csv").write_text("\n".join(lines) + "\n")
    assert CliRunner().invoke(main, ["download", "photos"]).exit_code == 0
    return tmp_path


@pytest.mark.usefixtures("photos")
def test_images_are_stored_with_their_sides_in_proportion():
    """At a shorter side of 96, or of at most 120: smaller ones stay as they are; boxes are fractions, the originals' are pixels."""
    for name, expected in (
        ("boxes", [(96, 128), (128, 96), (96, 240), (96, 96), (247, 96)]),
        ("small", [(120, 160), (160, 120), (100, 250), (120, 120), (309, 120)]),
    ):
        augment.run(name, workers=2)
        split = open_split(paths.augmented(name), "test")
        assert [tuple(size) for size in split["input_sizes"]] == expected
        for row, size in enumerate(expected):
            image, original = split["inputs"].read(row), smooth(*SIZES[row], row)
            assert image.shape == (*size, 3)
            assert np.abs(cv2.resize(original, size[::-1], interpolation=cv2.INTER_AREA).astype(int) - image).mean() < 3
            height, width = SIZES[row]
            box = np.array([[10, 20, width // 2, height // 2]])
            np.testing.assert_allclose(split["original_boxes"][row], box)
            np.testing.assert_allclose(split["boxes"][row], box / [width, height, width, height], rtol=1e-6)
        assert packed.open_index(paths.augmented(name)).shape == (None, None, 3)


@pytest.mark.parametrize(
    ("old", "new", "where", "sentence"),
    [
        ("shorter_side: 96, jpeg_quality: 90, leaks", "jpeg_quality: 90, leaks", "13: datasets.boxes", "expected the key 'size', or 'shorter_side' or 'max_shorter_side' for images of any size; received: none"),
        ("shorter_side: 96", "size: [64, 64], shorter_side: 96", "13: datasets.boxes.shorter_side", "expected one of size, shorter_side, max_shorter_side; received: size and shorter_side"),
        ("shorter_side: 96", "shorter_side: 0", "13: datasets.boxes.shorter_side", "expected a number greater than 0; received: 0"),
        ("shorter_side: 96", "shorter_side: 99999", "13: datasets.boxes.shorter_side", "expected images of at most 9,459 x 9,459 pixels in all; received: 99999"),
        ("shorter_side: 96, jpeg_quality: 90", "shorter_side: 96", "13: datasets.boxes", "expected the key 'jpeg_quality' beside shorter_side, as such images are JPEG files; received: none"),
        ("shorter_side: 96", "copies: 2, augmentation: [HorizontalFlip: {}], shorter_side: 96", "13: datasets.boxes.copies", "expected none beside shorter_side, as every experiment cuts its own inputs out; received: some"),
        ("size: [64, 64], fit: {name: letterbox}, ", "", "20: experiments.boxes.input", "expected the keys 'size' and 'fit', as images of boxes have any size; received: none"),
        ("fit: {name: letterbox}, ", "", "20: experiments.boxes.input", "expected the key 'fit', as images of boxes have any size; received: none"),
        ("fit: {name: letterbox}", "fit: {name: letterbx}", "20: experiments.boxes.input.fit.name", "unknown name 'letterbx'; did you mean 'letterbox'?"),
        ("fit: {name: letterbox}", "fit: {name: letterbox, fill: 300}", "20: experiments.boxes.input.fit.fill", "expected a number of at most 255; received: 300"),
        ("fit: {name: letterbox}", "fit: {name: centre, shorter_side: 96}", "20: experiments.boxes.input.fit.name", "expected stretch or letterbox for detection, which is measured on whole images; received: centre"),
        ("fit: {name: letterbox}", "fit: {name: centre, shorter_side: 60}", "20: experiments.boxes.input.fit", "expected a shorter side of at least 64 pixels, the size of the model's inputs; received: 60"),
        ("size: [64, 64], fit", "size: [20000, 20000], fit", "20: experiments.boxes.input.size", "expected inputs of at most 9,459 x 9,459 pixels in all; received: [20000, 20000]"),
        ("size: [64, 64]}", "size: [64, 60]}", "27: experiments.boxes.train.augmentation", "expected transforms that end at 64 x 64 pixels, the size of the model's input; received: 64 x 60. End with"),
        ("RandomResizedCrop: {size: [64, 64]}", "SmallestMaxSize: {max_size: 64}", "27: experiments.boxes.train.augmentation", "expected transforms that end at 64 x 64 pixels, the size of the model's input; received: 64 or more x 64 or more. End with"),
        ("RandomResizedCrop: {size: [64, 64]}", "RandomCrop: {height: 112, width: 112}", "28: experiments.boxes.train.augmentation.0.RandomCrop", "expected images of at least 112 x 112 pixels to cut out of; received: 96 or more x 96 or more. Enlarge them before"),
    ],
    ids=range(16),
)  # fmt: skip
def test_a_wrong_size_is_refused_before_anything_runs(photos, old, new, where, sentence):
    """By `cnnkeras plan`, with the line, the key, what is expected and what was received."""
    text = (photos / "params.yaml").read_text()
    assert old in text
    (photos / "params.yaml").write_text(text.replace(old, new, 1))
    assert refused("plan").startswith(f"params.yaml:{where}: {sentence}")


def test_a_dataset_of_one_size_needs_no_input_and_may_have_one(project):
    """A fit without a size is refused, and both of a signal; images of 32 x 32 may be enlarged for a larger network."""
    project.edit("dataset: signals\n", "dataset: signals\n    input: {mean: 1.0, std: 1.0}\n")
    first = project.params.read_text()
    project.edit("input: {mean: 128.0,", "input: {fit: {name: stretch}, mean: 128.0,")
    assert "expected the key 'size', as one needs the other; received: none" in refused("plan")
    project.params.write_text(first)
    project.edit("input: {mean: 1.0,", "input: {size: [40, 40], fit: {name: stretch}, mean: 1.0,")
    assert refused("plan").endswith("experiments.signals.input.size: expected none for signals; received: some")
    project.params.write_text(first)
    project.edit("input: {mean: 128.0,", "input: {size: [128, 128], fit: {name: stretch}, mean: 128.0,")
    params = load_params()
    assert params.dataset("crops").packed_shape == (32, 32, 3)
    assert params.experiment("crops").input.size == (128, 128)


@pytest.mark.usefixtures("photos")
def test_every_stage_runs_on_images_of_any_size():
    """`augment` to `evaluate`; a letterbox is said in the metrics, and an equal seed gives equal predictions."""
    runner = CliRunner()
    for command in ("augment", "train", "predict", "postprocess", "evaluate"):
        ended = runner.invoke(main, [command, "boxes"], catch_exceptions=False)
        assert ended.exit_code == 0, ended.output
    conditions = json.loads(paths.metrics("boxes").read_text())["conditions"]
    assert "each image is seen once: the whole image with its sides in proportion, with borders to 64x64" in conditions
    outputs = json.loads((paths.outputs("boxes") / "outputs.json").read_text())
    assert outputs["fit"] == {"name": "letterbox", "fill": 127, "size": [64, 64]}
    found = read_detections(paths.predictions("boxes"))
    assert len(found)
    sizes = np.array(SIZES)[found.images]
    assert (found.boxes[:, 2:] <= sizes[:, ::-1] + 0.01).all()
    assert (found.boxes >= 0).all()
    assert runner.invoke(main, ["show", "boxes"], catch_exceptions=False).exit_code == 0
