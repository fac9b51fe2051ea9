"""The arithmetic of sliding windows: sizes of outputs, receptive fields, numbers of parameters and of multiply-adds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Padding = int | tuple[int, int] | str


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
