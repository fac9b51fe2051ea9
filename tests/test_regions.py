"""Segmentation by parts of an image, and the greedy inference of labels, on hand-made maps and against slow definitions."""

import hashlib
import json

import numpy as np
import pytest

from cnnkeras.label_maps import decode_png, encode_png
from cnnkeras.protocols import regions, windows
from cnnkeras.protocols.label_inference import infer_greedily
from cnnkeras.resizing import resize
from pipeline.commands import show
from pipeline.formats.packed import open_split
from pipeline.formats.proposals import read_proposals
from pipeline.images import annotated
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import combine, evaluate, postprocess, predict

CLASSES = 3


def test_windows_cover_the_image_and_end_at_its_edge():
    """10 x 14 by squares of 6 every 4: rows 0, 4; columns 0, 4, 8; an image smaller than the window is one window."""
    squares = regions.sliding_windows(side=6, stride=4)
    assert squares.find((10, 14), ()) == [(x, y, x + 6, y + 6) for y in (0, 4) for x in (0, 4, 8)]
    assert squares.find((5, 9), ()) == [(0, 0, 6, 5), (3, 0, 9, 5)]


def test_boxes_have_the_images_shape():
    """The whole of 8 x 12, and halves of 4 x 6 every 2 x 3: 3 x 3 of them."""
    found = regions.boxes(fractions=(1.0, 0.5)).find((8, 12), ())
    assert found == [(0, 0, 12, 8)] + [(x, y, x + 6, y + 4) for y in (0, 2, 4) for x in (0, 3, 6)]


def proposals(**options) -> regions.Regions:
    """Those of a file that is `FILE`."""
    return regions.proposals(file="boxes.json", sha256=hashlib.sha256(FILE).hexdigest(), **options)


FILE = json.dumps(
    [
        {"id": "a", "bbox": [0, 0, 4, 4], "score": 0.1},
        {"id": "b", "bbox": [1, 2, 8, 6], "score": 0.5},
        {"id": "a", "bbox": [2, 2, 6, 3], "score": 0.9},
        {"id": "a", "bbox": [1, 1, 10, 4], "score": 0.4},
    ]
).encode()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of an empty project."""
    (tmp_path / "params.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_proposals_are_the_surest_that_are_large_enough(folder):
    """Of three, the one of 3 pixels is skipped; two remain by score, enlarged by half their sides; at most so many."""
    (folder / "boxes.json").write_bytes(FILE)
    of = read_proposals(proposals().file, proposals().sha256)
    assert proposals(min_side=4).find((9, 9), of["a"]) == [(1, 1, 11, 5), (0, 0, 4, 4)]
    assert proposals(min_side=4, max_proposals=1, margin=0.5).find((9, 9), of["a"]) == [(-4, -1, 16, 7)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "expected object proposals at boxes.json; received: no such file"),
        (b"[]", "boxes.json: expected sha256"),
        (b'[{"id": "a", "bbox": [1, 2, 3], "score": 1}]', "boxes.json: expected a JSON list of"),
        (b'{"a": 1}', "boxes.json: expected a JSON list of"),
        (b'[{"id": "a", "bbox": [1, 2, 3, 4], "score": NaN}]', "boxes.json: expected a JSON list of"),
        (b'[{"id": "a", "bbox": [1, 2, Infinity, 4], "score": 1}]', "boxes.json: expected a JSON list of"),
        (b"[" * 100_000 + b'"a"', "boxes.json: expected a JSON list of"),
    ],
)
def test_a_wrong_file_of_proposals_is_refused(folder, content, message):
    """Missing, another one, not in the form."""
    checksum = proposals().sha256
    if content is not None:
        (folder / "boxes.json").write_bytes(content)
        if b"a" in content:
            checksum = hashlib.sha256(content).hexdigest()
    with pytest.raises(InputError) as error:
        read_proposals("boxes.json", checksum)
    assert str(error.value).startswith(message)


def test_what_lies_beyond_the_image_is_black():
    """A region one pixel over the left and the top edge, at its own size."""
    image = np.full((4, 5, 3), 200, np.uint8)
    found = windows.cut(image, (-1, -1, 3, 2), (3, 4))
    assert (found[0] == 0).all()
    assert (found[:, 0] == 0).all()
    assert (found[1:, 1:] == 200).all()
    labels = windows.window(np.full((4, 5), 7, np.uint8), (3, 2, 6, 6), 255)
    assert labels.tolist() == [[7, 7, 255], [7, 7, 255], [255] * 3, [255] * 3]


def test_the_maximum_is_over_a_map_of_zeros_and_the_mean_over_what_covers_a_pixel():
    """Pixel by pixel, at the regions' own size: negative scores become 0, and so does what no region covers."""
    random = np.random.default_rng(0)
    boxes = [(0, 0, 4, 3), (2, 1, 6, 5), (-2, 3, 2, 7)]
    scores = [random.normal(size=(box[3] - box[1], box[2] - box[0], CLASSES)).astype(np.float32) for box in boxes]
    for how in ("maximum", "mean"):
        found = regions.boxes(merge=how).merged(iter(scores), boxes, (6, 7), CLASSES)
        for y, x in np.ndindex(6, 7):
            over = [
                score[y - top, x - left]
                for score, (left, top, right, bottom) in zip(scores, boxes, strict=True)
                if left <= x < right and top <= y < bottom
            ]
            zero = np.zeros(CLASSES)
            expected = np.max([zero, *over], axis=0) if how == "maximum" else np.mean(over or [zero], axis=0)
            np.testing.assert_allclose(found[y, x], expected, rtol=1e-6)
    assert (found[5, 6] == 0).all()


