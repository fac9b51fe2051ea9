"""Claim 2: fully connected networks learn the same from any fixed order of the inputs; convolutional ones need neighbours.

Prince, Understanding Deep Learning, section 10.1 and problem 10.1. If the weights of the first layer are permuted like the inputs, the
training is the same except for rounding; with independent initial weights it is the same in distribution. Measured on MNIST-1D and on
images of digits.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras.small_nets.networks import SGD, Network, orders, train
from pipeline.lab import slides, trials
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMAGE_RECIPE = {"optimizer": "adam", "batch_size": 50}
KINDS = ("fully_connected", "convolutional")
# From the table of MNIST-1D's authors (github.com/greydanus/mnist1d), of other networks and more steps: accuracies 68 and 68, 94 and 56 %.
PUBLISHED = {
    "signals_fully_connected_error": 0.32,
    "signals_fully_connected_permuted_error": 0.32,
    "signals_convolutional_error": 0.06,
    "signals_convolutional_permuted_error": 0.44,
}
ROUNDING = 1e-9  # max difference of losses that is due to float64 sums in another order, over the compared steps


class Settings(ClaimEntry):
    """Settings of the trainings.

    Attributes:
        seeds: Number of trainings of each network.
        exact_steps: Number of steps whose losses are compared between two trainings.
        signal_steps: Steps of a training on MNIST-1D (plain SGD, batches of 100).
        signal_rate: Learning rate on MNIST-1D.
        image_steps: Steps of a training on digits (Adam, batches of 50).
        image_rate: Learning rate on digits.
    """

    seeds: Annotated[int, Field(ge=2)]
    exact_steps: Annotated[int, Field(ge=1)] = 300
    signal_steps: Annotated[int, Field(ge=1)]
    signal_rate: Annotated[float, Field(gt=0)]
    image_steps: Annotated[int, Field(ge=1)]
    image_rate: Annotated[float, Field(gt=0)]


def measure(settings: Settings, *, seed: int) -> Findings:
    """Train on the examples with their positions in their own order and in another one."""
    rng = np.random.default_rng(seed)
    signals, digits = trials.load_signals(), trials.load_digits()
    images = trials.image_networks(8)
    plan = {}
    for name, data, layers, steps, rate in (
        (
            "signals_fully_connected",
            signals,
            trials.lecture_fully_connected(),
            settings.signal_steps,
            settings.signal_rate,
        ),
        ("signals_convolutional", signals, trials.lecture_convolutional(), settings.signal_steps, settings.signal_rate),
        (
            "images_fully_connected",
            digits,
            images["fully connected"],
            settings.image_steps,
            settings.image_rate,
        ),
        (
            "images_convolutional",
            digits,
            images["convolutional, mean"],
            settings.image_steps,
            settings.image_rate,
        ),
    ):
        order = rng.permutation(data.inputs.shape[1])
        for suffix, examples in (("", data), ("_permuted", data.permuted(order))):
            recipe = IMAGE_RECIPE if data is digits else {}
            plan[name + suffix] = [
                trials.Trial(layers, examples, seed + number, steps, rate, **recipe) for number in range(settings.seeds)
            ]
    results = iter(trials.run_all(trials.test_error, [trial for repeats in plan.values() for trial in repeats]))
    errors = {key: np.array([next(results) for _ in repeats]) for key, repeats in plan.items()}
    exact = {
        name: _same_trajectory(
            replace(plan[f"{name}_fully_connected"][0], steps=settings.exact_steps),
            rng.permutation(data.inputs.shape[1]),
        )
        for name, data in (("signals", signals), ("images", digits))
    }
    return _findings(settings, errors, exact)


def _same_trajectory(trial: trials.Trial, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Losses (steps,) of three trainings by plain SGD in float64.

    The first is on the inputs in their order, the second on permuted inputs with the first layer's weights permuted alike, the third on
    permuted inputs with the first layer's weights unchanged.
    """
    losses = []
    for data, permuted in (
        (trial.data, False),
        (trial.data.permuted(order), True),
        (trial.data.permuted(order), False),
    ):
        network = Network(trial.layers, trial.seed)
        network.parameters = [[values.astype(np.float64) for values in layer] for layer in network.parameters]
        if permuted:
            network.parameters[0][0] = network.parameters[0][0][order]
        batches = orders(len(data.inputs), trial.batch_size, trial.seed)
        losses.append(
            train(
                network,
                SGD(trial.rate),
                data.inputs.astype(np.float64),
                data.labels,
                batches=batches,
                steps=trial.steps,
            )
        )
    return tuple(losses)


