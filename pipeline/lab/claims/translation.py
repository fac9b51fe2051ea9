"""Claim 3: a convolution is equivariant to translation - inside the image, and by whole strides; what learns with it suffers less.

Prince, Understanding Deep Learning, section 10.1 (equivariance) and 10.2.3 (padding changes the border). A layer is equivariant
if f(shift(x)) = shift(f(x)).
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, model_validator

from cnnkeras.plain_convolution import convolve_2d
from cnnkeras.sampling import max_pool
from pipeline.lab import slides, trials
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BORDER = 4  # a shift of up to 3 and a kernel that reaches 1: outputs at least this far from an edge meet neither

DIGIT_SIDE = 8  # pixels of a digit of scikit-learn


class Settings(ClaimEntry):
    """How long, and how often.

    Attributes:
        side: Of the images, in whose middle an 8x8 digit lies.
        shifts: Largest shift of the test digits, pixels to the left and to the right.
        seeds: Trainings of each network.
        steps: Of Adam with batches of 50.
        rate: Its learning rate.
    """

    side: Annotated[int, Field(ge=12, le=256)] = 16
    shifts: Annotated[int, Field(ge=2)] = 4
    seeds: Annotated[int, Field(ge=2)]
    steps: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _stay_inside(self) -> "Settings":
        if self.shifts > (self.side - DIGIT_SIDE) // 2:
            raise ValueError(
                f"shifts: expected at most {(self.side - DIGIT_SIDE) // 2}, which leave the digit whole; received: {self.shifts}"
            )
        return self


def measure(settings: Settings, *, seed: int) -> Findings:
    """Both sides of f(shift(x)) = shift(f(x)), and networks trained on centred digits, tested on shifted ones."""
    gaps = _equivariance(np.random.default_rng(seed))
    data = trials.load_digits(settings.side)
    shifts = list(range(-settings.shifts, settings.shifts + 1))
    networks = trials.image_networks(settings.side)
    plan = [
        trials.Trial(layers, data, seed + each, settings.steps, settings.rate, 50, "adam")
        for layers in networks.values()
        for each in range(settings.seeds)
    ]
    results = np.array(trials.run_all(_Shifted(tuple(shifts)), plan)).reshape(
        len(networks), settings.seeds, len(shifts)
    )
    return _findings(settings, gaps, dict(zip(networks, results, strict=True)), shifts)


class _Shifted:
    """Accuracy of a trial's network on its test images, shifted sideways by each of some pixels."""

    def __init__(self, shifts: tuple[int, ...]):
        self._shifts = shifts

    def __call__(self, trial: trials.Trial) -> list[float]:
        network, _ = trial.train()
        images = trial.data.test_inputs.reshape(-1, *trial.data.sizes)
        accuracies = []
        for shift in self._shifts:
            shifted = _shift(images, shift, axis=2).reshape(trial.data.test_inputs.shape)
            accuracies.append(1 - network.error(shifted, trial.data.test_labels))
        return accuracies


def _shift(values: np.ndarray, by: int, axis: int) -> np.ndarray:
    """Moved by so many places, with zeros coming in."""
    moved = np.roll(values, by, axis)
    entering = [slice(None)] * values.ndim
    entering[axis] = slice(0, by) if by > 0 else slice(values.shape[axis] + by, None)
    if by:
        moved[tuple(entering)] = 0
    return moved


