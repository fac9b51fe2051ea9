"""The lab: every claim's numbers against the lecture's, verdicts that can be false, and the stage around them."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cnnkeras import architectures, sampling
from cnnkeras.small_nets.networks import Network
from pipeline.cli import main
from pipeline.commands import report
from pipeline.commands.report import claims as claims_report
from pipeline.lab import claims, numbers, slides, trials
from pipeline.lab.claims import channels, features, geometry, mnist1d, permutation, size, toeplitz, translation
from pipeline.lab.claims import sampling as sampling_claim
from pipeline.lab.numbers import Numbers
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.tracking import store

# MLflow 3.17 calls what SQLAlchemy 2.1 deprecates; that is between the two.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NOTHING = {"classifier": "scratch", "encoder": "scratch", "segmenter": "scratch", "detector": "scratch"}
SIZE = """\
lab:
  size: {claim: size, models: {classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}, sides: [7, 224]}
"""


def settings(module, **values):
    return module.Settings(claim=module.__name__.rpartition(".")[2], models=NOTHING, **values)


def run(*command: str):
    return CliRunner().invoke(main, command, catch_exceptions=False)


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_every_claim_has_an_entry_in_the_default_lab():
    """Each is called as its claim."""
    entries = load_params(Path(__file__).parents[1] / "params.yaml").lab
    assert sorted(entries) == claims.names()
    assert all(name == entry.claim for name, entry in entries.items())


def test_findings_are_numbers():
    """A text among them would end the report on all claims."""
    texts = {"claim": "c", "paragraph": "p", "title": "t", "draw": print, "holds": True}
    claims.Findings(**texts, published={"error": None}, measured={"error": np.float32(0.5)}, expected={"error": 1})
    with pytest.raises(TypeError, match="expected numbers in `expected`; received: error: 'small'"):
        claims.Findings(**texts, published={}, measured={"error": 0.5}, expected={"error": "small"})


def test_size_is_the_lectures():
    """224 x 224 x 3 = 150,528 inputs; fully connected 150,528 x 3,211,264 + 3,211,264 parameters, convolution 27 x 64 + 64."""
    found = size.measure(settings(size, sides=(7, 56, 224)), seed=1)
    assert found.holds
    assert found.measured["inputs"] == 150_528
    assert found.measured["fully_connected_parameters"] == 150_528 * 3_211_264 + 3_211_264
    assert found.measured["convolution_parameters"] == 27 * 64 + 64
    # 68^4 x 3 x 64 x 4 bytes are 15.3 GiB, 69^4 x 768 bytes are 16.2 GiB.
    assert found.measured["fully_connected_max_side"] == 68


def test_size_does_not_hold_where_everything_fits():
    """On a machine with room for all weights of the fully connected layer the claim is false."""
    assert not size.measure(settings(size, sides=(7, 224), memory_gib=1e7), seed=1).holds


def test_toeplitz_counts_the_lectures_parameters():
    """From 40 values to 40: 40 x 40 + 40 = 1,640 parameters fully connected, 3 + 1 convolutional, and the same outputs."""
    found = toeplitz.measure(settings(toeplitz, trials=20), seed=1)
    assert found.holds
    assert (found.measured["fully_connected_parameters"], found.measured["convolution_parameters"]) == (1_640, 4)
    assert found.measured["max_difference"] < 1e-12


def test_sampling_gives_the_books_answers(monkeypatch):
    """Notebook 10.4's patch: maxima 6 8 8 4, means 3 4 5 2, every second 1 5 4 1; a wrong operation is found."""
    assert sampling.max_pool(sampling_claim.PATCH)[0].tolist() == [[6, 8], [8, 4]]
    assert sampling.max_pool(np.zeros((2, 2)))[1].tolist() == [[0]]  # of equals the first
    assert np.argwhere(sampling.max_unpool(*sampling.max_pool(sampling_claim.PATCH))).tolist() == [
        [1, 0],
        [1, 3],
        [2, 3],
        [3, 1],
    ]
    found = sampling_claim.measure(settings(sampling_claim), seed=1)
    assert found.holds
    assert (found.measured["wrong_values"], found.measured["operations_checked"]) == (0, 7)
    monkeypatch.setattr(sampling, "mean_pool", lambda image: image[::2, ::2])
    assert not sampling_claim.measure(settings(sampling_claim), seed=1).holds
    with pytest.raises(ValueError, match="expected a map with even sides; received: 3x4"):
        sampling.max_pool(np.zeros((3, 4)))


