"""The test protocols: which parts of an image are seen, that a sliding network is the same network, and what is averaged."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cnnkeras import architectures
from cnnkeras.protocols import posteriors, views
from pipeline.commands import show
from pipeline.images import annotated
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.stages import combine, evaluate, postprocess, predict


def image(height: int, width: int) -> np.ndarray:
    """An image in which every pixel is another one."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def test_ten_patches_are_the_corners_and_the_centre_of_the_central_square_and_their_mirror_images():
    """8 x 12: the square is columns 2 to 9; patches of 5 start at rows 0, 3, the centre's at (8 - 5) // 2 = 1 and (12 - 5) // 2 = 3."""
    whole = image(8, 12)
    found = views.ten_patches(scales=(8,)).crops(whole, (5, 5))
    square = whole[:, 2:10]
    expected = [square[:5, :5], square[:5, 3:], square[3:, :5], square[3:, 3:], whole[1:6, 3:8]]
    np.testing.assert_array_equal(found, expected + [patch[:, ::-1] for patch in expected])


def test_the_centre_crop_is_in_the_middle():
    """Of 8 x 12, 4 x 6: rows 2 to 5, columns 3 to 8."""
    found = views.centre_crop(scales=(8,)).crops(image(8, 12), (4, 6))
    np.testing.assert_array_equal(found, image(8, 12)[None, 2:6, 3:9])


def test_the_grid_spans_the_whole_image():
    """Crops of 4 in 8 x 12 on a 5 x 5 grid: rows 0, 1, 2, 3, 4 and columns 0, 2, 4, 6, 8; twice as many with mirror images."""
    whole, view = image(8, 12), views.crop_grid(scales=(8,))
    found = view.crops(whole, (4, 4))
    plain = [whole[row : row + 4, column : column + 4] for row in range(5) for column in range(0, 9, 2)]
    np.testing.assert_array_equal(found, plain + [crop[:, ::-1] for crop in plain])
    assert len(found) == view.count == 50


def test_vggs_crops_are_150():
    """Three scales of 50."""
    view = views.crop_grid(scales=(256, 384, 512))
    assert view.count == len(view.crops(image(20, 30), (224, 224))) == 150


@pytest.mark.parametrize(
    ("shape", "shorter", "expected"),
    [((375, 500), 256, (256, 341)), ((500, 375), 384, (512, 384)), ((31, 47), 62, (62, 94))],
)
def test_images_are_rescaled_in_proportion(shape, shorter, expected):
    """The shorter side has the asked-for length, whichever it is: 500 x 256 / 375 = 341.3."""
    (seen,) = views.dense(scales=(shorter,)).whole_images(image(*shape))
    assert seen.shape[1:3] == expected


def test_posteriors_are_averaged_within_a_protocol_and_then_over_the_protocols():
    """Two views (1, 0) and (.5, .5) give (.75, .25); with a dense one of (.25, .75) that is (.5, .5), not (.583, .417)."""
    probabilities = np.array([[[1 - 1e-9, 1e-9], [0.5, 0.5], [0.25, 0.75]]])
    mean = np.exp(posteriors.average_views(np.log(probabilities), [2, 1]))
    np.testing.assert_allclose(mean, [[0.5, 0.5]], atol=1e-6)
    mean = np.exp(posteriors.average_views(np.log(probabilities), [3]))
    np.testing.assert_allclose(mean, [[1.75 / 3, 1.25 / 3]], atol=1e-6)


# ------------------------------------------------------------------------------------------- the sliding network


def trained(name: str, size: tuple[int, int] = (64, 64), **options):
    """A network with weights that let something through."""
    import keras

    keras.utils.set_random_seed(3)
    network = architectures.load(name).build(
        input_shape=(*size, 3), output_shape=options.pop("outputs", (3,)), **options
    )
    random = np.random.default_rng(0)
    for layer in network.layers:
        layer.set_weights([weights + random.normal(0, 0.05, weights.shape) ** 2 for weights in layer.get_weights()])
    return network