def _equivariance(rng: np.random.Generator) -> dict[str, float]:
    """Largest |f(shift(x)) - shift(f(x))|, relative to the largest |f(x)|, of several f, for one random image."""
    image, kernel = rng.normal(size=(20, 20)), rng.normal(size=(3, 3))

    def dense(x: np.ndarray) -> np.ndarray:
        return convolve_2d(x, kernel, padding=1)

    def strided(x: np.ndarray) -> np.ndarray:
        return convolve_2d(x, kernel, padding=1, stride=2)

    def gap(function, by: int, stride: int, border: int) -> float:
        there = function(_shift(image, by, axis=1))
        back = _shift(function(image), by // stride, axis=1)
        inside = slice(border, -border or None), slice(border, -border or None)
        return float(np.abs(there - back)[inside].max() / np.abs(back).max())

    rolled = np.roll(dense(image), 3, axis=1) - dense(np.roll(image, 3, axis=1))
    return {
        "interior": max(gap(dense, by, 1, BORDER) for by in (1, 2, 3)),
        "with_border": max(gap(dense, by, 1, 0) for by in (1, 2, 3)),
        "border_rolled": float(np.abs(rolled).max() / np.abs(dense(image)).max()),
        "stride_2_shift_2": gap(strided, 2, 2, BORDER),
        "stride_2_shift_1": min(gap(strided, 1, 2, BORDER), _off_stride(strided, image)),
        "pooled_shift_1": gap(lambda x: max_pool(dense(x))[0], 1, 2, BORDER),
    }


def _off_stride(function, image: np.ndarray) -> float:
    """The same with the output moved by one place instead of none: a shift by half a stride is neither."""
    there, back = function(_shift(image, 1, axis=1)), _shift(function(image), 1, axis=1)
    inside = slice(BORDER, -BORDER), slice(BORDER, -BORDER)
    return float(np.abs(there - back)[inside].max() / np.abs(back).max())


def _findings(
    settings: Settings, gaps: dict[str, float], accuracies: dict[str, np.ndarray], shifts: list[int]
) -> Findings:
    centre = shifts.index(0)
    one, two = [centre - 1, centre + 1], [centre - 2, centre + 2]
    measured: dict[str, float] = {f"gap_{key}": value for key, value in gaps.items()}
    spread: dict[str, float] = {}
    for name, accuracy in accuracies.items():
        key = name.replace(", ", "_").replace(" ", "_")
        for condition, values in (
            ("centred", accuracy[:, centre]),
            ("shifted_1", accuracy[:, one].mean(axis=1)),
            ("shifted_2", accuracy[:, two].mean(axis=1)),
        ):
            measured[f"{key}_{condition}"] = float(values.mean())
            spread[f"{key}_{condition}"] = float(values.std(ddof=1))
    bears = {
        name: _bears(accuracy[:, two], accuracies["fully connected"][:, two]) for name, accuracy in accuracies.items()
    }
    holds = (
        gaps["interior"] < 1e-12
        and gaps["stride_2_shift_2"] < 1e-12
        and min(gaps["with_border"], gaps["border_rolled"], gaps["stride_2_shift_1"]) > 0.01
        and bears["convolutional, mean"]
    )
    return Findings(
        claim=(
            "Convolutions are equivariant to translation in the interior, not at padded borders nor by parts of a stride; "
            "a convolutional network that takes the mean over all places bears shifts by whole strides that a fully connected one does not."
        ),
        published={},
        measured=measured,
        spread=spread,
        holds=bool(holds),
        paragraph=(
            f"Shifting before or after a convolution makes a difference of {gaps['interior']:.1g} (relative to the largest output) in the "
            f"interior, {gaps['with_border']:.2f} at the zero-padded border; with stride 2, {gaps['stride_2_shift_2']:.1g} for a shift of "
            f"2 and {gaps['stride_2_shift_1']:.2f} for a shift of 1; with 2x2 maxima and a shift of 1, {gaps['pooled_shift_1']:.2f}. Trained "
            f"on centred digits and tested two pixels off, over {settings.seeds} seeds: "
            + "; ".join(
                f"{name} {100 * accuracy[:, centre].mean():.0f} % centred, {100 * accuracy[:, two].mean():.0f} ± "
                f"{100 * accuracy[:, two].mean(axis=1).std(ddof=1):.0f} % shifted"
                for name, accuracy in accuracies.items()
            )
            + f". {_verdicts(bears)} By one pixel, half a stride of its second layer, the last one falls to {100 * measured['convolutional_mean_shifted_1']:.0f} ± "
            f"{100 * spread['convolutional_mean_shifted_1']:.0f} %."
        ),
        title="Trained on centred digits, tested on shifted ones",
        draw=lambda figure: _draw(figure, gaps, accuracies, shifts),
    )


def _bears(shifted: np.ndarray, fully_connected: np.ndarray) -> bool:
    """Whether a network is better on shifted digits than the fully connected one, by more than twice either's spread over the seeds."""
    means, others = shifted.mean(axis=1), fully_connected.mean(axis=1)
    return bool(means.mean() - others.mean() > 2 * max(means.std(ddof=1), others.std(ddof=1)))


def _verdicts(bears: dict[str, bool]) -> str:
    """What the numbers of each network say."""
    words = {
        "convolutional": (
            "Without it, equivariant layers bear the shift, too, better than the fully connected network.",
            "Equivariant layers alone do not: without that mean, a convolutional network falls as the fully connected one does.",
        ),
        "convolutional, mean": (
            "The mean over all places makes the answer bear a shift by a whole stride.",
            "The mean over all places does not make the answer bear the shift.",
        ),
    }
    return " ".join(words[name][not bears[name]] for name in ("convolutional, mean", "convolutional"))


def _draw(figure: "Figure", gaps: dict[str, float], accuracies: dict[str, np.ndarray], shifts: list[int]) -> None:
    left, right = figure.subplots(1, 2, width_ratios=[1.3, 1])
    for color, (name, accuracy) in zip((slides.SECOND, slides.FIRST, slides.THIRD), accuracies.items(), strict=True):
        left.errorbar(
            shifts,
            100 * accuracy.mean(axis=0),
            100 * accuracy.std(axis=0, ddof=1),
            fmt="o-",
            color=color,
            capsize=6,
            label=name,
        )
    left.set(xlabel="shift of the test digits, pixels", ylabel="accuracy, %", ylim=(0, 105))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=3)
    names = {
        "interior": "interior",
        "with_border": "zero-padded\nborder",
        "stride_2_shift_2": "stride 2,\nshift 2",
        "stride_2_shift_1": "stride 2,\nshift 1",
    }
    slides.bars(right, list(names.values()), [round(gaps[key], 3) for key in names])
    right.tick_params(axis="x", labelsize=14)
    right.set_title("|f(shift x) - shift f(x)|")
