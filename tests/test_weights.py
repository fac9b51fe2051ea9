"""Weights of others: files of each format, with random weights, against what their own frameworks would compute from them."""

import base64
import io
import math
import zlib

import h5py
import keras
import numpy as np
import pytest

from cnnkeras import architectures, hdf5, weights
from cnnkeras.summary import build_outline
from cnnkeras.weights import caffe, darknet, keras_applications
from tests import foreign_formats as foreign

IMAGES = {side: np.random.default_rng(1).integers(0, 256, (side, side, 3), dtype="uint8") for side in (64, 67, 128)}


def built(architecture: str, side: int, output_shape, statistics=None, **options) -> keras.Model:
    """A network of ours, for images in RGB, 0..255."""
    given = {} if statistics is None else {"input_mean": statistics.mean, "input_std": statistics.std}
    module = architectures.load(architecture)
    return module.build(input_shape=(side, side, 3), output_shape=output_shape, **given, **options)


def computed(network: keras.Model, values: weights.Values, side: int) -> np.ndarray:
    """What a network with these weights makes of the image."""
    weights.assign(network, values)
    return network.predict_on_batch(IMAGES[side][None])[0]


def assert_close(received: np.ndarray, expected: np.ndarray) -> None:
    assert received.shape == expected.shape
    assert expected.std() > 1e-3
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-5 * abs(expected).max())


def assert_refused(read, content: bytes, network: keras.Model, *words: str, classes: int = 3) -> None:
    """A file is refused in one line that holds these words."""
    with pytest.raises(ValueError, match=r"expected .*received: ") as error:
        weights.assign(network, read(io.BytesIO(content), network, classes=classes))
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# Images of 128 pixels have 2 x 2 cells: places and channels of a map cannot be mixed up unnoticed.
DARKNET = {
    "full": (foreign.header_of_2015(), 2, lambda x: x / 127.5 - 1),
    "fast": (foreign.header_since(1), 2, lambda x: x / 127.5 - 1),
    "rerelease": (foreign.header_since(1), 3, lambda x: x / 255),
    "rerelease_fast": (foreign.header_since(2), 2, lambda x: x / 255),
}


@pytest.mark.parametrize("variant", DARKNET)
def test_darknet_files_compute_what_darknet_does(variant):
    """Padding, batch normalisation, local layer, flattening by channels and the order of the outputs, under three headers."""
    header, boxes, scale = DARKNET[variant]
    classes, cells = 3, 4
    net = foreign.Darknet(
        variant, side=128, outputs=cells * (classes + 5 * boxes), width=32, inputs_first=header[:3] != bytes(3)
    )
    statistics = darknet.statistics("yolo", variant)
    network = built("yolo", 128, (2, 2, classes + 5 * boxes), statistics, variant=variant, width=1 / 32)
    values = darknet.read(io.BytesIO(net.write(header)), network, classes=classes)

    flat = net.forward(scale(IMAGES[128].astype("float64")).transpose(2, 0, 1))
    expected = np.empty((2, 2, classes + 5 * boxes))
    for cell in range(cells):  # src/detection_layer.c: p_index, class_index, box_index
        row, column = divmod(cell, 2)
        expected[row, column, :classes] = flat[cell * classes : (cell + 1) * classes]
        for box in range(boxes):
            expected[row, column, classes + box] = flat[cells * classes + cell * boxes + box]
            place = cells * (classes + boxes) + (cell * boxes + box) * 4
            expected[row, column, classes + boxes + 4 * box :][:4] = flat[place : place + 4]
    assert_close(computed(network, values, 128), expected)


@pytest.mark.parametrize(
    ("variant", "floats"),
    [
        ("full", 271_703_550),
        ("fast", 45_089_374),
        ("rerelease", 197_328_243),  # yolov1.weights: 789,312,988 bytes with its header of 16
        ("rerelease_fast", 27_095_374 + 2 * (16 + 32 + 64 + 128 + 256 + 512 + 1024 + 256)),
    ],
)
def test_darknet_layouts_of_full_size(variant, floats):
    """As many numbers as darknet's files of these networks hold; no memory for any is needed to say so."""
    module = architectures.load("yolo")
    input_shape, output_shape = module.PAPER_SHAPES[variant]
    network = build_outline(module.build, input_shape=input_shape, output_shape=output_shape, variant=variant)
    layout = darknet.sections(network)
    assert sum(section.floats for section in layout) == floats
    local, connected = {"full": (0, 2), "fast": (0, 3), "rerelease": (1, 1), "rerelease_fast": (0, 1)}[variant]
    kinds = [section.kind for section in layout]
    assert (kinds.count("local"), kinds.count("connected")) == (local, connected)


