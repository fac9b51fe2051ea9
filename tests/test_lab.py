"""The lab: every claim's numbers against the lecture's, verdicts that can be false, and the stage around them."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cnnkeras import sampling
from cnnkeras.small_nets import Network
from pipeline import claims, lab, lab_report, paths, trials
from pipeline.claims import channels, geometry, mnist1d, permutation, size, toeplitz, translation
from pipeline.claims import sampling as sampling_claim
from pipeline.cli import main
from pipeline.params import load_params

# MLflow 3.17 calls what SQLAlchemy 2.1 deprecates; that is between the two.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NOTHING = {"classifier": "scratch", "encoder": "scratch", "segmenter": "scratch", "detector": "scratch"}
SIZE = """\
lab:
  size: {claim: size, networks: {classifier: scratch, encoder: scratch, segmenter: scratch, detector: scratch}, sides: [7, 224]}
"""


def settings(module, **values):
    return module.Settings(claim=module.__name__.rpartition(".")[2], networks=NOTHING, **values)


def run(*command: str):
    return CliRunner().invoke(main, command, catch_exceptions=False)


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_every_claim_has_an_entry_in_the_default_lab():
    """Nine claims, nine entries of params.yaml, each called as its claim."""
    entries = load_params(Path(__file__).parents[1] / "params.yaml").lab
    assert sorted(entries) == claims.names()
    assert all(name == entry.claim for name, entry in entries.items())
    assert len(entries) == 9


def test_size_is_the_lectures():
    """224 x 224 x 3 = 150,528 inputs; fully connected 150,528 x 3,211,264 + 3,211,264 parameters, convolution 27 x 64 + 64."""
    found = size.measure(settings(size, sides=(7, 56, 224)), seed=1)
    assert found.holds
    assert found.measured["inputs"] == 150_528
    assert found.measured["fully_connected_parameters"] == 150_528 * 3_211_264 + 3_211_264
    assert found.measured["convolution_parameters"] == 27 * 64 + 64
    # 68^4 x 3 x 64 x 4 bytes are 15.3 GiB, 69^4 x 768 bytes are 16.2 GiB.
    assert found.measured["fully_connected_largest_side"] == 68


def test_size_does_not_hold_where_everything_fits():
    """On a machine with room for all weights of the fully connected layer the claim is false."""
    assert not size.measure(settings(size, sides=(7, 224), memory_gib=1e7), seed=1).holds


def test_toeplitz_counts_the_lectures_parameters():
    """From 40 values to 40: 40 x 40 + 40 = 1,640 parameters fully connected, 3 + 1 convolutional, and the same outputs."""
    found = toeplitz.measure(settings(toeplitz, trials=20), seed=1)
    assert found.holds
    assert (found.measured["fully_connected_parameters"], found.measured["convolution_parameters"]) == (1_640, 4)
    assert found.measured["largest_difference"] < 1e-12


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
    assert found.measured["wrong_values"] == 0
    monkeypatch.setattr(sampling, "mean_pool", lambda picture: picture[::2, ::2])
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
    few = settings(permutation, seeds=2, signal_steps=1, signal_rate=0.1, picture_steps=1, picture_rate=0.1)
    errors = {
        f"{data}_{kind}{suffix}": np.array([value, value + 0.01])
        for data in ("signals", "pictures")
        for kind, suffix, value in (
            ("fully_connected", "", 0.3),
            ("fully_connected", "_permuted", 0.3),
            ("convolutional", "", 0.1),
            ("convolutional", "_permuted", 0.4),
        )
    }
    exact = np.array([1.0]), np.array([1.0]), np.array([2.0])
    assert permutation._findings(few, errors, exact).holds
    assert not permutation._findings(
        few, errors | {"pictures_convolutional": errors["pictures_convolutional_permuted"]}, exact
    ).holds
    assert not permutation._findings(few, errors | {"signals_fully_connected": np.array([0.1, 0.11])}, exact).holds
    assert not permutation._findings(few, errors, (exact[0], exact[2], exact[2])).holds


def test_translation_is_exact_inside_and_by_whole_strides():
    """Zero in the interior and for a shift of 2 with stride 2; large at the padded border and for a shift of 1."""
    gaps = translation._equivariance(np.random.default_rng(1))
    assert gaps["interior"] == gaps["stride_2_shift_2"] == 0
    assert min(gaps["with_border"], gaps["stride_2_shift_1"]) > 0.1
    assert translation._shift(np.array([[1, 2, 3]]), 1, axis=1).tolist() == [[0, 1, 2]]
    assert translation._shift(np.array([[1, 2, 3]]), -2, axis=1).tolist() == [[3, 0, 0]]


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
    """Twice the same bytes, no time in the picture, and one MLflow run however often it is logged."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    first = run("lab", "size")
    assert first.exit_code == 0, first.output
    assert "logged as lab-size-" in first.stdout
    numbers, figure = paths.claim_numbers("size").read_bytes(), paths.claim_figure("size").read_bytes()
    assert list(json.loads(numbers)) == ["claim", "published", "measured", "spread", "holds", "paragraph"]
    assert b"tIME" not in figure
    assert b"Software" not in figure
    assert "was logged already" in run("lab", "size").stdout
    assert (paths.claim_numbers("size").read_bytes(), paths.claim_figure("size").read_bytes()) == (numbers, figure)
    lab_report.write(load_params())
    text = paths.lab_report().read_text()
    assert "**The claim holds.**" in text
    assert "| convolution parameters | 1,792 | 1,792 |" in text
    assert "![size](size/figure.png)" in text


def test_a_dead_tracking_server_does_not_lose_the_result(project, monkeypatch):
    """The numbers are there, a line says how to show them later, and the stage has succeeded."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    ended = run("lab", "size")
    assert ended.exit_code == 0
    assert "measured, but not shown in MLflow" in ended.stderr
    assert "`cnnkeras lab size --log-only`" in ended.stderr
    assert json.loads(paths.claim_numbers("size").read_text())["holds"]
    assert run("lab", "size", "--log-only").exit_code == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("claim: size", "claim: sise", "lab.size.claim: unknown claim 'sise'; did you mean 'size'?"),
        ("sides: [7, 224]", "sides: [7]", "lab.size.sides: expected a length of at least 2"),
        ("sides:", "side:", "lab.size.side: unknown key 'side'; did you mean 'sides'?"),
        ("detector: scratch", "detector: yolo", "lab.size.networks.detector: unknown experiment 'yolo'"),
        ("claim: size, ", "", "lab.size: expected a mapping with a claim (channels, "),
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
    """As for any other entry; and what has no result cannot be logged."""
    project.edit("experiments:\n", f"{SIZE}experiments:\n")
    assert "unknown entry of the lab 'sizes'; did you mean 'size'?" in run("lab", "sizes").stderr
    assert "Run `cnnkeras lab size` first" in run("lab", "size", "--log-only").stderr


def test_verdicts_are_said():
    """In words."""
    assert [lab.verdict({"holds": holds}) for holds in (True, False)] == ["holds", "does not hold"]
