"""Claim 8: on MNIST-1D a convolutional network beats a fully connected one that has 29 times its parameters.

Prince, Understanding Deep Learning, section 10.2.7 and figures 10.7 and 10.8: plain SGD, rate 0.01, batches of 100, 100,000 steps,
all 4,000 training signals. And the table of the data set's authors (github.com/greydanus/mnist1d, README; recipe in
notebooks/train.py): Adam, rate 0.01, batches of 100 in a fixed order, 6,000 steps; with the signals' positions in their order and in
one other order.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras.small_nets.networks import Network
from pipeline.lab import slides, trials
from pipeline.lab.claims import ClaimEntry, Findings
from pipeline.runtime.entries import Entry

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BOOK = {"book_convolutional_error": 0.17, "book_fully_connected_error": 0.40}
# Accuracies, with the positions in their order and shuffled.
TABLE = {"logistic": (0.32, 0.32), "mlp": (0.68, 0.68), "cnn": (0.94, 0.56), "gru": (0.91, 0.57)}
BOOK_RECIPE, TABLE_RECIPE = (100_000, 0.01), (6_000, 0.01)  # steps and learning rate

Steps = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class Recipe(Entry):
    """Steps and learning rate of a training, with batches of 100."""

    steps: Steps
    learning_rate: Rate


class Settings(ClaimEntry):
    """Settings of the trainings.

    Attributes:
        seeds: Number of trainings of each network.
        book: Plain SGD for the book's networks; published: 100,000 steps at 0.01.
        table: Adam for the table's networks; published: 6,000 steps at 0.01.
    """

    seeds: Annotated[int, Field(ge=2)]
    book: Recipe
    table: Recipe


def measure(settings: Settings, *, seed: int) -> Findings:
    """Train every network with every seed."""
    signals = trials.load_signals()
    shuffled = signals.permuted(np.random.default_rng(seed).permutation(40))
    plan: dict[str, list[trials.Trial]] = {}
    seeds = range(seed, seed + settings.seeds)
    for name, layers in (
        ("book_convolutional_error", trials.lecture_convolutional()),
        ("book_fully_connected_error", trials.lecture_fully_connected()),
    ):
        recipe = {"steps": settings.book.steps, "rate": settings.book.learning_rate}
        plan[name] = [trials.Trial(layers, signals, trial_seed, **recipe) for trial_seed in seeds]
    for name, layers in trials.benchmark_networks().items():
        recipe = {"steps": settings.table.steps, "rate": settings.table.learning_rate}
        for key, data in ((f"{name}_accuracy", signals), (f"{name}_shuffled_accuracy", shuffled)):
            plan[key] = [
                trials.Trial(layers, data, trial_seed, **recipe, optimizer="adam", shuffled=False)
                for trial_seed in seeds
            ]
    # The longest trainings first, so that all cores end at about the same time.
    order = sorted(plan, key=lambda key: -_cost(key))
    results = iter(trials.run_all(trials.test_error, [trial for key in order for trial in plan[key]]))
    errors = {key: np.array([next(results) for _ in seeds]) for key in order}
    values = {key: errors[key] if key.endswith("error") else 1 - errors[key] for key in plan}
    return _findings(settings, values)


def _findings(settings: Settings, values: dict[str, np.ndarray]) -> Findings:
    measured = {key: float(results.mean()) for key, results in values.items()}
    published = {**BOOK}
    for name, (plain, shuffled) in TABLE.items():
        published |= {f"{name}_accuracy": plain, f"{name}_shuffled_accuracy": shuffled}
    parameters = [
        Network(layers, 0).count for layers in (trials.lecture_convolutional(), trials.lecture_fully_connected())
    ]
    convolutional, connected = values["book_convolutional_error"], values["book_fully_connected_error"]
    drop = measured["cnn_accuracy"] - measured["cnn_shuffled_accuracy"]
    holds = (
        parameters == [2_050, 59_065]
        and convolutional.max() < connected.min()
        and measured["logistic_accuracy"] < measured["mlp_accuracy"] < measured["cnn_accuracy"]
        and drop > 0.1
        and abs(measured["mlp_accuracy"] - measured["mlp_shuffled_accuracy"]) < 0.05
    )
    is_published = (settings.book.steps, settings.book.learning_rate) == BOOK_RECIPE
    is_published &= (settings.table.steps, settings.table.learning_rate) == TABLE_RECIPE
    recipe = (
        "The published recipes: "
        if is_published
        else f"A shorter recipe than the published ones (SGD {settings.book.steps:,} steps at {settings.book.learning_rate:g}, "
        f"Adam {settings.table.steps:,} at {settings.table.learning_rate:g}; recipes/lab.yaml has those): "
    )
    spread = {key: float(results.std(ddof=1)) for key, results in values.items()}
    return Findings(
        claim=(
            "On MNIST-1D a convolutional network of 2,050 parameters makes fewer errors than a fully connected one of 59,065, and "
            "loses its advantage when the positions are shuffled."
        ),
        published=published,
        measured=measured | {"convolutional_parameters": parameters[0], "fully_connected_parameters": parameters[1]},
        spread=spread,
        holds=bool(holds),
        paragraph=(
            f"{recipe}over {settings.seeds} seeds the convolutional network errs on "
            f"{_percent(convolutional)} of the test signals (book: 17 %), the fully connected one on {_percent(connected)} (40 %). "
            "The data set's table, accuracy, shuffled in brackets: "
            + "; ".join(
                f"{name} {_percent(values[f'{name}_accuracy'])} [{_percent(values[f'{name}_shuffled_accuracy'])}], published "
                f"{plain * 100:.0f} [{shuffled * 100:.0f}]"
                for name, (plain, shuffled) in TABLE.items()
            )
            + ". ± is the standard deviation over the seeds."
        ),
        title="MNIST-1D: the book's experiment and the data set's table",
        draw=lambda figure: _draw(figure, values),
    )


def _cost(key: str) -> int:
    return ["logistic", "mlp", "cnn", "book_fully", "book_conv", "gru"].index(
        next(name for name in ("logistic", "mlp", "cnn", "book_fully", "book_conv", "gru") if key.startswith(name))
    )


def _percent(values: np.ndarray) -> str:
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f} %"


def _draw(figure: "Figure", values: dict[str, np.ndarray]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1, 3.4])
    names = ["convo-\nlutional\n2,050", "fully\nconnected\n59,065"]
    _pairs(left, names, [(values[key], BOOK[key]) for key in BOOK], "book: error, %")
    names, pairs = [], []
    for name, (plain, shuffled) in TABLE.items():
        names += [name, f"{name}\nshuffled"]
        pairs += [(values[f"{name}_accuracy"], plain), (values[f"{name}_shuffled_accuracy"], shuffled)]
    _pairs(right, names, pairs, "the data set's table: accuracy, %")
    right.set(ylim=(0, 115), yticks=range(0, 101, 20))
    right.legend(loc="upper left", ncols=2)


def _pairs(axes: "Axes", names: list[str], pairs: list[tuple[np.ndarray, float]], title: str) -> None:
    """Draw our means with their standard deviations, each beside the published number, in percent."""
    means = [100 * values.mean() for values, _ in pairs]
    deviations = [100 * values.std(ddof=1) for values, _ in pairs]
    slides.bars(axes, names, means, deviations, index=0, of=2, form=".0f", label="ours")
    published = [100 * value for _, value in pairs]
    slides.bars(axes, names, published, index=1, of=2, form=".0f", color=slides.SECOND, label="published")
    axes.set_title(title)
