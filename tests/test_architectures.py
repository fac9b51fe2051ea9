"""One contract over all architectures and variants; a new one is covered by existing.

tests/golden/ARCHITECTURE-VARIANT.txt hold the layers at the paper's sizes. After a wanted change, write them again with
`python -m tests.test_architectures` and read the difference.
"""

import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np
import pytest

from cnnkeras import architectures
from cnnkeras.architectures import alexnet, deconvnet, vgg, yolo

GOLDEN = Path(__file__).parent / "golden"
MODULES = {name: architectures.load(name) for name in architectures.names()}
VARIANTS = [
    pytest.param(module, variant, id=f"{name}-{variant}")
    for name, module in MODULES.items()
    for variant in module.VARIANTS
]
METRICS = {"top1_error", "top5_error", "map_voc07", "map_voc10", "mean_iou"}
TASKS = {"classification", "detection", "segmentation"}

each_variant = pytest.mark.parametrize(("module", "variant"), VARIANTS)
each_architecture = pytest.mark.parametrize("module", MODULES.values(), ids=MODULES.keys())


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    """Of a few narrow ReLU layers drawn freely, all units can happen to be dead."""
    import keras

    keras.utils.set_random_seed(0)


def outline(module: ModuleType, variant: str, **arguments):
    """The network at the paper's shapes (or others), without memory for its weights."""
    from cnnkeras.summary import build_outline

    input_shape, output_shape = module.PAPER_SHAPES[variant]
    shapes = {"input_shape": input_shape, "output_shape": output_shape, "variant": variant}
    return build_outline(module.build, **(shapes | arguments))


def golden(name: str, variant: str) -> str:
    """The text of a golden file: a line a layer with its kind, output shape and trained parameters."""
    from cnnkeras.summary import layer_table

    rows = layer_table(outline(MODULES[name], variant))
    lines = [f"# {name} {variant}; written by: python -m tests.test_architectures"]
    lines += [f"{r.name:12} {r.kind:26} {'x'.join(map(str, r.output_shape)):12} {r.parameters:>11,}" for r in rows]
    return "\n".join([*lines, f"{'total':52} {sum(row.parameters for row in rows):>11,}", ""])


def inputs_of(module: ModuleType, batch: int = 2) -> np.ndarray:
    """Examples for the tiny instance: noise of deviation 1."""
    return np.random.default_rng(0).normal(size=(batch, *module.TINY["input_shape"])).astype("float32")