NETWORKS = {
    "alexnet": {"variant": "two_tower", "width": 1 / 16, "initializer": "he", "input_std": 64.0},
    "vgg": {"variant": "A-LRN", "width": 1 / 16, "input_std": 64.0},
    "yolo": {"variant": "small", "width": 0.25, "batch_norm": True, "input_std": 64.0},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_on_one_crop_the_sliding_network_is_the_same_function(name):
    """Fully connected layers as convolutions: one place, the same logits."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    network = trained(name, **NETWORKS[name])
    images = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    found = to_fully_convolutional(network).predict_on_batch(images)
    assert found.shape == (2, 1, 1, 3)
    np.testing.assert_allclose(found[:, 0, 0], network.predict_on_batch(images), rtol=1e-4, atol=1e-5)


def test_without_padding_it_is_the_mean_over_all_crops():
    """A net of valid convolutions whose steps are 2 pixels: on 14 x 18 pixels its map is the 4 x 6 crops of 8 x 8, at every other pixel."""
    import keras

    from cnnkeras.fully_convolutional import to_fully_convolutional

    keras.utils.set_random_seed(5)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(7, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(4),
        ]
    )
    whole = np.random.default_rng(2).normal(size=(14, 18, 3)).astype("float32")
    found = to_fully_convolutional(network).predict_on_batch(whole[None])[0]
    shifts = [(row, column) for row in range(0, 7, 2) for column in range(0, 11, 2)]
    cropped = network.predict_on_batch(np.stack([whole[row : row + 8, column : column + 8] for row, column in shifts]))
    np.testing.assert_allclose(found, cropped.reshape(4, 6, 4), rtol=1e-4, atol=1e-5)


def test_with_padding_the_convolutions_see_the_neighbourhood():
    """VGG on a larger image: its fully connected layers, in NumPy, at every window of the last pooling's whole map."""
    import keras

    from cnnkeras.fully_convolutional import to_fully_convolutional

    network = trained("vgg", **NETWORKS["vgg"])
    images = np.random.default_rng(4).integers(0, 256, (1, 96, 128, 3)).astype("float32")
    slid = to_fully_convolutional(network)
    trunk = keras.Model(slid.inputs, slid.get_layer("pool5").output).predict_on_batch(images)[0]
    assert trunk.shape[:2] == (3, 4)
    expected = np.zeros((2, 3, 3))
    for row, column in np.ndindex(2, 3):
        vector = trunk[row : row + 2, column : column + 2].ravel()
        for name in ("fc6", "fc7", "fc8"):
            kernel, bias = network.get_layer(name).get_weights()
            vector = vector @ kernel + bias
            vector = np.maximum(vector, 0) if name != "fc8" else vector
        expected[row, column] = vector
    np.testing.assert_allclose(slid.predict_on_batch(images)[0], expected, rtol=1e-4, atol=1e-4)


def test_a_network_without_fully_connected_layers_is_refused():
    """A detector's outputs are a grid, not classes."""
    from cnnkeras.fully_convolutional import to_fully_convolutional

    detector = trained("yolo", outputs=(4, 4, 13), variant="small", width=0.25)
    with pytest.raises(
        ValueError, match=r"expected a classifier .*; received: yolo with 1 of them and outputs \(None, 4"
    ):
        to_fully_convolutional(detector)


# -------------------------------------------------------------------------------------------------- the stages

VIEWS = """{batch_size: 4, views: [{name: dense, scales: [32, 40]}, {name: ten_patches, scales: [36]}]}"""


@pytest.fixture
def vgg(project):
    """The smallest project with three test images of several shapes and a VGG of random weights at 32 pixels."""
    from pipeline.backend import devices, model_files

    project.edit("predict: {batch_size: 1}", f"predict: {VIEWS}")
    project.edit("    architecture: yolo\n", "    architecture: yolo\n    predict: {batch_size: 1}\n")
    project.edit("    architecture: deconvnet\n", "    architecture: deconvnet\n    predict: {batch_size: 1}\n")
    project.edit("    architecture: mnist1d_conv\n", "    architecture: mnist1d_conv\n    predict: {batch_size: 1}\n")
    random, examples = np.random.default_rng(6), []
    for id, (height, width), label in (("a", (38, 50), 0), ("b", (50, 38), 1), ("c", (32, 32), 2)):
        original = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        fixed = {"inputs": original[:32, :32], "labels": np.int32(label), "sizes": np.array((height, width), np.int32)}
        examples.append((id, fixed, {"originals": np.frombuffer(annotated.encode(original), np.uint8)}))
    project.pack_test_split("crops", examples)
    with devices.set_up(seed=1):
        network = trained("vgg", (32, 32), **NETWORKS["vgg"])
        paths.model_folder("crops").mkdir(parents=True)
        model_files.save(network, paths.model_file("crops"))
    paths.history("crops").write_text("epoch,learning_rate,loss,val_loss\n1,0.1,1.0,1.0\n")
    return network


def test_the_stages_average_what_the_protocols_see(vgg):
    """Every view's logits are kept; the probabilities are the mean of two dense scales' and ten patches' posteriors; the metrics say so."""
    predict.run("crops")
    raw = np.load(paths.outputs("crops") / "outputs.npy")
    facts = json.loads((paths.outputs("crops") / "outputs.json").read_text())
    assert (raw.shape, facts["views"]) == ((3, 14, 3), [4, 10])
    original = np.random.default_rng(6).integers(0, 256, (38, 50, 3), dtype=np.uint8)
    patches = views.ten_patches(scales=(36,)).crops(original, (32, 32))
    np.testing.assert_allclose(raw[0, 4:], vgg.predict_on_batch(patches), rtol=1e-4, atol=1e-5)
    # The third image at its own size has one place: the classifier itself, plain and mirrored.
    third = raw[2, :2]
    inputs = np.asarray(predict.open_split(paths.augmented("crops"), "test")["inputs"][2])
    np.testing.assert_allclose(third, vgg.predict_on_batch(np.stack([inputs, inputs[:, ::-1]])), rtol=1e-4, atol=1e-5)
    postprocess.run("crops")
    found = np.load(paths.predictions("crops") / "probabilities.npy")
    exponentials = np.exp(raw - raw.max(axis=-1, keepdims=True))
    posteriors = exponentials / exponentials.sum(axis=-1, keepdims=True)
    expected = (posteriors[:, :4].mean(axis=1) + posteriors[:, 4:].mean(axis=1)) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    evaluate.run("crops")
    metrics = json.loads(paths.metrics("crops").read_text())
    assert metrics["protocol"] == ["top-k accuracy of combined posteriors"]
    assert metrics["conditions"] == [
        "dense evaluation of the whole image, each with its mirror image, shorter side 32, 40",
        "five patches of 32x32, the corners and the centre of the central square, each with its mirror image, shorter side 36",
    ]


def said_of(name: str, files: list[Path], capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """What `cnnkeras show` says of each file: a class and its probability a line."""
    capsys.readouterr()
    show.run(name, files)
    blocks = re.split(r"^\S.*\n", capsys.readouterr().out, flags=re.MULTILINE)[1:]
    return [[line.strip() for line in block.splitlines() if "drawn in" not in line] for block in blocks]


def predicted(name: str) -> list[list[str]]:
    """The same of the test split's images, from what `postprocess` wrote."""
    postprocess.run(name)
    with (paths.predictions(name) / "top_k.csv").open(encoding="utf-8", newline="") as file:
        rows = [(row["id"], f"{row['class']} {float(row['probability']):.3f}") for row in csv.DictReader(file)]
    return [[line for id, line in rows if id == image] for image in "abc"]


def test_show_sees_a_image_as_predict_does_and_combines_as_combine_does(vgg, project, capsys):
    """The test split's images as files: the same classes with the same probabilities, of an experiment with views and of an ensemble."""
    from pipeline.backend import model_files

    project.edit(
        "  signals:\n    <<: *experiment",
        "  second: {<<: *experiment, predict: {views: [{name: centre_crop, scales: [34]}]}}\n  signals:\n    <<: *experiment",
    )
    with project.params.open("a") as file:
        file.write("ensembles: {two: {dataset: crops, members: [crops, second], combine: product, ")
        file.write("postprocess: {top_k: 2}, evaluate: {images: 1}}}\n")
    kernel, bias = vgg.get_layer("fc8").get_weights()
    vgg.get_layer("fc8").set_weights([kernel[:, ::-1], bias])
    paths.model_folder("second").mkdir(parents=True)
    model_files.save(vgg, paths.model_file("second"))
    originals = predict.open_split(paths.augmented("crops"), "test")["originals"]
    files = [project.folder / f"{id}.png" for id in "abc"]
    for file, original in zip(files, originals, strict=True):
        file.write_bytes(original.tobytes())
    for name in ("crops", "second"):
        predict.run(name)
    combine.run("two")
    expected = {name: predicted(name) for name in ("crops", "second", "two")}
    assert len({str(lines) for lines in expected.values()}) == 3
    assert {name: said_of(name, files, capsys) for name in expected} == expected


@pytest.mark.usefixtures("vgg")
def test_the_batch_size_does_not_change_what_is_seen(project):
    """Batches go across images and protocols, and are filled up; the outputs are the same to rounding."""
    predict.run("crops")
    first = np.load(paths.outputs("crops") / "outputs.npy")
    project.edit("{batch_size: 4, views", "{batch_size: 25, views")
    predict.run("crops")
    np.testing.assert_allclose(np.load(paths.outputs("crops") / "outputs.npy"), first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ("[{name: dense, scales: [24]}]", "0.scales: expected shorter sides of at least 32 pixels, the size of the dataset's inputs; received: 24"),
        ("[{name: ten, scales: [64]}]", "unknown name 'ten' (known: centre_crop, crop_grid, dense, ten_patches)"),
        ("[{name: dense, scale: [64]}]", "unknown key 'scale'; did you mean 'scales'?"),
        ("[{name: crop_grid, scales: []}]", "scales: expected a length of at least 1; received: []"),
    ],
)  # fmt: skip
def test_views_that_cannot_be_are_refused(project, views, message):
    """Crops larger than the image, unknown protocols and keys: the line of params.yaml is named."""
    project.edit("predict: {batch_size: 1}", f"predict: {{batch_size: 1, views: {views}}}")
    with pytest.raises(InputError) as error:
        load_params()
    assert message in str(error.value)


def test_views_are_a_classifiers(project):
    """Detection and segmentation look at the whole image otherwise."""
    project.edit(
        "    architecture: yolo\n", "    architecture: yolo\n    predict: {views: [{name: dense, scales: [64]}]}\n"
    )
    with pytest.raises(InputError, match=r"experiments\.boxes\.predict\.views: expected none for detection"):
        load_params()


def test_without_views_nothing_is_added_to_what_a_result_depends_on():
    """Results that are logged already keep their fingerprint."""
    from pipeline.params import Predict

    assert Predict(batch_size=3).model_dump(mode="json") == {"batch_size": 3}
    view = {"name": "dense", "scales": [8]}
    assert Predict.model_validate({"views": [view]}).model_dump(mode="json")["views"] == [{**view, "mirrored": True}]