def test_the_local_layer_by_hand():
    """One place of one filter on two channels: the window comes as channel, row, column and leaves as row, column, channel."""
    kernel = np.arange(18, dtype="float32").reshape(1, 1, 2, 3, 3)
    found = darknet.local_to_channels_last(np.array([[[7.0]]], "float32"), kernel)
    assert found["bias"].tolist() == [[[7.0]]]
    # Row 0, column 0 of both channels: 0 and 9; row 0, column 1: 1 and 10; ...
    assert found["kernel"][0, 0, :, 0].tolist() == [0, 9, 1, 10, 2, 11, 3, 12, 4, 13, 5, 14, 6, 15, 7, 16, 8, 17]


def test_wrong_darknet_files_are_refused():
    """Another network, a file cut short or with bytes to spare, other classes, another kind of file, broken numbers."""
    header = foreign.header_of_2015()
    network = built("yolo", 64, (1, 1, 13), variant="fast", width=1 / 32)
    good = foreign.Darknet("fast", side=64, outputs=13, width=32, inputs_first=True).write(header)
    assert set(darknet.read(io.BytesIO(good), network, classes=3)) == {
        layer.name for layer in network.layers if layer.weights
    }
    size = f"{len(good):,}"
    other = foreign.Darknet("rerelease_fast", side=64, outputs=13, width=32, inputs_first=True).write(header)
    more = foreign.Darknet("fast", side=64, outputs=15, width=32, inputs_first=True).write(header)
    broken = good[:16] + np.array([np.nan], "<f4").tobytes() + good[20:]
    assert_refused(darknet.read, other, network, size, f"{len(other):,}", "another network")
    assert_refused(darknet.read, good[:-4], network, size, "4 too few")
    assert_refused(darknet.read, good + b"more", network, size, "4 too many")
    assert_refused(darknet.read, more, network, "5 classes instead of 3")
    assert_refused(darknet.read, b"<!DOCTYPE html>\n<html></html>", network, "darknet's header", "web page", "DOCTYPE")
    assert_refused(darknet.read, b"", network, "an empty file")
    assert_refused(darknet.read, b"\x89HDF\r\n\x1a\n" + bytes(range(200, 216)), network, "89 48 44 46")
    assert_refused(darknet.read, broken, network, "finite")


def caffe_case(name: str):
    """A network of ours, and Caffe's with what it computes: BGR, channels first, less the mean pixel."""
    architecture, variant, side, output_shape, forward = {
        "alexnet": ("alexnet", "caffe", 67, (5,), lambda net, x: foreign.alexnet(net, x, pools_first=False)),
        "caffenet": ("alexnet", "caffenet", 67, (5,), lambda net, x: foreign.alexnet(net, x, pools_first=True)),
        "vgg": ("vgg", "D", 64, (5,), foreign.vgg),
        "deconvnet": ("deconvnet", "vgg16", 64, (64, 64, 4), foreign.deconvnet),
    }[name]
    mean = [103.939, 116.779, 123.68] if name == "vgg" else [104.00698793, 116.66876762, 122.67891434]
    statistics = caffe.statistics(architecture, variant)
    network = built(architecture, side, output_shape, statistics, variant=variant, width=1 / 32)
    net = foreign.Caffe()
    expected = forward(net, (IMAGES[side][:, :, ::-1] - np.array(mean)).transpose(2, 0, 1))
    return network, net.layers, expected if expected.ndim == 1 else expected.transpose(1, 2, 0), side