def test_geometry_agrees_with_keras_and_finds_a_wrong_formula(monkeypatch):
    """Sizes, values and receptive fields; three layers of 3 taps see 7. With another formula the claim does not hold."""
    few = settings(geometry, trials=60, real=6, stacks=10, architectures=("mnist1d_conv",))
    found = geometry.measure(few, seed=1)
    assert found.holds
    assert (
        found.measured["wrong_sizes"]
        == found.measured["wrong_layer_fields"]
        == found.measured["wrong_stack_fields"]
        == 0
    )
    assert found.measured["three_layers_field"] == 7
    assert found.measured["wrong_padded_sizes"] == 0
    assert found.measured["padded_keras_difference"] < 1e-4
    assert found.measured["padded_matrix_difference"] < 1e-12
    assert found.published == {}
    assert found.expected == {"three_layers_field": 7}
    assert found.measured["dilation_is_zeros"] < 0.5 < found.measured["dilation_is_distance"]
    monkeypatch.setattr(geometry, "output_size", lambda size, kernel, *_: size - kernel + 1)
    wrong = geometry.measure(few, seed=1)
    assert not wrong.holds
    assert wrong.measured["wrong_sizes"] > 0


def test_permutation_is_exact_to_rounding():
    """With the first weights permuted like the inputs every loss is the same; with others it is not."""
    data = small_data()
    trial = trials.Trial(trials.lecture_fully_connected(), data, 1, 20, 0.1)
    plain, alike, other = permutation._same_trajectory(trial, np.random.default_rng(0).permutation(40))
    np.testing.assert_allclose(alike, plain, atol=1e-9)
    assert np.abs(other - plain).max() > 1e-3


def test_permutation_verdict_needs_both_halves():
    """The same errors for fully connected nets, more for convolutional ones: each alone is not enough."""
    few = settings(permutation, seeds=2, signal_steps=1, signal_rate=0.1, image_steps=1, image_rate=0.1)
    errors = {
        f"{data}_{kind}{suffix}": np.array([value, value + 0.01])
        for data in ("signals", "images")
        for kind, suffix, value in (
            ("fully_connected", "", 0.3),
            ("fully_connected", "_permuted", 0.3),
            ("convolutional", "", 0.1),
            ("convolutional", "_permuted", 0.4),
        )
    }
    alike = np.array([1.0]), np.array([1.0]), np.array([2.0])
    exact = {"signals": alike, "images": alike}
    assert permutation._findings(few, errors, exact).holds
    assert not permutation._findings(
        few, errors | {"images_convolutional": errors["images_convolutional_permuted"]}, exact
    ).holds
    assert not permutation._findings(few, errors | {"signals_fully_connected": np.array([0.1, 0.11])}, exact).holds
    for data in exact:
        assert not permutation._findings(few, errors, exact | {data: (alike[0], alike[2], alike[2])}).holds
        assert not permutation._findings(few, errors, exact | {data: (alike[0], alike[0], alike[0])}).holds


