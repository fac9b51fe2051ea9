"""Claim 1: a fully connected first layer outgrows every machine as images grow; a convolution does not grow at all.

Prince, Understanding Deep Learning, section 10.1 (224 x 224 x 3 = 150,528 inputs) and 10.3.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras.convolution import multiply_adds, output_size, parameters
from cnnkeras.plain_convolution import convolution_matrix
from pipeline.drawing import colors
from pipeline.lab import slides
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 224
CHECKED = 6  # side of an image whose fully connected layer is small enough to be written out


class Settings(ClaimEntry):
    """Two first layers with the same maps as outputs, on square images.

    Attributes:
        sides: Images to compare, pixels; the last is the lecture's 224.
        channels: Of an image.
        filters: Maps that the layer gives.
        kernel: Of the convolution, which pads its edges ("same").
        memory_gib: Memory of a machine, in GiB.
        bytes_per_number: 4 for float32.
    """

    sides: Annotated[tuple[Annotated[int, Field(ge=4)], ...], Field(min_length=2)]
    channels: Annotated[int, Field(ge=1)] = 3
    filters: Annotated[int, Field(ge=1)] = 64
    kernel: Annotated[int, Field(ge=1)] = 3
    memory_gib: Annotated[float, Field(gt=0)] = 16.0
    bytes_per_number: Annotated[int, Field(ge=1)] = 4


def measure(settings: Settings, *, seed: int) -> Findings:
    """Count both layers at each size, and check the counts where both can be written out as a matrix."""
    fully_connected = {side: _fully_connected(settings, side) for side in settings.sides}
    convolution = {side: _convolution(settings, side) for side in settings.sides}
    memory = settings.memory_gib * 2**30
    largest = {
        name: _largest(lambda side, count=count: _bytes(settings, side, count(settings, side)[0]), memory)
        for name, count in (("fully_connected", _fully_connected), ("convolution", _convolution))
    }
    last = settings.sides[-1]
    measured = {
        "inputs": last * last * settings.channels,
        "fully_connected_parameters": fully_connected[last][0],
        "fully_connected_multiply_adds": fully_connected[last][1],
        "convolution_parameters": convolution[last][0],
        "convolution_multiply_adds": convolution[last][1],
        "fully_connected_max_side": largest["fully_connected"],
        "convolution_max_side": largest["convolution"],
        "growth_exponent": _growth(fully_connected),
        "miscounted": _miscounted(settings, seed),
    }
    lecture = (last, settings.channels, settings.filters, settings.kernel) == (LARGEST, 3, 64, 3)
    published = {"inputs": 150_528} if lecture else {}
    counts = {"fully_connected_parameters": 150_528 * 3_211_264 + 3_211_264, "convolution_parameters": 1_792}
    expected = counts if lecture else {}
    holds = (
        all(measured[key] == value for key, value in (published | expected).items())
        and measured["miscounted"] == 0
        and len({count for count, _ in convolution.values()}) == 1
        and measured["growth_exponent"] > 3.9
        and largest["fully_connected"] < last < largest["convolution"]
    )
    return Findings(
        claim=(
            "A fully connected first layer grows with the fourth power of an image's side and soon fits into no memory; "
            "a convolution's parameters do not grow."
        ),
        published=published,
        expected=expected,
        measured=measured,
        holds=holds,
        paragraph=(
            f"From {last}x{last}x{settings.channels} = {measured['inputs']:,} inputs to {settings.filters} maps of the same size, "
            f"fully connected: {_words(measured['fully_connected_parameters'])} parameters; convolution {settings.kernel}x"
            f"{settings.kernel}: {measured['convolution_parameters']:,}, at any size. With {settings.memory_gib:g} GiB for weights "
            f"and maps the first ends at {largest['fully_connected']} pixels a side, the second at "
            f"{largest['convolution']:,}. The fully connected count grows as side^{measured['growth_exponent']:.2f}."
        ),
        title=f"First layer: from an image to {settings.filters} maps of its size",
        draw=lambda figure: _draw(figure, settings, fully_connected, convolution, largest),
    )


def _fully_connected(settings: Settings, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    weights = (side * side * settings.channels, side * side * settings.filters)
    return parameters(weights), multiply_adds(weights)


def _convolution(settings: Settings, side: int) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    weights = (settings.kernel, settings.kernel, settings.channels, settings.filters)
    positions = output_size(side, settings.kernel, padding="same")
    return parameters(weights), multiply_adds(weights, (positions, positions))


def _bytes(settings: Settings, side: int, count: int) -> int:
    """Of a layer's parameters, and of one image and its maps."""
    return settings.bytes_per_number * (count + side * side * (settings.channels + settings.filters))


def _largest(needed, memory: float) -> int:
    """The largest side for which `needed(side)` bytes fit, by bisection."""
    fits, fails = 1, 2
    while needed(fails) <= memory:
        fits, fails = fails, 2 * fails
    while fails - fits > 1:
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if needed(middle) <= memory else (fits, middle)
    return fits


def _growth(counts: dict[int, tuple[int, int]]) -> float:
    """Slope of log parameters over log side."""
    sides, numbers = np.log(list(counts)), np.log([count for count, _ in counts.values()])
    return float(np.polyfit(sides, numbers, 1)[0])


def _miscounted(settings: Settings, seed: int) -> int:
    """By how much the counts differ from those of arrays that are really there, at a size where the matrix is small."""
    shape = (settings.kernel, settings.kernel, settings.channels, settings.filters)
    weights = np.random.default_rng(seed).normal(size=shape)
    matrix = convolution_matrix(weights, (CHECKED, CHECKED), padding="same")
    fully_connected, products = _fully_connected(settings, CHECKED)
    biases = len(matrix)
    return (
        abs(matrix.size + biases - fully_connected)
        + abs(matrix.size - products)
        + abs(len(np.unique(weights)) + settings.filters - _convolution(settings, CHECKED)[0])
    )


def _words(count: int) -> str:
    """1,792, or 87 million."""
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if count >= unit:
            return f"{count / unit:,.0f} {name}"
    return f"{count:,}"


def _draw(figure: "Figure", settings: Settings, fully_connected: dict, convolution: dict, largest: dict) -> None:
    left, right = figure.subplots(1, 2)
    sides = list(settings.sides)
    for axes, column, label in ((left, 0, "parameters"), (right, 1, "multiply-adds, one image")):
        for counts, name, color in (
            (fully_connected, "fully connected", slides.SECOND),
            (convolution, f"convolution {settings.kernel}x{settings.kernel}", slides.FIRST),
        ):
            values = [counts[side][column] for side in sides]
            axes.loglog(sides, values, "o-", color=color, label=name)
            axes.annotate(
                _words(values[-1]), (sides[-1], values[-1]), xytext=(-6, 14), textcoords="offset points", ha="right"
            )
        axes.set(title=label, xlabel="side of the image, pixels")
        axes.set_xticks(sides, [str(side) for side in sides])
        axes.minorticks_off()
        axes.margins(y=0.15)
    memory = settings.memory_gib * 2**30 / settings.bytes_per_number
    left.axhline(memory, color=colors.GREY, linestyle="--", linewidth=2.5)
    left.annotate(
        f"{settings.memory_gib:g} GiB: up to {largest['fully_connected']} pixels",
        (sides[0], memory),
        xytext=(0, 8),
        textcoords="offset points",
        color=colors.GREY,
    )
    right.legend(loc="upper left")
