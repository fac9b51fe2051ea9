"""Claim 7: down-sampling by leaving out, maximum or mean; up-sampling by copying, unpooling, interpolation or transposed convolution.

Prince, Understanding Deep Learning, section 10.4, figures 10.11 to 10.13, and notebook 10.4, whose patch has known answers.
"""

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from cnnkeras import sampling
from cnnkeras.convolution import transposed_output_size
from cnnkeras.plain_convolution import convolution_matrix, convolve_1d
from pipeline.lab import slides
from pipeline.lab.claims import ClaimEntry, Findings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PATCH = np.array([[1, 3, 5, 3], [6, 2, 0, 8], [4, 6, 1, 4], [2, 8, 0, 3]])
# Notebook 10.4; the unpooling puts 6 to (1, 0), 8 to (1, 3), 8 to (3, 1), 4 to (2, 3).
ANSWERS: dict[str, list] = {
    "subsample": [[1, 5], [4, 1]],
    "max_pool": [[6, 8], [8, 4]],
    "mean_pool": [[3, 4], [5, 2]],
    "duplicate": [[6, 6, 8, 8], [6, 6, 8, 8], [8, 8, 4, 4], [8, 8, 4, 4]],
    "max_unpool": [[0, 0, 0, 0], [6, 0, 0, 8], [0, 0, 0, 4], [0, 8, 0, 0]],
    "bilinear": [[6, 7, 8, 4], [7, 7, 6, 3], [8, 6, 4, 2], [4, 3, 2, 1]],
    # By the kernel 1/2, 1, 1/2 along both axes: bilinear before the notebook's rounding up, (6 + 8 + 8 + 4) / 4 = 6.5.
    "transposed": [[6, 7, 8, 4], [7, 6.5, 6, 3], [8, 6, 4, 2], [4, 3, 2, 1]],
}
KERNEL = (1.0, 2.0, 3.0)


class Settings(ClaimEntry):
    """Nothing but what to draw.

    Attributes:
        digit: Which of scikit-learn's digits is the image, from 0.
    """

    digit: Annotated[int, Field(ge=0, lt=1797)] = 2


def measure(settings: Settings, *, seed: int) -> Findings:
    """The patch through every operation, and the transposed convolution by two definitions."""
    answers = _operations(PATCH)
    wrong = {name: int((answers[name] != np.array(expected)).sum()) for name, expected in ANSWERS.items()}
    rng = np.random.default_rng(seed)
    differences = [_transposed_difference(rng.normal(size=length)) for length in range(2, 12)]
    image = _digit(settings.digit)
    restored = _restored(image)
    errors = {name: _error(image, result) for name, result in restored.items() if name != "max_unpool"}
    measured = {
        "wrong_values": sum(wrong.values()),
        "operations_checked": len(wrong),
        "transposed_max_difference": float(max(differences)),
        "tent_against_bilinear": float(np.abs(restored["bilinear"] - restored["transposed"]).max()),
        **{f"image_error_{name}": value for name, value in errors.items()},
    }
    return Findings(
        claim=(
            "Resolution is lowered by leaving out, by the maximum or by the mean, and raised by copying, by unpooling with "
            "switches, by interpolation, or by the transpose of a strided convolution."
        ),
        published={},
        expected={"wrong_values": 0},
        measured=measured,
        holds=measured["wrong_values"] == 0
        and measured["transposed_max_difference"] < 1e-12
        and measured["tent_against_bilinear"] < 1e-12,
        paragraph=(
            f"All {len(wrong)} operations give the known answers for the book's 4x4 patch ({measured['wrong_values']} values differ). "
            "The transposed convolution (kernel 3, stride 2) as the transpose of the strided convolution's matrix equals the "
            f"sum of shifted kernels up to {measured['transposed_max_difference']:.1g}; with the kernel 1/2, 1, 1/2 it "
            f"is bilinear interpolation, up to {measured['tent_against_bilinear']:.1g}. A digit of 16x16 pixels through the "
            f"mean and back differs by {errors['duplicate']:.3f} (root mean square, of 0 to 1) by copying and by "
            f"{errors['bilinear']:.3f} by the book's bilinear interpolation, whose values sit at even places: half a pixel off."
        ),
        title="Down- and up-sampling: the book's patch, and a digit",
        draw=lambda figure: _draw(figure, answers, image, restored),
    )


