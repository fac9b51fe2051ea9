"""The arithmetic of sliding windows, and the convolution operation written out in NumPy.

"Convolution" has the meaning of the lecture and of all deep-learning libraries: cross-correlation, the kernel is not flipped
(Prince, Understanding Deep Learning, section 10.2: z_i = w_1 x_{i-1} + w_2 x_i + w_3 x_{i+1}). Padding is with zeros.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Padding = int | tuple[int, int] | str
Activation = Callable[[np.ndarray], np.ndarray] | None


@dataclass(frozen=True)
class Window:
    """A layer that slides a window along each axis of its input.

    Attributes:
        name: The layer's name.
        kernel: Number of taps of the window along an axis.
        stride: Step of the window, in values.
        padding: Zeros before and after: one number for both, a pair, "valid" (none), or "same" (as in Keras: ceil(L / S) outputs).
        dilation: Distance between two taps, in values; 1 is a dense kernel.
    """

    name: str
    kernel: int
    stride: int = 1
    padding: Padding = 0
    dilation: int = 1


def pad_amounts(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> tuple[int, int]:
    """The numbers of zeros before and after an axis of length `size`.

    "same" pads max((ceil(L / S) - 1) S + D (K - 1) + 1 - L, 0) zeros, of an odd number the extra one at the end. So for K = 3, S = 2
    and even L there is none before, and the windows are at other positions than with a padding of 1.

    Raises:
        ValueError: A number is out of range, or `padding` is another word.
    """
    for name, value in (("size", size), ("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if value < 1:
            raise ValueError(f"expected a {name} of at least 1; received: {value}")
    if padding == "valid":
        return 0, 0
    if padding == "same":
        total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
        return total // 2, total - total // 2
    if isinstance(padding, str):
        raise ValueError(f"expected a padding of 'valid', 'same' or a number of zeros; received: {padding!r}")
    before, after = (padding, padding) if isinstance(padding, int) else padding
    if before < 0 or after < 0:
        raise ValueError(f"expected a padding of at least 0; received: {padding}")
    return before, after


def output_size(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> int:
    """Length of the output of a convolution or pooling along one axis: floor((L + P - D (K - 1) - 1) / S + 1).

    L is the input's length, P the total number of padded zeros (2P in the lecture's formula, with P at both ends), K the kernel, S
    the stride, D the dilation. Prince, Understanding Deep Learning, section 10.2; Caffe's conv_layer.cpp computes the same.

    Raises:
        ValueError: The kernel does not fit into the padded input, or a number is out of range.
    """
    before, after = pad_amounts(size, kernel, stride, padding, dilation)
    extent = dilation * (kernel - 1) + 1
    if size + before + after < extent:
        raise ValueError(
            f"expected an input of at least {extent - before - after} for a kernel that spans {extent} "
            f"with {before + after} padded zeros; received: {size}. Enlarge the input or the padding"
        )
    return (size + before + after - extent) // stride + 1


def transposed_output_size(size: int, kernel: int, stride: int = 1, padding: Padding = 0, dilation: int = 1) -> int:
    """Length of a transposed convolution's output along one axis: S (L - 1) + D (K - 1) + 1 - P.

    P is the total number of values cut off at both ends (2P with P at each end). "valid" cuts nothing. "same" gives S L, as in
    Keras. If the kernel is shorter than the stride, Keras appends zeros up to the stride, for "valid" too; here, as in Caffe's
    deconv_layer.cpp, the output of "valid" ends with the last tap. A convolution with the same numbers maps an input of this length
    to `size` values without remainder.

    Raises:
        ValueError: The padding cuts off all values, or a number is out of range.
    """
    if padding == "same":
        pad_amounts(size, kernel, stride, 0, dilation)
        return size * stride
    before, after = pad_amounts(size, kernel, stride, padding, dilation)
    length = stride * (size - 1) + dilation * (kernel - 1) + 1 - before - after
    if length < 1:
        raise ValueError(
            f"expected a padding that does not cut off all of {length + before + after} values; received: {padding}. Pad less"
        )
    return length


def output_sizes(sizes: Sequence[int], stack: Sequence[Window]) -> tuple[int, ...]:
    """Length of the output along each axis after a stack of layers.

    Raises:
        ValueError: A layer's window does not fit; the message names the layer and the minimum size of the input.
    """
    for axis in sizes:
        length = axis
        for window in stack:
            try:
                length = output_size(length, window.kernel, window.stride, window.padding, window.dilation)
            except ValueError:
                received = "x".join(str(size) for size in sizes)
                minimum = "x".join([str(min_input_size(stack))] * len(sizes))
                raise ValueError(
                    f"expected an input of at least {minimum}, so that the window of {window.name!r} fits; "
                    f"received: {received}. Enlarge the input or choose a shallower network"
                ) from None
    return tuple(_length(size, stack) for size in sizes)


def min_input_size(stack: Sequence[Window]) -> int:
    """Minimum length of an axis for which a stack of layers has an output; computed from the last layer to the first."""
    length = 1
    for window in reversed(stack):
        size = 1
        while _output_or_zero(size, window) < length:
            size += 1
        length = size
    return length


def receptive_field(stack: Sequence[Window]) -> int:
    """Number of input values along an axis that one output of a stack of layers depends on.

    1 + the sum over the layers of D (K - 1) times the product of the strides of the layers before.
    Prince, Understanding Deep Learning, section 10.2.6 and problems 10.9 to 10.11.
    """
    reach = Reach()
    for window in stack:
        reach = reach.through(window.dilation * (window.kernel - 1) + 1, window.stride)
    return reach.field


@dataclass(frozen=True)
class Reach:
    """The receptive field of the values of a map, along one axis.

    Attributes:
        field: Number of input values that a value of the map depends on.
        jump: Distance between the receptive fields of neighbouring values, in values of the input.
    """

    field: float = 1
    jump: float = 1

    def through(self, taps: int, stride: float = 1) -> "Reach":
        """The reach after a layer whose window covers `taps` neighbouring values and moves by `stride` values."""
        return Reach(self.field + (taps - 1) * self.jump, self.jump * stride)


def parameters(weights: Sequence[int], *, bias: bool = True) -> int:
    """Number of parameters of a layer with weights of this shape, and a bias for each index of the last axis.

    Prince, Understanding Deep Learning, sections 10.2.5 and 10.3: C_i C_o K + C_o in one dimension, C_i C_o K K + C_o in two;
    section 10.2.4: D D + D of a fully connected layer from D to D values.
    """
    return math.prod(weights) + bias * weights[-1]


def multiply_adds(weights: Sequence[int], positions: Sequence[int] = ()) -> int:
    """Number of multiply-adds of a layer for one example: each weight is used once at every position of the output.

    Args:
        weights: Shape of the layer's weights.
        positions: Sides of the layer's output; of its input for a transposed convolution; none for a fully connected layer.
    """
    return math.prod(weights) * math.prod(positions)


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


def _output_or_zero(size: int, window: Window) -> int:
    """Length after one layer; 0 if the layer's window does not fit."""
    try:
        return output_size(size, window.kernel, window.stride, window.padding, window.dilation)
    except ValueError:
        return 0


def _length(size: int, stack: Sequence[Window]) -> int:
    for window in stack:
        size = _output_or_zero(size, window)
    return size
