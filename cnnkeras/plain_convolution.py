"""The convolution operation written out in NumPy: by its definition, and as a matrix.

"Convolution" has the meaning of the lecture and of all deep-learning libraries: cross-correlation, the kernel is not flipped
(Prince, Understanding Deep Learning, section 10.2: z_i = w_1 x_{i-1} + w_2 x_i + w_3 x_{i+1}). Padding is with zeros.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from cnnkeras.convolution import Padding, output_size, pad_amounts

Activation = Callable[[np.ndarray], np.ndarray] | None


def convolve_1d(
    inputs, weights, bias=0.0, stride: int = 1, padding: Padding = 0, dilation: int = 1, activation: Activation = None
) -> np.ndarray:
    """One-dimensional convolution by its definition, one output at a time: h_i = a[bias + sum over k, c of w_kc x_(i S + k D), c].

    Args:
        inputs: (L,) for one channel, or (L, C).
        weights: (K,) for one channel in and out, or (K, C, O).
        bias: A number, or (O,).
        stride: S.
        padding: As in `Window`.
        dilation: D.
        activation: a, a function from an array to one of the same shape; None: the identity.

    Returns:
        float64, (L',) for weights (K,), otherwise (L', O).

    Raises:
        ValueError: The shape of the weights does not fit the inputs, or the kernel does not fit into the padded input.
    """
    inputs, weights = np.asarray(inputs, "float64"), np.asarray(weights, "float64")
    has_one_channel = weights.ndim == 1
    inputs, weights = inputs.reshape(len(inputs), -1), weights.reshape(len(weights), *weights.shape[1:] or (1, 1))
    outputs = convolve_2d(inputs[None], weights[None], bias, (1, stride), (0, padding), (1, dilation), activation)[0]
    return outputs[:, 0] if has_one_channel else outputs


def convolve_2d(
    inputs, weights, bias=0.0, stride=1, padding=0, dilation=1, activation: Activation = None
) -> np.ndarray:
    """Two-dimensional convolution by its definition, one output position at a time.

    h_(i, j), o = a[bias_o + sum over m, n, c of w_mnco x_(i S + m D, j S + n D), c] on the zero-padded input.

    Args:
        inputs: (H, W) for one channel, or (H, W, C).
        weights: (K, L) for one channel in and out, or (K, L, C, O).
        bias: A number, or (O,).
        stride: One number, or a pair (down, across).
        padding: A padding as in `Window` for both axes, or a pair of them (down, across). A pair of numbers is (down, across): different
            numbers before and after need a pair of pairs.
        dilation: One number, or a pair (down, across).
        activation: a, a function from an array to one of the same shape; None: the identity.

    Returns:
        float64, (H', W') for weights (K, L), otherwise (H', W', O).

    Raises:
        ValueError: The shape of the weights does not fit the inputs, or the kernel does not fit into the padded input.
    """
    inputs, weights = np.asarray(inputs, "float64"), np.asarray(weights, "float64")
    has_one_channel = weights.ndim == 2
    inputs = inputs.reshape(*inputs.shape[:2], -1)
    weights = weights[:, :, None, None] if has_one_channel else weights
    if weights.ndim != 4 or inputs.shape[2] != weights.shape[2]:
        raise ValueError(
            f"expected weights (height, width, {inputs.shape[2]} channels, filters); received: shape {weights.shape}"
        )
    strides, dilations = _pair(stride), _pair(dilation)
    axes = list(zip(inputs.shape[:2], weights.shape[:2], strides, _pair(padding), dilations, strict=True))
    height, width = (output_size(*axis) for axis in axes)
    padded = np.pad(inputs, [*(pad_amounts(*axis) for axis in axes), (0, 0)])
    outputs = np.empty((height, width, weights.shape[3]))
    for i in range(height):
        for j in range(width):
            rows = i * strides[0] + np.arange(weights.shape[0]) * dilations[0]
            columns = j * strides[1] + np.arange(weights.shape[1]) * dilations[1]
            outputs[i, j] = np.einsum("mnc,mnco->o", padded[np.ix_(rows, columns)], weights) + bias
    outputs = outputs if activation is None else activation(outputs)
    return outputs[:, :, 0] if has_one_channel else outputs


def taps(sizes: Sequence[int], kernel: Sequence[int], stride=1, padding=0, dilation=1) -> np.ndarray:
    """A convolution as a table: the index of the input under each tap of the kernel at each position of the output.

    Args:
        sizes: Length, or height and width, of the input.
        kernel: Sides of the kernel.
        stride: One number, or one an axis.
        padding: As for `convolve_2d`; for a single axis a pair is the zeros before and after.
        dilation: One number, or one an axis.

    Returns:
        int64 (positions of the output, taps), both in row-major order: the index of the input in row-major order, or, for a tap on a
        padded zero, the number of inputs.

    Raises:
        ValueError: As `output_size`.
    """
    axes = len(sizes)
    table, is_inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
    arguments = zip(
        sizes,
        kernel,
        _one_an_axis(stride, axes),
        _one_an_axis(padding, axes),
        _one_an_axis(dilation, axes),
        strict=True,
    )
    for size, side, step, zeros, spread in arguments:
        before, _ = pad_amounts(size, side, step, zeros, spread)
        starts = np.arange(output_size(size, side, step, zeros, spread)) * step - before
        indices = starts[:, None] + np.arange(side) * spread
        is_inside_axis = (indices >= 0) & (indices < size)
        shape = (table.shape[0] * indices.shape[0], table.shape[1] * indices.shape[1])
        table = (table[:, None, :, None] * size + indices[None, :, None, :]).reshape(shape)
        is_inside = (is_inside[:, None, :, None] & is_inside_axis[None, :, None, :]).reshape(shape)
    return np.where(is_inside, table, math.prod(sizes))


def convolution_matrix(weights, sizes: Sequence[int], stride=1, padding=0, dilation=1) -> np.ndarray:
    """The matrix of a convolution as a fully connected layer: a Toeplitz matrix.

    Each block of rows holds the same few weights, and zeros elsewhere.
    Prince, Understanding Deep Learning, figure 10.4. Its transpose is the transposed convolution of the same numbers
    (figure 10.13).

    Args:
        weights: (K,), (K, C, O), (K, L) or (K, L, C, O), as for `convolve_1d` and `convolve_2d`.
        sizes: Length, or height and width, of the input.
        stride: As for `taps`.
        padding: As for `taps`.
        dilation: As for `taps`.

    Returns:
        float64 (positions of the output x O, positions of the input x C); its product with the flattened input is the flattened
        output.

    Raises:
        ValueError: As `output_size`.
    """
    weights = np.asarray(weights, "float64")
    axes = len(sizes)
    weights = weights.reshape(*weights.shape[:axes], *(weights.shape[axes:] or (1, 1)))
    *kernel, channels, filters = weights.shape
    table = taps(sizes, kernel, stride, padding, dilation)
    # The last input represents the padded zeros.
    matrix = np.zeros((len(table), filters, math.prod(sizes) + 1, channels))
    for tap, weight in enumerate(weights.reshape(-1, channels, filters)):
        matrix[np.arange(len(table)), :, table[:, tap]] += weight.T
    return matrix[:, :, :-1].reshape(len(table) * filters, -1)


def insert_zeros(weights, dilation: int, axes: int) -> np.ndarray:
    """The dense kernel equal to a dilated one: `dilation` - 1 zeros between neighbouring taps along the first `axes` axes."""
    weights = np.asarray(weights, "float64")
    sides = [dilation * (side - 1) + 1 for side in weights.shape[:axes]]
    dense = np.zeros((*sides, *weights.shape[axes:]))
    dense[(slice(None, None, dilation),) * axes] = weights
    return dense


def _pair(value):
    return _one_an_axis(value, 2)


def _one_an_axis(value, axes: int) -> tuple:
    """One value for each axis; for a single axis a pair is one value, the zeros before and after."""
    if axes == 1 and isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return (tuple(value),)
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * axes
