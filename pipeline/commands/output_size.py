"""`cnnkeras output-size`: the lecture's formula with the numbers filled in, one line an axis."""

from cnnkeras.convolution import Padding, pad_amounts, transposed_output_size
from cnnkeras.convolution import output_size as convolved_output_size
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError

AXES = {1: ("length",), 2: ("height", "width")}
WORDS = ("valid", "same")
CONVOLUTION = "floor((L + 2P - D(K - 1) - 1) / S + 1)"
TRANSPOSED = "S(L - 1) + D(K - 1) + 1 - 2P"
SAME_TRANSPOSED = "S L"
ALEXNET = (224, 11, 4, 0, 1)  # its first layer, along an axis
WHY_55 = (
    "AlexNet's first layer has 55, not 54: 224 - 11 = 213 is no multiple of 4. The authors' code rounds up, so that its last window hangs 3 "
    "pixels over the edge; cnnkeras pads 3 zeros there (--padding takes as many at both ends), and Caffe crops 227 pixels, which give 55."
)


def run(
    size: str, *, kernel: str, stride: str = "1", padding: str = "0", dilation: str = "1", transposed: bool = False
) -> None:
    """Print the size of a convolution's (or pooling's) output along each axis, and how it comes about.

    Args:
        size: Of the input: "40", or "224x224" (height x width).
        kernel: "3", or "3x5".
        stride: "2", or one number an axis.
        padding: Zeros at each end: "1", "1x2", "valid" (none) or "same" (as Keras).
        dilation: "1", or one number an axis.
        transposed: Of the transposed convolution.

    Raises:
        InputError: Not a number, out of range, more than two axes, or a kernel that does not fit.
    """
    sizes = _numbers("SIZE", size)
    axes = len(sizes)
    kernels, strides = _numbers("--kernel", kernel, axes), _numbers("--stride", stride, axes)
    dilations = _numbers("--dilation", dilation, axes)
    paddings = [padding] * axes if padding in WORDS else _numbers("--padding", padding, axes)
    paddings = [0 if zeros == "valid" else zeros for zeros in paddings]
    explain = _transposed if transposed else _convolution
    try:
        results = [explain(*axis) for axis in zip(sizes, kernels, strides, paddings, dilations, strict=True)]
    except ValueError as error:
        raise InputError(str(error)) from error
    console = Console()
    formula = (SAME_TRANSPOSED if padding == "same" else TRANSPOSED) if transposed else CONVOLUTION
    console.print(formula)
    for axis, (filled, result) in zip(AXES[axes], results, strict=True):
        console.print(f"{axis}: {filled} = {result}", soft_wrap=True)
    console.print(f"output: {'x'.join(str(result) for _, result in results)}")
    if not transposed and ALEXNET in zip(sizes, kernels, strides, paddings, dilations, strict=True):
        console.print(WHY_55, soft_wrap=True)


def _numbers(name: str, text: str, axes: int | None = None) -> list[int]:
    """Whole numbers with x between them: one for each axis, or a single one for all of them; the input's size sets the axes."""
    parts = text.lower().split("x")
    if not all(part.isascii() and part.isdecimal() for part in parts):
        words = " (or valid, or same)" if name == "--padding" else ""
        raise InputError(f"expected whole numbers with x between them{words} for {name}; received: {text!r}")
    if axes is None and len(parts) not in AXES:
        raise InputError(f"expected one or two axes for {name}, for example 40 or 224x224; received: {text!r}")
    if axes is not None and len(parts) not in (1, axes):
        raise InputError(f"expected one number for {name}, or as many as SIZE has axes ({axes}); received: {text!r}")
    numbers = [int(part) for part in parts]
    return numbers if axes is None or len(numbers) == axes else numbers * axes


def _convolution(size: int, kernel: int, stride: int, padding: Padding, dilation: int) -> tuple[str, int]:
    """The formula with the numbers filled in, and what it gives."""
    result = convolved_output_size(size, kernel, stride, padding, dilation)
    before, after = pad_amounts(size, kernel, stride, padding, dilation)
    zeros = f"2*{before}" if before == after else f"{before} + {after}"
    return f"floor(({size} + {zeros} - {dilation}*({kernel} - 1) - 1) / {stride} + 1)", result


def _transposed(size: int, kernel: int, stride: int, padding: Padding, dilation: int) -> tuple[str, int]:
    """The formula with the numbers filled in, and what it gives."""
    result = transposed_output_size(size, kernel, stride, padding, dilation)
    if padding == "same":
        return f"{stride}*{size}", result
    zeros, _ = pad_amounts(size, kernel, stride, padding, dilation)
    return f"{stride}*({size} - 1) + {dilation}*({kernel} - 1) + 1 - 2*{zeros}", result