def test_translation_is_exact_inside_and_by_whole_strides():
    """Zero in the interior and for a shift of 2 with stride 2; large at the padded border and for a shift of 1."""
    gaps = translation._equivariance(np.random.default_rng(1))
    assert gaps["interior"] == gaps["stride_2_shift_2"] == 0
    assert min(gaps["with_border"], gaps["stride_2_shift_1"]) > 0.1
    assert translation._shift(np.array([[1, 2, 3]]), 1, axis=1).tolist() == [[0, 1, 2]]
    assert translation._shift(np.array([[1, 2, 3]]), -2, axis=1).tolist() == [[3, 0, 0]]


def test_translation_verdict_needs_both_halves():
    """Shifted digits must cost the fully connected network more, and a layer's border and half a stride must be no exceptions."""
    few = settings(translation, seeds=2, steps=1, rate=0.1, shifts=2)
    gaps = translation._equivariance(np.random.default_rng(1))
    falls, stays = (
        np.array([[0.2, 0.5, 0.9, 0.5, 0.2]] * 2),
        np.array([[0.9, 0.6, 0.9, 0.6, 0.9], [0.9, 0.7, 0.9, 0.7, 0.9]]),
    )
    accuracies = {"fully connected": falls, "convolutional": falls, "convolutional, mean": stays}
    found = translation._findings(few, gaps, accuracies, [-2, -1, 0, 1, 2])
    assert found.holds
    assert found.measured["convolutional_mean_shifted_2"] == pytest.approx(0.9)
    assert found.measured["convolutional_mean_shifted_1"] == pytest.approx(0.65)
    assert found.spread["convolutional_mean_shifted_1"] == pytest.approx(0.1 / 2**0.5)
    assert "without that mean, a convolutional network falls as the fully connected one does" in found.paragraph
    assert "mean over all places" in found.claim
    none = translation._findings(few, gaps, accuracies | {"convolutional, mean": falls}, [-2, -1, 0, 1, 2])
    assert not none.holds
    assert "does not make the answer bear the shift" in none.paragraph
    all_bear = translation._findings(few, gaps, accuracies | {"convolutional": stays}, [-2, -1, 0, 1, 2])
    assert all_bear.holds
    assert "equivariant layers bear the shift, too" in all_bear.paragraph
    assert not translation._findings(few, gaps | {"with_border": 0.0}, accuracies, [-2, -1, 0, 1, 2]).holds


@pytest.mark.parametrize("draw", range(20))
def test_a_whole_padded_layer_by_three_ways(draw):
    """P zeros, a bias and a ReLU: the definition, Keras and the matrix give the same size and the same values."""
    wrong, keras_difference, matrix_difference = geometry._padded(np.random.default_rng(draw))
    assert not wrong
    assert keras_difference < 1e-4
    assert matrix_difference < 1e-12


def test_published_is_what_somebody_published(tmp_path):
    """Counts and known answers are expected, not published; the report has a column for each that there is."""
    found = toeplitz.measure(settings(toeplitz, trials=4), seed=1)
    assert (found.published, found.expected) == (
        {},
        {"fully_connected_parameters": 1_640, "convolution_parameters": 4},
    )
    lecture = size.measure(settings(size, sides=(112, 224)), seed=1)
    assert lecture.published == {"inputs": 150_528}
    assert lecture.expected["convolution_parameters"] == 1_792
    numbers.write(tmp_path / "numbers.json", lecture)
    text = claims_report.markdown({"size": numbers.read(tmp_path / "numbers.json")})
    assert "| number | measured | published | expected |" in text
    assert "| convolution parameters | 1,792 |  | 1,792 |" in text
    older = {
        key: value for key, value in json.loads((tmp_path / "numbers.json").read_text()).items() if key != "expected"
    }
    (tmp_path / "numbers.json").write_text(json.dumps(older))
    assert numbers.read(tmp_path / "numbers.json").expected == {}


