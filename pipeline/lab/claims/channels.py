"""Claim 6: one convolution loses information; several channels (feature maps) side by side keep it.

Prince, Understanding Deep Learning, section 10.2.5. Three networks for MNIST-1D with the book's three convolutions (kernel 3, stride 2)
and one, five or fifteen channels. Networks with fewer channels have a hidden layer after the convolutions, so that all three have about
the book's 2,050 parameters.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras.small_nets.layers import Convolution, Dense, Layer, Relu
from cnnkeras.small_nets.networks import Network
from pipeline.lab import slides, trials
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LENGTHS = (40, 19, 9, 4)


class Settings(ClaimEntry):
    """Settings of the trainings.

    Attributes:
        channels: For each network, the channels of its convolutions, from few to many; 15 is the book's network.
        seeds: Number of trainings of each network.
        steps: Steps of plain SGD with batches of 100.
        rate: Learning rate.
    """

    channels: Annotated[tuple[Annotated[int, Field(ge=1, le=15)], ...], Field(min_length=2)] = (1, 5, 15)
    seeds: Annotated[int, Field(ge=2)]
    steps: Annotated[int, Field(ge=1)]
    rate: Annotated[float, Field(gt=0)]


def measure(settings: Settings, *, seed: int) -> Findings:
    """Train each network with each seed."""
    signals = trials.load_signals()
    networks = {channels: build_layers(channels) for channels in settings.channels}
    plan = [
        trials.Trial(layers, signals, seed + number, settings.steps, settings.rate)
        for layers in networks.values()
        for number in range(settings.seeds)
    ]
    results = np.array(trials.run_all(trials.test_error, plan)).reshape(len(networks), settings.seeds)
    errors = dict(zip(networks, results, strict=True))
    counts = {channels: Network(layers, 0).count for channels, layers in networks.items()}
    measured = {f"error_{channels}_channels": float(values.mean()) for channels, values in errors.items()}
    measured |= {f"parameters_{channels}_channels": count for channels, count in counts.items()}
    first, last = settings.channels[0], settings.channels[-1]
    holds = errors[first].min() > errors[last].max() and max(counts.values()) < 1.05 * min(counts.values())
    return Findings(
        claim="With the same number of parameters, several channels learn what one channel cannot.",
        published={"parameters_15_channels": 2_050} if 15 in counts else {},
        measured=measured,
        spread={f"error_{channels}_channels": float(values.std(ddof=1)) for channels, values in errors.items()},
        holds=bool(holds),
        paragraph=(
            f"MNIST-1D, plain SGD, {settings.steps:,} steps at {settings.rate:g}, {settings.seeds} seeds; test error: "
            + "; ".join(
                f"{channels} channel{'s' * (channels > 1)} ({counts[channels]:,} parameters) {100 * values.mean():.1f} ± "
                f"{100 * values.std(ddof=1):.1f} %"
                for channels, values in errors.items()
            )
            + "."
        ),
        title="One channel or several, with equally many parameters",
        draw=lambda figure: _draw(figure, errors, counts),
    )


def build_layers(channels: int) -> list[Layer]:
    """The book's convolutions with this number of channels, and a hidden layer with about the parameters that are missing to 2,050."""
    layers: list[Layer] = []
    input_channels = 1
    for length in LENGTHS[:-1]:
        layers += [Convolution((length,), input_channels, channels, (3,), 2), Relu()]
        input_channels = channels
    flat = LENGTHS[-1] * channels
    missing = 2_050 - Network(layers, 0).count
    hidden = round((missing - trials.CLASSES) / (flat + 1 + trials.CLASSES))
    if channels == 15:
        return [*layers, Dense(flat, trials.CLASSES)]
    return [*layers, Dense(flat, hidden), Relu(), Dense(hidden, trials.CLASSES)]


def _draw(figure: "Figure", errors: dict[int, np.ndarray], counts: dict[int, int]) -> None:
    axes = figure.subplots()
    names = [f"{channels} channel{'s' * (channels > 1)}\n{counts[channels]:,} parameters" for channels in errors]
    slides.bars(
        axes,
        names,
        [100 * values.mean() for values in errors.values()],
        [100 * values.std(ddof=1) for values in errors.values()],
    )
    axes.set_ylabel("MNIST-1D, test error, %")