def trainable(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_outlines_never_get_memory():
    """A network that is built after an outline does not give the outline its values."""
    before = outline(vgg, "E")
    MODULES["mnist1d_conv"].build(**MODULES["mnist1d_conv"].TINY)
    # The public `value` would make one up here.
    assert all(weight._value is None for weight in before.weights)


def test_names_are_files():
    """An architecture's name is its file's; a wrong one is answered with the nearest."""
    assert architectures.names() == ["alexnet", "deconvnet", "mnist1d_conv", "mnist1d_fc", "mnist_conv", "vgg", "yolo"]
    with pytest.raises(ValueError, match=r"received: 'alxnet'; did you mean 'alexnet'"):
        architectures.load("alxnet")
    with pytest.raises(ValueError, match=r"received: 'transformer'\. Add cnnkeras/architectures/transformer\.py"):
        architectures.load("transformer")


def test_tables_need_no_keras():
    """All modules and tables are read, and shapes computed, without importing Keras or a backend."""
    code = """
import sys
from cnnkeras import architectures
for module in map(architectures.load, architectures.names()):
    for variant, (input_shape, output_shape) in module.PAPER_SHAPES.items():
        module.output_shape(task=module.TASKS[0], classes=10, input_shape=input_shape, variant=variant)
assert not {"tensorflow", "jax", "torch", "keras.src"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])


@each_architecture
def test_module_says_what_it_is(module):
    """Tables and signature agree, published figures name their protocol, and the file states its departures."""
    parameters = inspect.signature(module.build).parameters
    assert get_args(parameters["variant"].annotation) == tuple(module.VARIANTS)
    assert module.PARAMETERS.keys() == module.PAPER_SHAPES.keys() == module.VARIANTS.keys()
    assert module.TASKS
    assert set(module.TASKS) <= TASKS
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters.values())
    assert "Departures from the paper:" in module.__doc__
    for row in module.PUBLISHED:
        assert row.metric in METRICS
        assert 0 < row.value < 1
        assert all((row.system, row.data, row.protocol, row.source))


@each_variant
def test_full_size_has_the_published_parameters(module, variant):
    """At the paper's shapes, exactly the published number of trained parameters, and nothing allocated."""
    model = outline(module, variant)
    assert trainable(model) == module.PARAMETERS[variant]
    assert model.output_shape == (None, *module.PAPER_SHAPES[variant][1])
    assert model.name == module.__name__.rsplit(".", maxsplit=1)[-1]


@each_variant
def test_layers_are_the_golden_ones(module, variant):
    """Names, kinds, shapes and parameters of every layer are those of the golden file."""
    name = module.__name__.rsplit(".", maxsplit=1)[-1]
    assert golden(name, variant) == (GOLDEN / f"{name}-{variant}.txt").read_text(encoding="utf-8")


def test_every_golden_file_is_compared():
    """No golden file outlives its variant."""
    assert {file.stem for file in GOLDEN.glob("*.txt")} == {f"{n}-{v}" for n, m in MODULES.items() for v in m.VARIANTS}


@each_variant
def test_output_shape_is_what_build_makes(module, variant):
    """`output_shape` promises, without Keras, the shape that the built network has, for every task and variant."""
    input_shape, published = module.PAPER_SHAPES[variant]
    boxes = 3 if variant == "rerelease" else 2
    classes = {"detection": published[-1] - 5 * boxes, "segmentation": published[-1] - 1}
    for task in module.TASKS:
        shape = module.output_shape(
            task=task, classes=classes.get(task, published[-1]), input_shape=input_shape, variant=variant
        )
        assert outline(module, variant, output_shape=shape).output_shape == (None, *shape)
        assert task != module.TASKS[0] or shape == published


@pytest.mark.backend
@each_architecture
def test_tiny_instance_runs_and_survives_its_file(module, tmp_path):
    """A tiny network gives finite float32 numbers, and the same ones after `.keras` and back in safe mode."""
    import keras

    model, inputs = module.build(**module.TINY), inputs_of(module)
    outputs = np.asarray(model(inputs))
    assert outputs.shape == (2, *module.TINY["output_shape"])
    assert outputs.dtype == np.float32
    assert np.isfinite(outputs).all()
    assert len(np.unique(outputs)) > 1
    model.save(tmp_path / "tiny.keras")
    again = keras.saving.load_model(tmp_path / "tiny.keras", safe_mode=True, compile=False)
    np.testing.assert_array_equal(np.asarray(again(inputs)), outputs)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


@pytest.mark.backend
@each_architecture
def test_gradient_reaches_every_weight(module):
    """One step of gradient descent changes every kernel of the tiny network."""
    import keras

    parameters = inspect.signature(module.build).parameters
    healthy = {name: value for name, value in (("dropout", 0.0), ("initializer", "he")) if name in parameters}
    model, inputs = module.build(**module.TINY, **healthy), inputs_of(module, batch=4)
    before = model.get_weights()
    # Tracing takes TensorFlow longer than one step; JAX would compile every operation by itself.
    model.compile(keras.optimizers.Adam(1e-2), "mse", run_eagerly=keras.backend.backend() == "tensorflow")
    targets = np.random.default_rng(1).normal(size=(4, *module.TINY["output_shape"]))
    model.train_on_batch(inputs, targets)
    for weight, old in zip(model.weights, before, strict=True):
        assert weight.path.endswith("bias") or (np.asarray(weight) != old).any(), weight.path


@each_architecture
def test_initial_weights_follow_the_global_seed(module):
    """The same `keras.utils.set_random_seed` gives the same weights, another one others."""
    import keras

    def weights(seed: int) -> list[np.ndarray]:
        keras.utils.set_random_seed(seed)
        return module.build(**module.TINY).get_weights()

    first, same, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, same, strict=True))
    kernels = [number for number, weight in enumerate(first) if weight.ndim > 1]
    assert not any(np.array_equal(first[number], other[number]) for number in kernels)


@each_architecture
def test_inputs_are_standardized_inside(module):
    """A network built with a mean and a deviation gives for raw data what one without gives for standardised data."""
    plain, inside = module.build(**module.TINY), module.build(**module.TINY, input_mean=7.0, input_std=4.0)
    inside.set_weights(plain.get_weights())
    inputs = inputs_of(module)
    np.testing.assert_allclose(np.asarray(inside(inputs * 4 + 7)), np.asarray(plain(inputs)), rtol=1e-3, atol=1e-4)