def test_channels_verdict_is_that_of_the_errors(monkeypatch):
    """It holds where each training with most channels is better than each with fewest, and not where one is worse."""
    monkeypatch.setattr(trials, "load_signals", small_data)
    few = settings(channels, seeds=2, steps=1, rate=0.1)
    monkeypatch.setattr(trials, "run_all", lambda *_: [0.7, 0.6, 0.4, 0.4, 0.15, 0.16])
    found = channels.measure(few, seed=1)
    assert found.holds
    assert found.measured["error_1_channels"] == pytest.approx(0.65)
    monkeypatch.setattr(trials, "run_all", lambda *_: [0.7, 0.2, 0.4, 0.4, 0.15, 0.21])
    assert not channels.measure(few, seed=1).holds


@pytest.mark.parametrize("count", [1, 5, 15])
def test_channels_have_equal_parameters(count):
    """One, five or fifteen channels: 2,050 parameters within 5 %; fifteen are the book's network."""
    assert Network(channels.build_layers(count), 0).count == pytest.approx(2_050, rel=0.05)


def test_the_lectures_and_the_benchmarks_networks_have_the_published_parameters():
    """2,050 and 59,065; logistic 410, MLP 15,210, CNN 5,210, GRU 5,134."""
    assert Network(trials.lecture_convolutional(), 0).count == 2_050
    assert Network(trials.lecture_fully_connected(), 0).count == 59_065
    counts = {name: Network(layers, 0).count for name, layers in trials.benchmark_networks().items()}
    assert counts == {"logistic": 410, "mlp": 15_210, "cnn": 5_210, "gru": 5_134}


def test_numbers_in_a_figure_are_crossed_by_nothing(tmp_path):
    """Ours and the published numbers at every distance from each other: no number lies on a bar or on another number."""
    published = mnist1d.BOOK | {
        f"{name}{suffix}_accuracy": value
        for name, pair in mnist1d.TABLE.items()
        for suffix, value in zip(("", "_shuffled"), pair, strict=True)
    }
    values = {key: value + np.array([-0.04, 0.02]) for key, value in published.items()}
    with slides.slide(tmp_path / "figure.png", "MNIST-1D") as figure:
        mnist1d._draw(figure, values)
        figure.draw_without_rendering()
        for axes in figure.axes:
            numbers = [text.get_window_extent() for text in axes.texts]
            assert len(numbers) == len(axes.patches) == 2 * len(axes.get_xticks())
            bars = [bar.get_window_extent() for bar in axes.patches]
            assert not any(number.overlaps(bar) for number in numbers for bar in bars)
            assert not any(one.overlaps(other) for one, other in itertools.combinations(numbers, 2))


def test_mnist1d_verdict_is_that_of_the_numbers(monkeypatch):
    """It holds for the published numbers, and not where the fully connected network wins or nothing is lost by shuffling."""
    monkeypatch.setattr(trials, "load_signals", small_data)
    recipe = {"steps": 2, "learning_rate": 0.1}
    few = settings(mnist1d, seeds=2, book=recipe, table=recipe)
    keys = mnist1d.measure(few, seed=1).spread
    published = mnist1d.BOOK | {
        f"{name}{suffix}_accuracy": value
        for name, pair in mnist1d.TABLE.items()
        for suffix, value in zip(("", "_shuffled"), pair, strict=True)
    }
    values = {key: np.full(2, published[key]) for key in keys}
    assert mnist1d._findings(few, values).holds
    assert not mnist1d._findings(few, values | {"book_convolutional_error": np.array([0.17, 0.41])}).holds
    assert not mnist1d._findings(few, values | {"cnn_shuffled_accuracy": np.full(2, 0.94)}).holds