# -------------------------------------------------------------------------------------------------- greedy labels


def scores_of(rows: list[str], sure: float = 4.0) -> np.ndarray:
    """Scores of a map drawn in digits, a class each, with `sure` for the drawn class and 0 for the others."""
    labels = np.array([[int(digit) for digit in row] for row in rows])
    return np.where(labels[..., None] == np.arange(CLASSES), sure, 0.0)


def test_sure_maps_are_labelled_as_they_are():
    """Every component of every class, the largest first: nothing is lost but what is too little."""
    rows = ["0110022", "0110022", "0000000", "1000000"]
    found = infer_greedily(scores_of(rows, 9.0))
    np.testing.assert_array_equal(found, [[int(digit) for digit in row] for row in rows])


def test_it_stops_when_the_evidence_is_too_little():
    """The single pixel of class 1, 1 of 28 = .036, is left to the background when .05 of the image is asked for."""
    rows = ["0000022", "0000022", "0000000", "1000000"]
    found = infer_greedily(scores_of(rows, 9.0), min_fraction=0.05)
    assert (found == 2).sum() == 4
    assert not (found == 1).any()


def test_a_region_is_kept_where_its_class_dominates_and_must_be_sure_enough():
    """Class 1 has .3 everywhere and class 2 .4 on the right: with a threshold of .25 each keeps its side, with .35 class 1 none."""
    probabilities = np.full((4, 6, 3), [0.25, 0.45, 0.3])
    probabilities[:, 4:] = [0.25, 0.3, 0.45]
    found = infer_greedily(np.log(probabilities), threshold=0.25)
    np.testing.assert_array_equal(found, np.repeat([[1, 1, 1, 1, 2, 2]], 4, axis=0))
    assert not infer_greedily(np.log(probabilities), threshold=0.5).any()


def test_background_that_dominates_stays():
    """A class below the background is no label, however much of it there is in sum, and the loop ends."""
    assert not infer_greedily(np.log(np.full((5, 5, 3), [0.4, 0.35, 0.25]))).any()


# -------------------------------------------------------------------------------------------------- the stages

CHOICES = {
    "windows": "{name: sliding_windows, side: 40, stride: 20}",
    "proposals": f"{{name: proposals, file: boxes.json, min_side: 4, sha256: {hashlib.sha256(FILE).hexdigest()}}}",
}


@pytest.fixture
def masks(project):
    """The smallest project, a deconvolution network of random weights and two test images of other sizes than its input."""
    import keras

    from cnnkeras import architectures
    from pipeline.backend import devices, model_files

    project.edit("architecture: deconvnet\n", "architecture: deconvnet\n    predict: {batch_size: 3}\n")
    random, examples = np.random.default_rng(1), []
    for id, (height, width) in (("a", (50, 70)), ("b", (64, 48))):
        original = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        mask = encode_png(random.integers(0, 4, (height, width)).astype(np.uint8))
        fixed = {"inputs": resize(original, (64, 64)), "sizes": np.array((height, width), np.int32)}
        ragged = {"originals": annotated.encode(original), "original_masks": mask}
        examples.append((id, fixed, {key: np.frombuffer(value, np.uint8) for key, value in ragged.items()}))
    project.pack_test_split("masks", examples)
    with devices.set_up(seed=1):
        build = architectures.load("deconvnet").build
        network = build(
            input_shape=(64, 64, 3), output_shape=(64, 64, 4), variant="vgg11", width=1 / 32, input_std=64.0
        )
        keras.utils.set_random_seed(2)
        paths.model_folder("masks").mkdir(parents=True)
        model_files.save(network, paths.model_file("masks"))
    paths.history("masks").write_text("epoch,learning_rate,loss,val_loss\n1,0.1,1.0,1.0\n")
    (project.folder / "boxes.json").write_bytes(FILE)
    return project