@each_variant
def test_width_scales_hidden_layers_only(module, variant):
    """Half the width gives about half or a quarter of the parameters, the narrowest a running net, the output stays."""
    half, narrow = outline(module, variant, width=0.5), outline(module, variant, width=1e-6)
    assert 0.2 < trainable(half) / module.PARAMETERS[variant] < 0.6
    assert half.output_shape == narrow.output_shape == (None, *module.PAPER_SHAPES[variant][1])


@each_architecture
def test_head_is_float32_under_mixed_precision(module):
    """With bfloat16 inside, the network takes and gives float32."""
    import keras

    from cnnkeras.summary import build_outline

    def build_mixed(**arguments):
        keras.config.set_dtype_policy("mixed_bfloat16")  # of this thread
        return module.build(**arguments)

    model = build_outline(build_mixed, **module.TINY)
    assert keras.config.dtype_policy().name == "float32"
    assert model.output.dtype == "float32"
    assert {layer.compute_dtype for layer in model.layers[2:-1]} >= {"bfloat16"}
    assert model.get_layer("standardize").compute_dtype == "float32"


@each_architecture
def test_wrong_tasks_and_shapes_are_refused(module):
    """Another task, and data of another rank, are errors of one line before anything is built."""
    arguments = {"classes": 5, "input_shape": module.TINY["input_shape"], "variant": module.TINY["variant"]}
    task = (TASKS - set(module.TASKS)).pop()
    with pytest.raises(ValueError, match=f"expected a task of .*; received: '{task}'"):
        module.output_shape(task=task, **arguments)
    wrong = (64, 64, 3) if len(arguments["input_shape"]) == 2 else (40, 1)
    if module.__name__.endswith("mnist1d_fc"):  # takes any shape
        wrong = (0, 1)
    with pytest.raises(ValueError, match=f"received: {re.escape(str(wrong))}"):
        module.output_shape(task=module.TASKS[0], **(arguments | {"input_shape": wrong}))


@pytest.mark.parametrize(
    ("name", "task", "small"),
    [
        ("alexnet", "classification", (40, 50, 3)),
        ("vgg", "classification", (28, 28, 3)),
        ("mnist1d_conv", "classification", (5, 1)),
        ("mnist_conv", "classification", (15, 20, 1)),
        ("yolo", "classification", (3, 64, 3)),
    ],
)
def test_too_small_inputs_name_the_smallest_that_works(name, task, small):
    """The error's size builds, in every variant; one less does not."""
    module = MODULES[name]
    for variant in module.VARIANTS:
        arguments = {"task": task, "classes": 5, "variant": variant}
        with pytest.raises(ValueError, match="at least") as error:
            module.output_shape(input_shape=small, **arguments)
        least = int(re.search(r"at least (\d+)", str(error.value))[1])
        axes = len(small) - 1
        smallest, smaller = (*[least] * axes, small[-1]), (*[least - 1] * axes, small[-1])
        shape = module.output_shape(input_shape=smallest, **arguments)
        assert outline(module, variant, input_shape=smallest, output_shape=shape).output_shape == (None, *shape)
        with pytest.raises(ValueError, match=f"at least {least}"):
            module.output_shape(input_shape=smaller, **arguments)
        with pytest.raises(ValueError, match=f"at least {least}"):
            outline(module, variant, input_shape=smaller, output_shape=shape)


@pytest.mark.parametrize(
    ("name", "task", "wrong", "works"),
    [
        ("yolo", "detection", (450, 450, 3), ["448x448", "512x512"]),
        ("yolo", "detection", (448, 320, 3), ["448x448", "512x512"]),
        ("yolo", "detection", (20, 20, 3), ["64x64"]),
        ("deconvnet", "segmentation", (100, 150, 3), ["96x160"]),
        ("deconvnet", "segmentation", (8, 8, 3), ["32x32"]),
    ],
)
def test_indivisible_inputs_name_the_nearest_that_work(name, task, wrong, works):
    """Where poolings must divide the image, the error's sizes build."""
    module = MODULES[name]
    variant = next(iter(module.VARIANTS))
    with pytest.raises(ValueError, match="nearest size") as error:
        module.output_shape(task=task, classes=5, input_shape=wrong)
    assert re.findall(r"\d+x\d+", str(error.value).split("nearest")[1]) == works
    for text in works:
        input_shape = (*map(int, text.split("x")), 3)
        shape = module.output_shape(task=task, classes=5, input_shape=input_shape)
        assert outline(module, variant, input_shape=input_shape, output_shape=shape).output_shape == (None, *shape)