@pytest.fixture
def tiny_networks(monkeypatch):
    """Four untrained networks by role, and the settings that look into them; the detector says the same of every image.

    Of its 2 x 2 cells one has a sure box that may be any of the ten classes, and one a sure and a less sure box at the same place.
    """
    import keras

    from pipeline.backend import model_files

    keras.utils.set_random_seed(1)
    outputs = {"alexnet": (10,), "vgg": (10,), "deconvnet": (32, 32, 11), "yolo": (2, 2, 20)}
    modules = [architectures.load(name) for name in outputs]
    built = [
        each.build(**each.TINY | {"output_shape": shape}) for each, shape in zip(modules, outputs.values(), strict=True)
    ]
    models = dict(zip(NOTHING, built, strict=True))
    says = np.zeros((4, 20))  # ten class probabilities, two confidences, two boxes (x, y, root of width and of height)
    says[0, :10], says[0, 10], says[0, 12:16] = 0.1, 1, 0.5
    says[3, 4], says[3, 10:12], says[3, 12:] = 1, (0.9, 0.6), 0.5
    last = next(layer for layer in reversed(models["detector"].layers) if layer.weights)
    last.set_weights([np.zeros(last.kernel.shape), says.reshape(last.bias.shape)])
    monkeypatch.setattr(model_files, "load", lambda file: models[file.parts[-3]])
    return models, features.Settings(claim="features", models={role: role for role in models})


def test_features_counts_what_the_networks_say(tiny_networks):
    """Ten pairs of a box and a class score 0.1, two 0.9 and 0.6; two are above 0.2, and one of these two at one place is left."""
    models, settings = tiny_networks
    found = features.measure(settings, seed=1).measured
    counts = [found[key] for key in ("cells", "boxes_before", "boxes_above_threshold", "boxes_after_nms")]
    assert counts == [4, 12, 2, 1]
    assert found["first_filters"] == models["classifier"].get_layer("conv1").filters
    assert (found["narrowest_map"], found["decoder_output_side"]) == (1, 32)  # 32 halved five times, and doubled again
    assert found["misplaced_unpooled_values"] == 0
    assert 0 < found["unpooled_fraction"] <= 0.25  # one of the four values of a window


def test_features_does_not_hold_for_noise_as_filters_nor_for_wrong_switches(tiny_networks, monkeypatch):
    """Untrained filters are noise; values that are put into the corners of their windows did not come from there."""
    import keras

    from cnnkeras.layers import MaxUnpooling

    models, settings = tiny_networks
    assert not features.measure(settings, seed=1).holds
    first = models["classifier"].get_layer("conv1").kernel
    first.assign(np.broadcast_to(np.add.outer(np.arange(11.0), np.arange(11.0))[..., None, None], first.shape))
    assert features.measure(settings, seed=1).holds
    unpool = MaxUnpooling.call
    monkeypatch.setattr(
        MaxUnpooling, "call", lambda self, inputs: unpool(self, [inputs[0], keras.ops.zeros_like(inputs[1])])
    )
    wrong = features.measure(settings, seed=1)
    assert wrong.measured["misplaced_unpooled_values"] > 0
    assert not wrong.holds


def test_smoothness_is_0_for_noise_and_near_1_for_waves():
    """Independent weights correlate by 0 within four standard errors; slow waves by nearly their cosine."""
    noise, error = features._smoothness(np.random.default_rng(0).normal(size=(11, 11, 3, 200)))
    assert abs(noise) < 4 * error < 0.02
    wave = np.sin(np.arange(11) * 2 * np.pi / 11)
    # Along the wave the mean of 10 products is cos(2 pi / 11) of the mean square but for the ends; across it 1.
    waves, _ = features._smoothness(np.tile(wave[:, None, None, None], (1, 11, 3, 4)))
    assert waves == pytest.approx((np.mean(wave[1:] * wave[:-1]) / np.mean(wave**2) + 1) / 2 + 1 / 120)


def small_data() -> trials.Data:
    rng = np.random.default_rng(0)
    inputs, labels = rng.normal(size=(300, 40, 1)).astype("float32"), rng.integers(0, 10, 300)
    return trials.Data(inputs[:200], labels[:200], inputs[200:], labels[200:], (40,))


