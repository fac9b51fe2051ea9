"""The layers of a small network, each with its forward and backward pass, in NumPy."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnnkeras.convolution import output_size, pad_amounts

Parameters = list[np.ndarray]


class Layer(Protocol):
    """A layer without state: its parameters are arguments of its methods."""

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Initial parameters; an empty list for a layer without any."""

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The outputs, and the values of this pass that `backward` needs (its `cache`)."""

    def backward(
        self, parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradients by the inputs and by the parameters, from the gradient by the outputs.

        The gradient by the inputs is None for a network's first layer, where nothing uses it.
        """


@dataclass(frozen=True)
class Dense:
    """Fully connected over all channels and positions: (..., batch) to (outputs, batch). He normal weights, biases 0."""

    inputs: int
    outputs: int

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (inputs, outputs) and biases (outputs,)."""
        return [_he_normal(rng, self.inputs, self.outputs), np.zeros(self.outputs, np.float32)]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """W' x + b, (outputs, batch)."""
        flat = inputs.reshape(self.inputs, -1)
        return parameters[0].T @ flat + parameters[1][:, None], (flat, inputs.shape)

    def backward(
        self, parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """W g by the inputs, x g' by the weights, the sum of g over the batch by the biases."""
        flat, shape = cache
        input_gradient = None if is_first else (parameters[0] @ gradient).reshape(shape)
        return input_gradient, [flat @ gradient.T, gradient.sum(axis=1)]


class Convolution:
    """A convolution along one or two axes: (channels, positions, batch) to (filters, positions', batch). He normal weights, biases 0.

    Args:
        sizes: Length, or height and width, of the input.
        channels: Channels of the input.
        filters: Channels of the output.
        kernel: Sides of the kernel, one an axis.
        stride: As for `convolution.output_size`: one number for all axes, or one an axis.
        padding: As for `convolution.output_size`, the same along all axes.

    Raises:
        ValueError: As `convolution.output_size`.
    """

    def __init__(self, sizes: Sequence[int], channels: int, filters: int, kernel: Sequence[int], stride=1, padding=0):
        self.channels, self.filters = channels, filters
        # A signal is an image of one row.
        rows = (1,) * (2 - len(sizes))
        strides = (stride,) * len(sizes) if isinstance(stride, int) else tuple(stride)
        axes = list(zip(sizes, kernel, strides, [padding] * len(sizes), strict=True))
        self._sizes, self._kernel, self._strides = (*rows, *sizes), (*rows, *kernel), (*rows, *strides)
        self._before = (*(0 for _ in rows), *(pad_amounts(*axis)[0] for axis in axes))
        self._padded = (*rows, *(axis[0] + sum(pad_amounts(*axis)) for axis in axes))
        self._outputs = (*rows, *(output_size(*axis) for axis in axes))

    @property
    def positions(self) -> int:
        """Positions of the output."""
        return math.prod(self._outputs)

    @property
    def outputs(self) -> int:
        """Values of the output for one example: positions times filters."""
        return self.positions * self.filters

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (taps x channels, filters) and biases (filters,)."""
        return [
            _he_normal(rng, math.prod(self._kernel) * self.channels, self.filters),
            np.zeros(self.filters, np.float32),
        ]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """Each output is a product of the weights with a column: the input values under the taps at one position."""
        columns = self._columns(inputs)
        outputs = parameters[0].T @ columns
        outputs += parameters[1][:, None]
        return outputs.reshape(self.filters, self.positions, -1), columns

    def backward(
        self, parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradient by an input is the sum over all taps and positions at which the tap covered this input."""
        flat = gradient.reshape(self.filters, -1)
        parameter_gradients = [cache @ flat.T, flat.sum(axis=1)]
        if is_first:
            return None, parameter_gradients
        batch = gradient.shape[-1]
        column_gradient = (parameters[0] @ flat).reshape(*self._kernel, self.channels, *self._outputs, batch)
        padded_gradient = np.zeros((self.channels, *self._padded, batch), gradient.dtype)
        for tap in itertools.product(*map(range, self._kernel)):
            covered = (
                slice(first, first + stride * (length - 1) + 1, stride)
                for first, stride, length in zip(tap, self._strides, self._outputs, strict=True)
            )
            padded_gradient[(slice(None), *covered)] += column_gradient[tap]
        return padded_gradient[(slice(None), *self._unpadded())].reshape(self.channels, -1, batch), parameter_gradients

    def _columns(self, inputs: np.ndarray) -> np.ndarray:
        """(taps x channels, positions' x batch): the inputs under the taps, copied: matrix products cannot read overlapping views."""
        batch = inputs.shape[-1]
        maps = inputs.reshape(self.channels, *self._sizes, batch)
        if self._padded != self._sizes:
            padded = np.zeros((self.channels, *self._padded, batch), inputs.dtype)
            padded[(slice(None), *self._unpadded())] = maps
            maps = padded
        channel_bytes, row_bytes, column_bytes, example_bytes = maps.strides
        down, across = self._strides
        windows = np.lib.stride_tricks.as_strided(
            maps,
            (*self._kernel, self.channels, *self._outputs, batch),
            (row_bytes, column_bytes, channel_bytes, down * row_bytes, across * column_bytes, example_bytes),
        )
        return windows.reshape(len(windows) * self._kernel[1] * self.channels, -1)

    def _unpadded(self) -> tuple[slice, ...]:
        """Slices that cut the input out of the padded input."""
        return tuple(slice(first, first + size) for first, size in zip(self._before, self._sizes, strict=True))


class Relu:
    """max(x, 0), for values of any shape."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """No parameters."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """max(x, 0), which is also the cache."""
        outputs = np.maximum(inputs, 0)
        return outputs, outputs

    def backward(
        self, _parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradient where x > 0, 0 elsewhere."""
        return None if is_first else gradient * (cache > 0), []


class MeanPool:
    """The mean over all positions: (channels, positions, batch) to (channels, batch)."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """No parameters."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The mean over the positions; the cache is their number."""
        return inputs.mean(axis=1), inputs.shape[1]

    def backward(
        self, _parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradient divided by the number of positions, at each position."""
        return None if is_first else np.repeat(gradient[:, None] / np.float32(cache), cache, axis=1), []


class Residual:
    """x + relu(W' x + b), (units, batch) to the same shape."""

    def __init__(self, units: int):
        self._dense, self._relu = Dense(units, units), Relu()

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (units, units) and biases (units,)."""
        return self._dense.initial(rng)

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The inputs plus relu(W' x + b)."""
        linear, dense_cache = self._dense.forward(parameters, inputs)
        active, relu_cache = self._relu.forward([], linear)
        return inputs + active, (dense_cache, relu_cache)

    def backward(
        self, parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradient by the inputs sums the gradients through the shortcut and through the fully connected layer."""
        dense_cache, relu_cache = cache
        linear_gradient, _ = self._relu.backward([], relu_cache, gradient, is_first=False)
        input_gradient, parameter_gradients = self._dense.backward(
            parameters, dense_cache, linear_gradient, is_first=is_first
        )
        return None if is_first else gradient + input_gradient, parameter_gradients


class BidirectionalGru:
    """Gated recurrent units that read the positions in both directions: (channels, positions, batch) to (2 units, positions, batch).

    Cho et al. (2014), in the form of cuDNN, PyTorch and Keras' `reset_after`: r, z = sigmoid(W x + b + U h + c),
    n = tanh(W x + b + r (U h + c)), h <- (1 - z) n + z h. Initial values as in PyTorch: uniform in +-1 / sqrt(units).
    """

    def __init__(self, channels: int, units: int):
        self.channels, self.units = channels, units

    def initial(self, rng: np.random.Generator) -> Parameters:
        """W (2, channels, 3 units), U (2, units, 3 units), b and c (2, 1, 3 units): both directions, r, z and n side by side."""
        limit = self.units**-0.5
        shapes = [(2, rows, 3 * self.units) for rows in (self.channels, self.units, 1, 1)]
        return [rng.uniform(-limit, limit, shape).astype(np.float32) for shape in shapes]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The states h after each position, (2 units, positions, batch): the forward direction, then the backward direction."""
        kernel, recurrent, bias, recurrent_bias = (values.swapaxes(1, 2) for values in parameters)
        units, (_, length, batch) = self.units, inputs.shape
        sequences = np.stack([inputs, inputs[:, ::-1]]).reshape(2, self.channels, -1)
        input_terms = (kernel @ sequences + bias).reshape(2, -1, length, batch)  # W x + b
        states = np.zeros((length + 1, 2, units, batch), np.float32)
        gates = []
        for position in range(length):
            state, x = states[position], input_terms[:, :, position]
            h = recurrent @ state + recurrent_bias
            rz = 1 / (1 + np.exp(-(x[:, : 2 * units] + h[:, : 2 * units])))
            r, z = rz[:, :units], rz[:, units:]
            n = np.tanh(x[:, 2 * units :] + r * h[:, 2 * units :])
            gates.append((r, z, n, h[:, 2 * units :]))
            states[position + 1] = n + z * (state - n)
        outputs = np.concatenate([states[1:, 0], states[:0:-1, 1]], axis=1).swapaxes(0, 1)
        return outputs, (sequences, states, gates)

    def backward(
        self, parameters: Parameters, cache: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """Backpropagation through time, from the last position that a direction read to its first."""
        kernel, recurrent, _, _ = parameters
        sequences, states, gates = cache
        _, length, batch = gradient.shape
        output_gradient = np.stack([gradient[: self.units], gradient[self.units :, ::-1]])
        state_gradient = np.zeros((2, self.units, batch), np.float32)
        input_term_gradient = np.empty((2, 3 * self.units, length, batch), np.float32)  # by W x + b
        recurrent_term_gradient = np.empty_like(input_term_gradient)  # by U h + c
        for position in reversed(range(length)):
            r, z, n, h = gates[position]
            state_gradient = state_gradient + output_gradient[:, :, position]
            dn = state_gradient * (1 - z) * (1 - n * n)
            dz = state_gradient * (states[position] - n) * z * (1 - z)
            dr = dn * h * r * (1 - r)
            np.concatenate([dr, dz, dn], axis=1, out=input_term_gradient[:, :, position])
            step_gradient = np.concatenate([dr, dz, dn * r], axis=1)
            recurrent_term_gradient[:, :, position] = step_gradient
            state_gradient = state_gradient * z + recurrent @ step_gradient
        input_term_gradient, recurrent_term_gradient = (
            values.reshape(2, 3 * self.units, -1) for values in (input_term_gradient, recurrent_term_gradient)
        )
        previous_states = states[:-1].transpose(1, 2, 0, 3).reshape(2, self.units, -1)
        parameter_gradients = [
            sequences @ input_term_gradient.swapaxes(1, 2),
            previous_states @ recurrent_term_gradient.swapaxes(1, 2),
            input_term_gradient.sum(axis=2)[:, None],
            recurrent_term_gradient.sum(axis=2)[:, None],
        ]
        if is_first:
            return None, parameter_gradients
        forwards, backwards = (kernel @ input_term_gradient).reshape(2, self.channels, length, batch)
        return forwards + backwards[:, ::-1], parameter_gradients


def _he_normal(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """Weights (inputs, outputs) from N(0, 2 / inputs): He et al. (2015)."""
    return rng.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32)