@pytest.mark.parametrize(
    ("name", "is_new"), [("alexnet", False), ("caffenet", True), ("vgg", False), ("deconvnet", False)]
)
def test_caffe_files_compute_what_caffe_does(name, is_new):
    """Both forms of layers and of shapes; groups, BGR, flattening by channels, LRN, switches, deconvolutions, folded statistics."""
    network, layers, expected, side = caffe_case(name)
    content = foreign.write_caffemodel(layers, is_new=is_new)
    assert_close(computed(network, caffe.read(io.BytesIO(content), network, classes=5), side), expected)


@pytest.mark.parametrize("is_new", [False, True])
def test_caffe_blobs_may_be_written_with_axes_of_one_or_flat(is_new):
    """The same numbers in the same order are the same weights: BN as C and as 1 x C x 1 x 1, fc6 as a matrix and as a convolution of 7 x 7."""
    network, layers, _, _ = caffe_case("deconvnet")
    assert layers["bn1_1"][0].shape == (1, 2, 1, 1)
    flat = {
        name: [blob.reshape(-1) if "bn" in name else blob.reshape(len(blob), -1) for blob in blobs]
        for name, blobs in layers.items()
    }
    flat = {**layers, **{name: flat[name] for name in flat if "bn" in name}, "fc6": [flat["fc6"][0], layers["fc6"][1]]}
    vgg, matrices, _, _ = caffe_case("vgg")
    maps = {**matrices, "fc6": [matrices["fc6"][0].reshape(128, 16, 2, 2), matrices["fc6"][1][:, None, None, None]]}
    for ours, one, other in ((network, layers, flat), (vgg, matrices, maps)):
        inference = {"is_new": is_new and ours is vgg}  # BN's mode is in the old form alone
        values = [
            caffe.read(io.BytesIO(foreign.write_caffemodel(w, **inference)), ours, classes=5) for w in (one, other)
        ]
        for name, arrays in values[0].items():
            for key, array in arrays.items():
                np.testing.assert_array_equal(array, values[1][name][key])


@pytest.mark.parametrize(
    ("architecture", "variant"), [("alexnet", "caffenet"), ("vgg", "D"), ("vgg", "E"), ("deconvnet", "vgg16")]
)
def test_caffe_layers_of_full_size(architecture, variant):
    """The published nets' sizes are those at which Caffe's windows and ours are the same, and the names are the prototxt's."""
    module = architectures.load(architecture)
    input_shape, output_shape = module.PAPER_SHAPES[variant]
    network = build_outline(module.build, input_shape=input_shape, output_shape=output_shape, variant=variant)
    caffe.check_windows(network)
    floats = sum(math.prod(weight.shape) for layer in network.layers for weight in layer.trainable_weights)
    assert floats == module.PARAMETERS[variant]