def test_small_trainings_are_derived_from_their_seed():
    """The same trial gives the same error, in this process and in another one; another seed gives another network."""
    trial = trials.Trial(trials.lecture_convolutional(), small_data(), 1, 5, 0.1)
    (first,), (second,) = trials.run_all(trials.test_error, [trial]), trials.run_all(trials.test_error, [trial])
    assert first == second == trials.test_error(trial)


def test_the_stage_writes_numbers_a_figure_and_one_run(project):
    """Twice the same bytes, no time in the image, and one MLflow run however often it is logged."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    first = run("lab", "size")
    assert first.exit_code == 0, first.output
    assert "logged as lab-size-" in first.stdout
    measured, figure = paths.claim_numbers("size").read_bytes(), paths.claim_figure("size").read_bytes()
    assert list(json.loads(measured)) == ["claim", "published", "measured", "spread", "holds", "paragraph", "expected"]
    assert b"tIME" not in figure
    assert b"Software" not in figure
    assert "was logged already" in run("lab", "size").stdout
    assert len(store.Store("lab").find()) == 1
    assert store.Store().find() == []
    assert (paths.claim_numbers("size").read_bytes(), paths.claim_figure("size").read_bytes()) == (measured, figure)
    with pytest.raises(InputError, match="expected results to report; received: none yet"):
        report.run()  # of experiments; the lab's report is written all the same
    text = paths.lab_report().read_text()
    assert "**The claim holds.**" in text
    assert "| convolution parameters | 1,792 |  | 1,792 |" in text
    assert "![size](../small_figures/lab/size.png)" in text


def test_a_dead_tracking_server_does_not_lose_the_result(project, monkeypatch):
    """The numbers are there, a line says how to show them later, and the stage has succeeded."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ended = run("lab", "size")
    assert ended.exit_code == 0
    assert "1 run waits for MLflow" in ended.stderr
    assert json.loads(paths.claim_numbers("size").read_text())["holds"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("claim: size", "claim: sise", "lab.size.claim: unknown claim 'sise'; did you mean 'size'?"),
        ("sides: [7, 224]", "sides: [7]", "lab.size.sides: expected a length of at least 2"),
        ("sides:", "side:", "lab.size.side: unknown key 'side'; did you mean 'sides'?"),
        ("detector: scratch", "detector: yolo", "lab.size.models.detector: unknown experiment 'yolo'"),
        ("claim: size, ", "", "lab.size: expected the key 'claim' (channels, "),
        (
            "experiments:\n  crops:",
            "experiments:\n  lab:",
            "experiments.lab: expected another name: results/lab belongs to no",
        ),
    ],
)
def test_wrong_entries_are_one_line(project, old, new, message):
    """Where, what was expected, and the nearest name; exit code 2, nothing written."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    project.edit(old, new)
    ended = run("lab", "size")
    assert ended.exit_code == 2
    assert message in ended.stderr
    assert not paths.claim("size").exists()


def test_an_unknown_claim_is_named_with_the_known_ones(project):
    """As for any other entry."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    assert "unknown entry of the lab 'sizes'; did you mean 'size'?" in run("lab", "sizes").stderr


def test_verdicts_are_said():
    """In words."""
    verdicts = [Numbers("claim", {}, {}, {}, holds, "paragraph").verdict for holds in (True, False)]
    assert verdicts == ["holds", "does not hold"]


def test_numbers_are_read_as_they_were_written(tmp_path):
    """Rounded to what every processor agrees on; what is no number is none."""
    measured = {"rounded": np.float32(1 / 3), "count": np.int64(7), "undefined": float("nan")}
    findings = claims.Findings("claim", {}, measured, np.bool_(True), "paragraph", "title", print)
    numbers.write(tmp_path / "numbers.json", findings)
    found = numbers.read(tmp_path / "numbers.json")
    assert found == Numbers("claim", {}, {"rounded": 0.333333, "count": 7, "undefined": None}, {}, True, "paragraph")
