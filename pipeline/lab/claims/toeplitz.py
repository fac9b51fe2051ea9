"""Claim 5: a convolution is a fully connected layer with most weights zero and the others shared.

Prince, Understanding Deep Learning, figure 10.4 and section 10.2.4: D D + D parameters from D values to D, 3 + 1 of a kernel of 3.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras.convolution import parameters
from cnnkeras.plain_convolution import convolution_matrix, convolve_1d, convolve_2d
from pipeline.drawing import colors
from pipeline.lab import slides
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE = 1e-12  # of sums of a few products in float64


class Settings(ClaimEntry):
    """Random convolutions against their matrices.

    Attributes:
        length: D of the signal whose parameters are counted.
        trials: Random settings of size, kernel, stride, padding, dilation and channels, half of them in two dimensions.
    """

    length: Annotated[int, Field(ge=3)] = 40
    trials: Annotated[int, Field(ge=2)] = 200


def measure(settings: Settings, *, seed: int) -> Findings:
    """Compare outputs over random settings, and count the numbers that one matrix holds."""
    rng = np.random.default_rng(seed)
    difference = max(_difference(rng, axes=1 + trial % 2) for trial in range(settings.trials))
    length = settings.length
    weights = rng.normal(size=3)
    matrix = convolution_matrix(weights, (length,), padding=1)
    measured = {
        "max_difference": difference,
        "trials": settings.trials,
        "fully_connected_parameters": parameters(matrix.shape),
        "convolution_parameters": len(np.unique(matrix[matrix != 0])) + 1,
        "zero_fraction": float((matrix == 0).mean()),
        "max_uses_of_a_weight": int(np.unique(matrix[matrix != 0], return_counts=True)[1].max()),
    }
    expected = {"fully_connected_parameters": length * length + length, "convolution_parameters": 3 + 1}
    return Findings(
        claim="A convolution is a fully connected layer that is constrained: most weights are zero, the others are shared.",
        published={},
        expected=expected,
        measured=measured,
        holds=difference < TOLERANCE and all(measured[key] == value for key, value in expected.items()),
        paragraph=(
            f"Over {settings.trials} random convolutions in one and two dimensions, matrix and definition differ by at most "
            f"{difference:.1g}. For {length} values and a kernel of 3 the matrix has {measured['fully_connected_parameters']:,} "
            f"parameters with biases, of which {measured['zero_fraction']:.0%} of the weights are zero; the convolution learns "
            f"{measured['convolution_parameters']}, each weight being used up to {measured['max_uses_of_a_weight']} times."
        ),
        title="A convolution is a matrix: one colour, one weight",
        draw=_draw,
    )


def _difference(rng: np.random.Generator, *, axes: int) -> float:
    """Largest difference between a random convolution and its matrix."""
    sizes = tuple(rng.integers(5, 12, axes).tolist())
    kernel = tuple(rng.integers(1, 4, axes).tolist())
    stride, dilation = tuple(rng.integers(1, 4, axes).tolist()), tuple(rng.integers(1, 3, axes).tolist())
    padding = tuple([0, 1, (0, 2), "same"][choice] for choice in rng.integers(0, 4, axes))
    channels, filters = rng.integers(1, 4, 2)
    weights = rng.normal(size=(*kernel, channels, filters))
    inputs = rng.normal(size=(*sizes, channels))
    if axes == 1:
        outputs = convolve_1d(inputs, weights, 0.0, stride[0], padding[0], dilation[0])
    else:
        outputs = convolve_2d(inputs, weights, 0.0, stride, padding, dilation)
    matrix = convolution_matrix(weights, sizes, stride, padding, dilation)
    return float(np.abs(matrix @ inputs.reshape(-1) - outputs.reshape(-1)).max())


def _draw(figure: "Figure") -> None:
    from matplotlib.colors import ListedColormap

    taps = ListedColormap(["#ffffff", *slides.COLORS])
    cases = [
        ("fully connected", None, {}),
        ("kernel 3, valid", [1, 2, 3], {}),
        ("kernel 3, zero padding", [1, 2, 3], {"padding": 1}),
        ("kernel 3, stride 2", [1, 2, 3], {"padding": 1, "stride": 2}),
        ("kernel 3, dilation 2", [1, 2, 3], {"padding": 2, "dilation": 2}),
        ("dilation 4: three zeros", [1, 2, 3], {"padding": 4, "dilation": 4}),  # between two taps
    ]
    rng = np.random.default_rng(0)
    for axes, (title, weights, options) in zip(figure.subplots(2, 3).flat, cases, strict=True):
        if weights is None:
            matrix, options = rng.uniform(size=(10, 10)), {"cmap": "twilight"}
        else:
            matrix, options = convolution_matrix(weights, (10,), **options), {"cmap": taps, "vmin": 0, "vmax": 5}
        axes.pcolormesh(matrix, edgecolors=colors.LINE, linewidth=1.2, **options)
        axes.set(xlim=(0, 15), ylim=(10, 0), xticks=[], yticks=[], aspect="equal", anchor="W")
        axes.set_title(title, loc="left")
        axes.grid(False)
        axes.spines[:].set_visible(False)
        count = len(np.unique(matrix[matrix != 0]))
        numbers = f"10 inputs\n{len(matrix)} outputs\n{count} weights"
        axes.text(10.4, len(matrix) / 2, numbers, ha="left", va="center", fontsize=17)