def test_alexnet_takes_the_ceiling_of_conv1_at_any_size():
    """conv1 has 1 + ceil((size - 11) / 4) positions a side, as in cuda-convnet: 55 at 224 and at 227."""
    for size in (64, 65, 66, 67, 100, 224, 227):
        model = outline(alexnet, "one_tower", input_shape=(size, size, 3))
        assert model.get_layer("conv1").output.shape[1] == 1 + -(-(size - 11) // 4)


def test_alexnet_initializers():
    """The paper's: N(0, 0.01^2), biases of 1 in conv2, conv4, conv5, fc6, fc7. "he": all biases 0, larger weights."""
    paper = alexnet.build(input_shape=(64, 64, 3), output_shape=(5,), width=1 / 8)
    he = alexnet.build(input_shape=(64, 64, 3), output_shape=(5,), width=1 / 8, initializer="he")
    biases = {layer.name: float(np.asarray(layer.bias).mean()) for layer in paper.layers if hasattr(layer, "bias")}
    assert biases == {"conv1": 0, "conv2": 1, "conv3": 0, "conv4": 1, "conv5": 1, "fc6": 1, "fc7": 1, "fc8": 0}
    assert np.asarray(paper.get_layer("fc6").kernel).std() == pytest.approx(0.01, rel=0.05)
    assert not any(np.asarray(layer.bias).any() for layer in he.layers if hasattr(layer, "bias"))
    # He: sqrt(2 / inputs); fc6 sees 32 values at this size and width.
    assert np.asarray(he.get_layer("fc6").kernel).std() == pytest.approx((2 / 32) ** 0.5, rel=0.05)
    mixed = alexnet.build(input_shape=(64, 64, 3), output_shape=(5,), width=1 / 8, initializer="paper_conv1")
    deviations = {
        name: np.asarray(mixed.get_layer(name).kernel).std() for name in ("conv1", "conv2", "fc6")
    }  # conv1 sees 363 values: He's would be 0.074
    assert deviations == pytest.approx({"conv1": 0.01, "conv2": (2 / 150) ** 0.5, "fc6": (2 / 32) ** 0.5}, rel=0.05)
    assert not any(np.asarray(layer.bias).any() for layer in mixed.layers if hasattr(layer, "bias"))


@pytest.mark.parametrize(("variant", "bias"), [("caffe", 0.1), ("caffenet", 1.0)])
def test_caffes_variants(variant, bias):
    """Half the deviation in fc6 and fc7; normalisation with k = 1, alpha divided by 5, in CaffeNet after the pooling."""
    model = alexnet.build(input_shape=(67, 67, 3), output_shape=(5,), width=1 / 8, variant=variant)
    biases = {layer.name: float(np.asarray(layer.bias).mean()) for layer in model.layers if hasattr(layer, "bias")}
    positive = ("conv2", "conv4", "conv5", "fc6", "fc7")
    assert biases == pytest.approx({name: bias if name in positive else 0.0 for name in biases})
    deviations = [np.asarray(model.get_layer(name).kernel).std() for name in ("conv3", "fc6", "fc7")]
    assert deviations == pytest.approx([0.01, 0.005, 0.005], rel=0.1)
    norms = [model.get_layer(name) for name in ("norm1", "norm2")]
    assert [(norm.n, norm.k, norm.alpha, norm.beta) for norm in norms] == [(5, 1.0, 2e-5, 0.75)] * 2
    names = [layer.name for layer in model.layers]
    assert (names.index("pool1") < names.index("norm1")) == (variant == "caffenet")
    assert (names.index("pool2") < names.index("norm2")) == (variant == "caffenet")
    assert names.index("conv1") < min(names.index("pool1"), names.index("norm1"))


def test_two_towers_see_their_own_channels():
    """Noise on the second half of conv1's channels changes nothing in the first half of conv2's, and something in conv3."""
    import keras

    model = alexnet.build(input_shape=(64, 64, 3), output_shape=(5,), width=1 / 8, initializer="he")
    tail = keras.Model(model.get_layer("pool1").output, [model.get_layer(n).output for n in ("conv2", "conv3")])
    maps = np.random.default_rng(0).random((1, 7, 7, 12), "float32")
    changed = maps.copy()
    changed[..., 6:] += 1
    (conv2, conv3), (conv2_changed, conv3_changed) = (map(np.asarray, tail(x)) for x in (maps, changed))
    np.testing.assert_array_equal(conv2[..., :16], conv2_changed[..., :16])
    assert (conv2[..., 16:] != conv2_changed[..., 16:]).any()
    assert (conv3[..., :24] != conv3_changed[..., :24]).any()


@pytest.mark.parametrize("variant", yolo.VARIANTS)
@pytest.mark.parametrize("batch_norm", [False, True])
def test_yolo_classifier_is_the_front_of_the_detector(variant, batch_norm):
    """Pre-training's layers have the detector's names and weights: 20 convolutions of 24, 7 of 9, 9 of 9."""
    detector = outline(yolo, variant, batch_norm=batch_norm)
    classifier = outline(yolo, variant, output_shape=(10,), batch_norm=batch_norm)
    shared = [layer for layer in classifier.layers if layer.weights and layer.name != "classes"]
    for layer in shared:
        assert [w.shape for w in layer.weights] == [w.shape for w in detector.get_layer(layer.name).weights]
    assert sum(layer.name.startswith("conv") for layer in shared) == yolo.VARIANTS[variant].pretrained_convolutions


def test_yolo_pads_as_darknet():
    """The strided convolutions start half a kernel before the map: an impulse at (0, 0) meets the centre tap of output (0, 0)."""
    import keras

    model = yolo.build(**yolo.TINY)
    front = keras.Model(model.get_layer("standardize").output, model.get_layer("conv1").output)
    kernel, bias = model.get_layer("conv1").get_weights()
    impulse = np.zeros((1, 32, 32, 3), "float32")
    impulse[0, 0, 0, 1] = 1
    np.testing.assert_allclose(np.asarray(front(impulse))[0, 0, 0] - bias, kernel[3, 3, 1], atol=1e-6)


def test_yolo_refuses_a_grid_of_another_image():
    """An output that the image's grid does not have, or that leaves no class, is an error that names the right one."""
    for shape in ((8, 8, 30), (7, 7, 10)):
        with pytest.raises(ValueError, match=r"output_shape \(7, 7, classes \+ 10\)"):
            outline(yolo, "full", output_shape=shape)


def test_yolo_re_release_is_its_weight_file():
    """yolov1.weights has 789,312,988 bytes: a header of 16 and 4 for each number, moving statistics included."""
    model = outline(yolo, "rerelease")
    convolutions = [layer for layer in model.layers if re.fullmatch(r"conv\d+", layer.name)]
    assert sum(map(trainable, convolutions)) == 60_142_784
    assert 16 + 4 * model.count_params() == 789_312_988


def test_yolo_variants_bring_their_own_options():
    """The re-release normalises and predicts three boxes a cell; told otherwise, the paper's two and no normalisation."""
    own = outline(yolo, "rerelease")
    assert own.get_layer("drop25").rate == 0.5
    assert outline(yolo, "rerelease_fast").get_layer("drop8").rate == 0
    told = outline(yolo, "rerelease", output_shape=(7, 7, 30), boxes_per_cell=2, batch_norm=False, dropout=0.1)
    assert {layer.name for layer in own.layers} - {layer.name for layer in told.layers} == {
        f"bn{number}" for number in range(1, 25)
    }
    assert told.get_layer("drop25").rate == 0.1


def test_a_convolutional_yolo_gives_the_same_for_the_same_thing_elsewhere():
    """Moved by a stride, an image has its outputs moved by a cell, in the cells whose receptive field of 125 pixels the border does not touch."""
    model = yolo.build(
        input_shape=(256, 256, 3), output_shape=(16, 16, 13), variant="small_convolutional", width=0.2, input_std=255.0
    )
    image = np.random.default_rng(0).uniform(0, 255, (256, 272, 3)).astype(np.float32)
    here, moved = (np.asarray(model(image[None, :, start : start + 256]))[0] for start in (0, 16))
    assert model.get_layer("grid").count_params() == 26 * 13 + 13  # 0.2 x 128 channels in, one bias for each output
    np.testing.assert_allclose(here[5:11, 6:11], moved[5:11, 5:10], atol=1e-5)
    assert np.abs(here[5:11, 6:11] - moved[5:11, 6:11]).max() > 0.1


def test_hidden_units_of_yolo_change_the_two_layers_around_them():
    # Figure 3's last two layers: 7 x 7 x 1024 = 50,176 inputs of the hidden layer, 7 x 7 x 30 = 1,470 outputs after it.
    before, after = 50_176 * 4096 + 4096 + 4096 * 1470, 50_176 * 1000 + 1000 + 1000 * 1470
    assert outline(yolo, "full", hidden_units=1000).count_params() == yolo.PARAMETERS["full"] - before + after


def test_hidden_units_need_a_hidden_layer():
    with pytest.raises(
        ValueError, match=r"expected hidden_units for a variant with a hidden fully connected layer .full, fast, small"
    ):
        yolo.output_shape(
            task="detection",
            classes=20,
            input_shape=(448, 448, 3),
            variant="rerelease",
            boxes_per_cell=2,
            hidden_units=8,
        )


@pytest.mark.parametrize(("variant", "configuration", "convolutions"), [("vgg16", "D", 13), ("vgg11", "A", 8)])
def test_deconvnet_encoder_is_vgg(variant, configuration, convolutions):
    """Each weight of the encoder, fc6 and fc7 has the name of VGG's, and its shape or (fc6) its number of values."""
    encoder, classifier = outline(deconvnet, variant), outline(vgg, configuration, batch_norm=True)
    shared = [layer.name for layer in classifier.layers if layer.weights and layer.name != "fc8"]
    assert len(shared) == 2 * (convolutions + 2)
    for name in shared:
        ours, theirs = encoder.get_layer(name), classifier.get_layer(name)
        assert ours.count_params() == theirs.count_params()
        assert name.startswith("fc") or [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]


def test_deconvnet_without_batch_norm():
    """The convolutions alone have 251,772,245 parameters."""
    assert trainable(outline(deconvnet, "vgg16", batch_norm=False)) == 251_772_245


def test_deconvnet_bottleneck_is_as_large_as_the_last_map():
    """At 64x96 the encoder ends at 2x3; fc6 is one position, and its deconvolution 2x3 again."""
    model = outline(deconvnet, "vgg16", input_shape=(64, 96, 3), output_shape=(64, 96, 4))
    assert model.get_layer("fc6").output.shape == (None, 1, 1, 4096)
    assert model.get_layer("fc6-deconv").output.shape == (None, 2, 3, 512)


@pytest.mark.parametrize("module", [vgg, deconvnet])
def test_min_channels_bounds_what_width_leaves(module):
    """At an eighth of 64 to 512 channels and at least 16, the hidden layers have 16 to 64, and fc6 512."""
    model = outline(module, next(iter(module.VARIANTS)), width=1 / 8, min_channels=16)
    convolutions = [layer for layer in model.layers if "conv" in layer.name and layer.weights]
    assert {layer.output.shape[-1] for layer in convolutions} == {16, 32, 64}
    assert model.get_layer("fc6").output.shape[-1] == 512


def test_deconvnet_score_layer_starts_as_told():
    """The score layer's weights have the standard deviation that was asked for, the paper's 0.01 by default."""
    for expected, options in ((0.01, {}), (0.7, {"score_stddev": 0.7})):
        model = deconvnet.build(**deconvnet.TINY, batch_norm=True, **options)
        np.testing.assert_allclose(np.std(model.get_layer("seg-score").kernel), expected, rtol=0.5)


def test_the_books_network_for_mnist_drops_whole_maps():
    """260 + 5,020 + 16,050 + 510 = 21,840; in training a map of the second convolution is dropped as a whole, or kept and doubled."""
    import keras

    model = MODULES["mnist_conv"].build(input_shape=(28, 28, 1), output_shape=(10,))
    assert [layer.count_params() for layer in model.layers if layer.weights] == [260, 5_020, 16_050, 510]
    part = keras.Model(model.input, [model.get_layer("conv2").output, model.get_layer("drop2").output])
    maps, dropped = (np.asarray(output) for output in part(inputs_of(MODULES["mnist_conv"], 20), training=True))
    kept = np.abs(dropped).max(axis=(1, 2)) > 0
    np.testing.assert_allclose(dropped, 2 * maps * kept[:, None, None, :], rtol=1e-6)
    assert 0.35 < kept.mean() < 0.65


def test_vgg_batch_norm_is_optional():
    """D has 4,224 filters and 8,192 hidden units; batch normalisation adds a scale and a shift for each."""
    assert trainable(outline(vgg, "D", batch_norm=True)) == vgg.PARAMETERS["D"] + 2 * (4_224 + 8_192)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name_, module_ in MODULES.items():
        for variant_ in module_.VARIANTS:
            (GOLDEN / f"{name_}-{variant_}.txt").write_text(golden(name_, variant_), encoding="utf-8")