def _operations(patch: np.ndarray) -> dict[str, np.ndarray]:
    """Every operation with a known answer; those that enlarge start from the maxima."""
    maxima, switches = sampling.max_pool(patch)
    return {
        "subsample": sampling.subsample(patch),
        "max_pool": maxima,
        "mean_pool": sampling.mean_pool(patch),
        "duplicate": sampling.duplicate(maxima),
        "max_unpool": sampling.max_unpool(maxima, switches),
        "bilinear": sampling.bilinear(maxima, np.ceil),
        "transposed": _transposed_2d(maxima),
    }


def _transposed_difference(values: np.ndarray) -> float:
    """Between the transposed matrix of a strided convolution and a kernel added at every second place, by hand."""
    length = transposed_output_size(len(values), len(KERNEL), stride=2)
    matrix = convolution_matrix(KERNEL, (length,), stride=2)
    np.testing.assert_array_equal(matrix @ np.arange(length), convolve_1d(np.arange(length), KERNEL, stride=2))
    added = np.zeros(length)
    for index, value in enumerate(values):
        added[2 * index : 2 * index + len(KERNEL)] += value * np.array(KERNEL)
    return float(np.abs(matrix.T @ values - added).max())


def _digit(index: int) -> np.ndarray:
    """One of scikit-learn's digits, 16 x 16, from 0 to 1."""
    from sklearn.datasets import load_digits

    return sampling.bilinear(load_digits().images[index] / 16)


def _restored(image: np.ndarray) -> dict[str, np.ndarray]:
    """An image made half as large, and as large as before again."""
    maxima, switches = sampling.max_pool(image)
    means = sampling.mean_pool(image)
    return {
        "duplicate": sampling.duplicate(means),
        "max_unpool": sampling.max_unpool(maxima, switches),
        "bilinear": sampling.bilinear(means),
        "transposed": _transposed_2d(means),
    }


def _transposed_2d(image: np.ndarray) -> np.ndarray:
    """The transposed convolution with the kernel 1/2, 1, 1/2 along both axes, stride 2: another way to interpolate."""
    half = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    sizes = tuple(2 * side for side in image.shape)
    matrix = convolution_matrix(half, sizes, stride=2, padding=((1, 0), (1, 0)))
    return (matrix.T @ image.reshape(-1)).reshape(sizes)


def _error(image: np.ndarray, restored: np.ndarray) -> float:
    return float(np.sqrt(np.mean((image - restored) ** 2)))


def _draw(figure: "Figure", answers: dict[str, np.ndarray], image: np.ndarray, restored: dict[str, np.ndarray]) -> None:
    grid = figure.subplots(3, 5)
    matrix = convolution_matrix(KERNEL, (8,), stride=2, padding=(1, 0)).T
    numbers = [
        ("the patch", PATCH),
        ("every second", answers["subsample"]),
        ("maximum", answers["max_pool"]),
        ("its switches", sampling.max_pool(PATCH)[1]),
        ("mean", answers["mean_pool"]),
        ("copies", answers["duplicate"]),
        ("unpooled", answers["max_unpool"]),
        ("bilinear", answers["bilinear"]),
        ("transp. conv.", answers["transposed"]),
        ("a matrix of it", matrix),
    ]
    for axes, (title, values) in zip(grid[:2].flat, numbers, strict=True):
        marked = answers["max_unpool"] > 0 if values is PATCH else None
        slides.show_numbers(axes, values, title, marked=marked, size=16 if values is matrix else 20)
    images = [
        ("a digit", image),
        ("mean", sampling.mean_pool(image)),
        ("mean, copied", restored["duplicate"]),
        ("max., unpooled", restored["max_unpool"]),
        ("mean, transp.", restored["transposed"]),
    ]
    for axes, (title, values) in zip(grid[2], images, strict=True):
        slides.show_image(axes, values, title)