def _findings(
    settings: Settings, errors: dict[str, np.ndarray], exact: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> Findings:
    difference, control = (
        {name: float(np.abs(losses[0] - losses[other]).max()) for name, losses in exact.items()} for other in (1, 2)
    )
    measured = {f"{key}_error": float(values.mean()) for key, values in errors.items()}
    rise = {
        f"{data}_{kind}": measured[f"{data}_{kind}_permuted_error"] - measured[f"{data}_{kind}_error"]
        for data in ("signals", "images")
        for kind in KINDS
    }
    # Four standard errors of the difference between two means over `seeds` trainings, from the larger spread; at least 2 %.
    noise = {
        key: max(
            0.02, 4 * (2 / settings.seeds) ** 0.5 * max(errors[key].std(ddof=1), errors[f"{key}_permuted"].std(ddof=1))
        )
        for key in rise
    }
    is_same = {key: abs(rise[key]) < noise[key] for key in rise if key.endswith("fully_connected")}
    is_worse = {key: rise[key] > noise[key] for key in rise if key.endswith("convolutional")}
    return Findings(
        claim=(
            "Fully connected networks learn the same from any fixed permutation of the inputs; convolutional networks do not."
        ),
        published=PUBLISHED,
        measured=measured
        | {f"{key}_rise": value for key, value in rise.items()}
        | {f"{name}_max_difference": value for name, value in difference.items()}
        | {f"{name}_difference_with_other_weights": value for name, value in control.items()},
        spread={f"{key}_error": float(values.std(ddof=1)) for key, values in errors.items()},
        holds=max(difference.values()) < ROUNDING < min(control.values())
        and all(is_same.values())
        and all(is_worse.values()),
        paragraph=(
            f"With the first layer's weights permuted like the inputs, {settings.exact_steps} losses of a training in float64 agree to "
            f"{difference['signals']:.1g} on MNIST-1D and {difference['images']:.1g} on digits; with other first weights they differ by "
            f"up to {control['signals']:.2g} and {control['images']:.2g}. Over {settings.seeds} seeds the test "
            f"error of the fully connected network changes by {_points(rise['signals_fully_connected'])} on MNIST-1D and "
            f"{_points(rise['images_fully_connected'])} on digits when the positions are permuted, that of the convolutional one by "
            f"{_points(rise['signals_convolutional'])} and {_points(rise['images_convolutional'])}. (MNIST-1D's table, other "
            "networks and more steps: errors of 32 and 32 against 6 and 44 %.)"
        ),
        title="The same pixels in another order",
        draw=lambda figure: _draw(figure, errors, exact["signals"]),
    )


def _points(rise: float) -> str:
    return f"{100 * rise:+.1f} points"


def _draw(figure: "Figure", errors: dict[str, np.ndarray], exact: tuple[np.ndarray, ...]) -> None:
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1, 1, 1])
    left.plot(exact[0], color=slides.FIRST, linewidth=6, alpha=0.4, label="as they are")
    left.plot(exact[1], color=slides.SECOND, linewidth=1.8, label="both permuted")
    left.set(xlabel="step", ylabel="loss", title="fully connected:\none training, twice")
    left.legend()
    for axes, data, title in (
        (middle, "signals", "MNIST-1D,\ntest error, %"),
        (right, "images", "digits 8x8,\ntest error, %"),
    ):
        for index, suffix, color, label in (
            (0, "", slides.FIRST, "as they are"),
            (1, "_permuted", slides.SECOND, "permuted"),
        ):
            values = [100 * errors[f"{data}_{kind}{suffix}"] for kind in KINDS]
            slides.bars(
                axes,
                ["fully\nconnected", "convo-\nlutional"],
                [percents.mean() for percents in values],
                [percents.std(ddof=1) for percents in values],
                index=index,
                of=2,
                size=16,
                color=color,
                label=label,
            )
        axes.set_title(title)
    right.legend(loc="upper left")
    right.margins(y=0.45)