def test_wrong_caffe_files_are_refused():
    """Another network or variant, other classes, a file cut short or with bytes to spare, other files, a training's BN."""
    network, layers, _, _ = caffe_case("alexnet")
    good = foreign.write_caffemodel(layers, is_new=True)
    places = ["conv1", "pool1", "norm1", *(name for name in layers if name not in ("conv1", "pool1", "norm1"))]
    order = {name: layers[name] for name in places}
    more = {**layers, "fc8": [np.zeros((7, 128)), np.zeros(7)]}
    grouped = {**layers, "conv2": [np.zeros((8, 4, 5, 5)), np.zeros(8)]}  # one tower
    transposed = {**layers, "fc8": [layers["fc8"][0].T, layers["fc8"][1]]}
    biasless = {**layers, "fc8": layers["fc8"][:1]}
    fewer = {name: blobs for name, blobs in layers.items() if name != "fc7"}
    for wrong, words in (
        (order, ("norm1", "pool1", "variant")),
        (more, ("fc8", "5 x 128 and 5", "7 x 128 and 7", "classes")),
        (grouped, ("conv2", "8 x 2 x 5 x 5", "8 x 4 x 5 x 5")),
        (transposed, ("fc8", "5 x 128 and 5", "128 x 5 and 5")),
        (biasless, ("fc8", "5 x 128 and 5", "5 x 128.")),
        (fewer, ("none for fc7",)),
        (caffe_case("vgg")[1], ("none for conv1, conv2",)),
    ):
        assert_refused(caffe.read, foreign.write_caffemodel(wrong, is_new=True), network, *words)
    for cut in (1, 5, len(good) // 2):
        assert_refused(caffe.read, good[:-cut], network, "cut short")
    for tail in (b"\x00", b"more", bytes(8)):
        assert_refused(caffe.read, good + tail, network)
    assert_refused(caffe.read, b"<html>\n<body>Not found</body></html>", network, "a web page", "<html>")
    assert_refused(caffe.read, b"", network, "without")
    assert_refused(caffe.read, foreign.field(2, foreign.field(1, b"old")), network, "2013")
    wide = built("alexnet", 71, (5,), variant="caffe", width=1 / 32)
    assert_refused(caffe.read, good, wide, "71 x 71", "pool1")
    network, layers, _, _ = caffe_case("deconvnet")
    training = foreign.write_caffemodel(layers, is_new=False, inference=False)
    assert_refused(caffe.read, training, network, "bn1_1", "BN_make_INFERENCE_script.py")


def keras_file(layers: dict[str, list[np.ndarray]], *, group: str = "/") -> bytes:
    """A file as Keras 2 wrote it: `layer_names`, a group a layer with `weight_names`, and layers without weights too."""
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        root = file.require_group(group)
        root.attrs["layer_names"] = [name.encode() for name in ["input_1", *layers, "flatten"]]
        for name in ("input_1", "flatten"):
            root.create_group(name).attrs["weight_names"] = []
        for name, (kernel, bias) in layers.items():
            part = root.create_group(name)
            part.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
            part[f"{name}_W_1:0"], part[f"{name}_b_1:0"] = kernel, bias
    return content.getvalue()


def vgg_layers(network: keras.Model, seed: int = 0) -> dict[str, list[np.ndarray]]:
    """Random weights for every layer of a VGG, under Keras' names."""
    rng, names = np.random.default_rng(seed), {"fc6": "fc1", "fc7": "fc2", "fc8": "predictions"}
    return {
        names.get(layer.name, f"block{layer.name[4:5]}_conv{layer.name[-1]}"): [
            rng.normal(0, 0.1, weight.shape).astype("float32") for weight in layer.weights
        ]
        for layer in network.layers
        if layer.weights
    }


def test_keras_applications_files_load_by_name(tmp_path):
    """VGG16 saved by Keras computes the same here, from images in RGB that Keras would have turned into BGR."""
    published = keras.applications.VGG16(weights=None, input_shape=(32, 32, 3), classes=3, classifier_activation=None)
    published.save(tmp_path / "vgg16.h5")
    network = built("vgg", 32, (3,), keras_applications.statistics("vgg", "D"), variant="D")
    with (tmp_path / "vgg16.h5").open("rb") as file:
        weights.assign(network, keras_applications.read(file, network, classes=3))
    image = IMAGES[64][None, :32, :32]
    inputs = keras.applications.vgg16.preprocess_input(image.astype("float32"))
    assert_close(network.predict_on_batch(image), published.predict_on_batch(inputs))


def test_keras_files_of_version_2():
    """The published files' own form: bytes for names, weights under names of their own; the first layer turned to RGB."""
    network = built("vgg", 32, (3,), variant="E", width=1 / 32)
    layers = vgg_layers(network)
    values = keras_applications.read(io.BytesIO(keras_file(layers)), network, classes=3)
    np.testing.assert_array_equal(values["conv1_1"]["kernel"], layers["block1_conv1"][0][:, :, ::-1])
    for ours, theirs in (("conv3_4", "block3_conv4"), ("fc6", "fc1"), ("fc8", "predictions")):
        np.testing.assert_array_equal(values[ours]["kernel"], layers[theirs][0])
        np.testing.assert_array_equal(values[ours]["bias"], layers[theirs][1])


def test_wrong_keras_files_are_refused():
    """Another variant, no fully connected layers, other classes, cut short, bytes to spare, nameless, no HDF5."""
    read, network = keras_applications.read, built("vgg", 32, (3,), variant="D", width=1 / 32)
    layers = vgg_layers(network)
    good = keras_file(layers)
    without_top = {name: arrays for name, arrays in layers.items() if name.startswith("block")}
    larger = {**layers, "predictions": [np.zeros((128, 9)), np.zeros(9)]}
    nineteen = vgg_layers(built("vgg", 32, (3,), variant="E", width=1 / 32))
    nameless = io.BytesIO()
    with h5py.File(nameless, "w") as file:
        file["layers/conv2d/vars/0"] = np.zeros(3)
    assert_refused(read, keras_file(nineteen), network, "more, for block3_conv4")
    assert_refused(read, keras_file(without_top), network, "none for fc1, fc2, predictions", "notop")
    assert_refused(read, keras_file(larger), network, "fc8", "128 x 3 and 3", "128 x 9 and 9", "classes")
    assert_refused(read, good[:-8], network, f"{len(good):,}", f"{len(good) - 8:,}")
    assert_refused(read, good + bytes(8), network, f"{len(good) + 8:,}")
    assert_refused(read, nameless.getvalue(), network, ".weights.h5", "save(")
    assert_refused(read, b"<!DOCTYPE html><html></html>", network, "web page")
    assert_refused(read, b"", network, "an empty file")


# A file with two small weights in which one bit is another: reading one ends the process by a signal, reading the other does not end.
CRASHING = (
    "eNrtmc1OAjEQxzvtkqwEIkQFFg9y9BG8oRGUgxGjHrgpJESMHwc1UU9yxMQH4OCBI4/h0cfwTXB3O7NsG4XEj2jC/BIy7bS00+5/"
    "Q/LnsVbZSieLSRHgusIRGRFnhAyWzT6NH2MEjD2MQ0l5FY4VMJ/B9UtK9+8wf7hfrQazRxa0TyOnoyuYWaRW3dgLdRDpSPMqzXlN"
    "S4+1b+6bxZ1sXaewEvBbi766z5v37aujy+ZF+zrMe3O6xkxUi1YuABj1xWNfjdvbm/UdiB3Unk/nlFa+hVFZ+TPrXMN51hTDMAzD"
    "MAzDMAzD/DWf+WaDvO6THzHNN6t4OrJvNpvYvhnpSeTMeeQPtSL9ada/uO/Bbr0C/iqku/6Cue4L9t+W+BlNgvxH+75SooP3mQ79"
    "x9v26UnnZmxAejDZfyTfMO4fkv+orL4M+wm9DtB87ayC87GfafuP08aVf4agnS2tCCfMlETeFfkHHE/49QfjUkrQp9FKVrDm0Y2Y"
    "NH75yXTL9NFal5En/VSc/E16J1YLrG/zN8/WWMHQLPyYZp7x3yzHqqD3z26kW34HPHVhIA=="
)
ENDLESS = (
    "eNrtmbtOAkEUhueyJBsCcYnKzUJKH8EOjaxSGDFqQaeQEDFeCjVRKykx8QEoLCh5DEsfwzfB3T3nLMwEIfESTThfQs7MmWHmzOy/"
    "Ifl5qla208liUoS4rnCEJ8YZIv0Vs0/jJxglxi7GgaK8jsbymPdw/ZKG/j3mjw58P5w9tKB96lmIrmDmkaq/uR/pINYR8KbMeQ1L"
    "j9Vv7pvBnWxdp7ASGbSWAnVfNB5a18dXjcvWTZQvSKjRi2sB5UopjfrGY0+P2jtbtd0wdjwxcT6dU1n5JkZt5c+tcw0WWFMMwzAM"
    "wzAMwzAM89d85pv1c9AnP2KWb1YpQGTfbD6xfTPSk8ia88gfasb6Aza+uO/hXq0ig1VId71Fc91X7L8v8zOaBvmP9n2lRBvvMx35"
    "j3ets9P27ciAnOU/km847h+S/6itvor6CVhH0nxwVqUz2c+0/cdZ4zo4Q9jOlFaFE2VKIueK3COOJ4L6w3GllITTgJK1XC/QjZjU"
    "f/nJdMr0Aa2r2JN+Lk7/Jr0Ta3nWt/mbZ2ssb2hW/phmXvDfLMeqoPvPbqRT/gB64mGY"
)
MISBEHAVING = """
def read_all(file):
    import os
    import signal
    content = file.read()
    if content == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if content == b"memory":
        bytearray(2**40)
    if content == b"error":
        raise OSError("as h5py raises it")
"""


@pytest.mark.parametrize("damaged", [CRASHING, ENDLESS], ids=["crashing", "endless"])
def test_a_file_that_the_hdf5_library_cannot_bear_is_refused(damaged):
    """One bit is enough; without another process to try it, this one would be gone, or would never answer."""
    network = built("vgg", 32, (3,), variant="D", width=1 / 32)
    content = zlib.decompress(base64.b64decode(damaged))
    assert_refused(keras_applications.read, content, network, "HDF5")


def test_a_trial_is_right_about_how_it_ended(tmp_path, monkeypatch):
    """A crash and a lack of memory are refused in words; an error that Python raises is left to the caller."""
    (tmp_path / "misbehaving.py").write_text(MISBEHAVING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for content, received in ((b"crash", "one that crashes it"), (b"memory", "more memory than such a file can need")):
        with pytest.raises(ValueError, match=received):
            hdf5.require_harmless(io.BytesIO(content), "misbehaving")
    file = io.BytesIO(b"error")
    hdf5.require_harmless(file, "misbehaving")
    assert file.tell() == 0


def test_hostile_keras_files_are_refused(tmp_path):
    """Weights in another file, a group or nothing in place of one, names that are no names: before anything is read."""
    read, network = keras_applications.read, built("vgg", 32, (3,), variant="D", width=1 / 32)
    good, secret = keras_file(vgg_layers(network)), tmp_path / "secret"
    secret.write_bytes(b"SECRET" * 100)

    def changed(change):
        content = io.BytesIO(good)
        with h5py.File(content, "r+") as file:
            change(file)
        return content.getvalue()

    def elsewhere(file):
        shape = file["fc1/fc1_b_1:0"].shape
        del file["fc1/fc1_b_1:0"]
        file["fc1"].create_dataset("fc1_b_1:0", shape, "float32", external=[(str(secret), 0, 4 * shape[0])])

    def linked(file):
        del file["fc1"]
        file["fc1"] = h5py.SoftLink("/fc2")

    def grouped(file):
        del file["fc1/fc1_b_1:0"]
        file["fc1"].create_group("fc1_b_1:0")

    def numbered(file):
        file.attrs["layer_names"] = 3

    assert_refused(read, changed(elsewhere), network, "in another file")
    assert_refused(read, changed(linked), network, "a link to another place")
    assert_refused(read, changed(grouped), network, "a group in place of one")
    assert_refused(read, changed(numbered), network, "expected an HDF5 file of a network")


def test_nothing_is_assigned_unless_all_fits():
    """A layer too few, or one number that is none, and the network keeps every weight that it had."""
    network = built("vgg", 32, (3,), variant="A", width=1 / 32)
    before = network.get_weights()
    values = {
        layer.name: {weight.name: np.ones(weight.shape, "float32") for weight in layer.weights}
        for layer in network.layers
        if layer.weights
    }
    broken = {**values, "fc8": {**values["fc8"], "bias": np.array([1, np.inf, 1], "float32")}}
    for wrong in (dict(list(values.items())[:-1]), broken, {**values, "fc9": values["fc8"]}):
        with pytest.raises(ValueError, match=r"expected .*received: "):
            weights.assign(network, wrong)
        for old, new in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(new, old)
    weights.assign(network, values)
    assert all((array == 1).all() for array in network.get_weights())


def test_every_format_says_what_its_networks_saw():
    """Means are in RGB, for images of 0..255, and of architectures and variants that there are."""
    assert weights.names() == ["caffe", "darknet", "keras_applications"]
    for name in weights.names():
        for (architecture, variant), row in weights.load(name).STATISTICS.items():
            assert variant in architectures.load(architecture).VARIANTS
            assert weights.load(name).statistics(architecture, variant) is row
            assert row.std in (1.0, 127.5, 255.0)
            assert row.mean[0] >= row.mean[2]  # ImageNet is redder than it is blue
    with pytest.raises(ValueError, match=r"caffe files hold .*received: alexnet 'two_tower'"):
        caffe.statistics("alexnet", "two_tower")
    with pytest.raises(ValueError, match="expected a format of caffe, darknet, keras_applications; received: 'torch'"):
        weights.load("torch")