def test_from_regions_to_label_maps_and_what_is_said_of_them(masks):
    """Score maps at the images' own sizes, end to end; the label map is their arg-max; two networks combine them; the metrics name the regions."""
    settings = "predict: {batch_size: 3}"
    for name, choice in CHOICES.items():
        masks.edit(settings, settings := f"predict: {{batch_size: 3, regions: {choice}}}")
        predict.run("masks")
        raw = np.load(paths.outputs("masks") / "outputs.npy")
        offsets = np.load(paths.outputs("masks") / "outputs.offsets.npy")
        assert (raw.shape, offsets.tolist()) == ((50 * 70 + 64 * 48, 4), [0, 3500, 6572])
        postprocess.run("masks")
        for id, shape, start in (("a", (50, 70), 0), ("b", (64, 48), 3500)):
            expected = raw[start : start + shape[0] * shape[1]].argmax(axis=-1).reshape(shape)
            file = paths.predictions("masks") / "label_maps" / f"{id}.png"
            np.testing.assert_array_equal(decode_png(file.read_bytes()), expected)
        if name == "proposals":
            assert (raw >= 0).all()
            assert (raw[:69] == 0).any()
    evaluate.run("masks")
    said = json.loads(paths.metrics("masks").read_text())["conditions"]
    assert said[1] == (
        "at most 50 proposals of at least 4 pixels from boxes.json; pixel-wise maximum of the scores over a map of zeros; "
        "scores brought to its own size (bilinear) before the arg-max"
    )
    masks.edit("postprocess: {resize: bilinear}", "postprocess: {resize: bilinear, greedy: {threshold: 0.3}}")
    postprocess.run("masks")
    evaluate.run("masks")
    said = json.loads(paths.metrics("masks").read_text())["conditions"]
    assert said[1].endswith("before greedy label inference (threshold 0.3, min. fraction 0.01)")
    with masks.params.open("a") as file:
        file.write("  second: {<<: *experiment, dataset: masks, architecture: deconvnet, postprocess: {}}\n")
        file.write("ensembles: {two: {dataset: masks, members: [masks, second], combine: product, ")
        file.write("postprocess: {}, evaluate: {images: 1}}}\n")
    raw = np.random.default_rng(3).normal(0, 3, raw.shape).astype(np.float16)  # surer than an untrained network
    np.save(paths.outputs("masks") / "outputs.npy", raw)
    paths.outputs("second").mkdir(parents=True)
    for file in paths.outputs("masks").iterdir():
        (paths.outputs("second") / file.name).write_bytes(file.read_bytes())
    combine.run("two")
    assert np.load(paths.outputs("two") / "outputs.offsets.npy").tolist() == [0, 3500, 6572]
    postprocess.run("two")
    first = decode_png((paths.predictions("two") / "label_maps" / "a.png").read_bytes()).ravel()
    best = np.sort(raw[:3500].astype(np.float32), axis=-1)
    clear = best[:, -1] - best[:, -2] > 0.05  # closer ones may be equal as logarithms in half precision
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(first[clear], raw[:3500].argmax(axis=-1)[clear])


def test_show_segments_by_the_same_regions(masks, capsys):
    """Of the test split's first image as a file: its classes take the pixels that they take in its label map. Proposals are refused."""
    file = masks.folder / "a.png"
    masks.edit("predict: {batch_size: 3}", f"predict: {{batch_size: 3, regions: {CHOICES['windows']}}}")
    predict.run("masks")
    postprocess.run("masks")
    file.write_bytes(open_split(paths.augmented("masks"), "test")["originals"][0].tobytes())
    capsys.readouterr()
    show.run("masks", [file])
    labels = decode_png((paths.predictions("masks") / "label_maps" / "a.png").read_bytes())
    names = ("background", "zero", "one", "two")
    expected = {f"{names[label]} {(labels == label).mean():.1%} of the pixels" for label in np.unique(labels)}
    assert len(expected) > 1
    assert {line.strip() for line in capsys.readouterr().out.splitlines() if "pixels" in line} == expected
    masks.edit(CHOICES["windows"], CHOICES["proposals"])
    with pytest.raises(
        InputError, match=r"experiments\.masks\.predict\.regions: .* boxes\.json has none for your images"
    ):
        show.run("masks", [file])


def test_regions_are_for_segmentation(project):
    """A classifier is refused before anything runs."""
    project.edit("predict: {batch_size: 1}", f"predict: {{regions: {CHOICES['windows']}}}")
    with pytest.raises(InputError, match=r"experiments\.crops\.predict\.regions: expected none for classification"):
        load_params()
