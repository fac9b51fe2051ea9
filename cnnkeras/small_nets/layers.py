"""Small networks in plain NumPy, for the hundred thousand steps of a lecture's experiment.

A step of a network of 2,050 parameters is a few small matrix products. What Keras does around them takes many times longer than
they do; here next to nothing is around them. Forward and backward passes are written out, and tests hold them against Keras' layers
and the gradients of its backend. The matrices are too small to be shared between threads: who trains should allow BLAS one only.

Inside a network values are (channels, positions, batch), or (units, batch) after a fully connected layer, which reads channel by
channel, as PyTorch does. With the batch last, what a kernel's tap meets lies in long runs, and a convolution is one copy and one
matrix product for the whole batch. Everything is float32.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnnkeras.convolution import output_size, pad_amounts

Parameters = list[np.ndarray]


class Layer(Protocol):
    """A layer without state: its parameters are passed in."""

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Parameters to start from."""

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """Outputs, and what `backward` needs of this pass."""

    def backward(
        self, parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """From the gradient of the outputs to those of the inputs (None for a network's first layer) and of the parameters."""


@dataclass(frozen=True)
class Dense:
    """Fully connected, over all channels and positions: (..., batch) to (outputs, batch); He normal, biases 0."""

    inputs: int
    outputs: int

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (inputs, outputs) and biases (outputs,)."""
        return [_he_normal(rng, self.inputs, self.outputs), np.zeros(self.outputs, np.float32)]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """W' x + b."""
        flat = inputs.reshape(self.inputs, -1)
        return parameters[0].T @ flat + parameters[1][:, None], (flat, inputs.shape)

    def backward(
        self, parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradients of W' x + b."""
        flat, shape = kept
        inputs = None if is_first else (parameters[0] @ gradient).reshape(shape)
        return inputs, [flat @ gradient.T, gradient.sum(axis=1)]


class Convolution:
    """A convolution along one or two axes, (channels, positions, batch) to (filters, positions', batch); He normal, biases 0.

    Args:
        sizes: Length, or height and width, of its input.
        channels: Of its input.
        filters: Channels of its output.
        kernel: Sides of the kernel.
        stride: As `convolution.output_size`, the same along all axes or one for each.
        padding: As `convolution.output_size`, the same along all axes.
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
        """Of its output."""
        return math.prod(self._outputs)

    @property
    def outputs(self) -> int:
        """Values of its output for one example."""
        return self.positions * self.filters

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (taps x channels, filters) and biases (filters,)."""
        return [
            _he_normal(rng, math.prod(self._kernel) * self.channels, self.filters),
            np.zeros(self.filters, np.float32),
        ]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """Each output is the weights times a column of the values that the taps meet."""
        columns = self._columns(inputs)
        outputs = parameters[0].T @ columns
        outputs += parameters[1][:, None]
        return outputs.reshape(self.filters, self.positions, -1), columns

    def backward(
        self, parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """What each tap sends back to the inputs that it met."""
        flat = gradient.reshape(self.filters, -1)
        own = [kept @ flat.T, flat.sum(axis=1)]
        if is_first:
            return None, own
        batch = gradient.shape[-1]
        sent = (parameters[0] @ flat).reshape(*self._kernel, self.channels, *self._outputs, batch)
        received = np.zeros((self.channels, *self._padded, batch), gradient.dtype)
        for tap in itertools.product(*map(range, self._kernel)):
            met = (
                slice(first, first + stride * (length - 1) + 1, stride)
                for first, stride, length in zip(tap, self._strides, self._outputs, strict=True)
            )
            received[(slice(None), *met)] += sent[tap]
        return received[(slice(None), *self._inside())].reshape(self.channels, -1, batch), own

    def _columns(self, inputs: np.ndarray) -> np.ndarray:
        """(taps x channels, positions' x batch): copies of the inputs, as views of overlapping windows cannot be multiplied."""
        batch = inputs.shape[-1]
        maps = inputs.reshape(self.channels, *self._sizes, batch)
        if self._padded != self._sizes:
            padded = np.zeros((self.channels, *self._padded, batch), inputs.dtype)
            padded[(slice(None), *self._inside())] = maps
            maps = padded
        of_channel, of_row, of_place, of_example = maps.strides
        down, across = self._strides
        windows = np.lib.stride_tricks.as_strided(
            maps,
            (*self._kernel, self.channels, *self._outputs, batch),
            (of_row, of_place, of_channel, down * of_row, across * of_place, of_example),
        )
        return windows.reshape(len(windows) * self._kernel[1] * self.channels, -1)

    def _inside(self) -> tuple[slice, ...]:
        """The input within its padding."""
        return tuple(slice(first, first + size) for first, size in zip(self._before, self._sizes, strict=True))


class Relu:
    """max(x, 0)."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """None."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """max(x, 0)."""
        outputs = np.maximum(inputs, 0)
        return outputs, outputs

    def backward(
        self, _parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """The gradient where x > 0."""
        return None if is_first else gradient * (kept > 0), []


class MeanPool:
    """The mean over all positions: (channels, positions, batch) to (channels, batch)."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """None."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The mean."""
        return inputs.mean(axis=1), inputs.shape[1]

    def backward(
        self, _parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """An equal share for each position."""
        return None if is_first else np.repeat(gradient[:, None] / np.float32(kept), kept, axis=1), []


class Residual:
    """x + relu(W' x + b), with as many outputs as inputs."""

    def __init__(self, units: int):
        self._dense, self._relu = Dense(units, units), Relu()

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights and biases."""
        return self._dense.initial(rng)

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """X + relu(W' x + b)."""
        linear, kept = self._dense.forward(parameters, inputs)
        active, _ = self._relu.forward([], linear)
        return inputs + active, (kept, active)

    def backward(
        self, parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """Both ways back."""
        through, _ = self._relu.backward([], kept[1], gradient, is_first=False)
        inputs, own = self._dense.backward(parameters, kept[0], through, is_first=is_first)
        return None if is_first else gradient + inputs, own


class BidirectionalGru:
    """Gated recurrent units that read the positions in both directions: (channels, positions, batch) to (2 units, positions, batch).

    Cho et al. (2014) as cuDNN, PyTorch and Keras' `reset_after` have it: r, z = sigmoid(W x + b + U h + c),
    n = tanh(W x + b + r (U h + c)), h <- (1 - z) n + z h. PyTorch's initial values: uniform up to 1 / sqrt(units).
    """

    def __init__(self, channels: int, units: int):
        self.channels, self.units = channels, units

    def initial(self, rng: np.random.Generator) -> Parameters:
        """W, U, b, c of both directions, (2, ...), with r, z and n side by side."""
        limit = self.units**-0.5
        shapes = [(2, rows, 3 * self.units) for rows in (self.channels, self.units, 1, 1)]
        return [rng.uniform(-limit, limit, shape).astype(np.float32) for shape in shapes]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The states after each position, those of reading forwards before those of reading backwards."""
        kernel, recurrent, bias, recurrent_bias = (values.swapaxes(1, 2) for values in parameters)
        units, (_, length, batch) = self.units, inputs.shape
        read = np.stack([inputs, inputs[:, ::-1]]).reshape(2, self.channels, -1)
        seen = (kernel @ read + bias).reshape(2, -1, length, batch)
        states = np.zeros((length + 1, 2, units, batch), np.float32)
        gates = []
        for position in range(length):
            state, x = states[position], seen[:, :, position]
            h = recurrent @ state + recurrent_bias
            rz = 1 / (1 + np.exp(-(x[:, : 2 * units] + h[:, : 2 * units])))
            r, z = rz[:, :units], rz[:, units:]
            n = np.tanh(x[:, 2 * units :] + r * h[:, 2 * units :])
            gates.append((r, z, n, h[:, 2 * units :]))
            states[position + 1] = n + z * (state - n)
        outputs = np.concatenate([states[1:, 0], states[:0:-1, 1]], axis=1).swapaxes(0, 1)
        return outputs, (read, states, gates)

    def backward(
        self, parameters: Parameters, kept: Any, gradient: np.ndarray, *, is_first: bool
    ) -> tuple[np.ndarray | None, Parameters]:
        """Through time, from the last position that a direction read to its first."""
        kernel, recurrent, _, _ = parameters
        read, states, gates = kept
        _, length, batch = gradient.shape
        received = np.stack([gradient[: self.units], gradient[self.units :, ::-1]])
        to_state = np.zeros((2, self.units, batch), np.float32)
        to_seen = np.empty((2, 3 * self.units, length, batch), np.float32)
        to_recurred = np.empty_like(to_seen)
        for position in reversed(range(length)):
            r, z, n, h = gates[position]
            to_state = to_state + received[:, :, position]
            to_n = to_state * (1 - z) * (1 - n * n)
            to_z = to_state * (states[position] - n) * z * (1 - z)
            to_r = to_n * h * r * (1 - r)
            np.concatenate([to_r, to_z, to_n], axis=1, out=to_seen[:, :, position])
            back = np.concatenate([to_r, to_z, to_n * r], axis=1)
            to_recurred[:, :, position] = back
            to_state = to_state * z + recurrent @ back
        to_seen, to_recurred = (values.reshape(2, 3 * self.units, -1) for values in (to_seen, to_recurred))
        before = states[:-1].transpose(1, 2, 0, 3).reshape(2, self.units, -1)
        own = [
            read @ to_seen.swapaxes(1, 2),
            before @ to_recurred.swapaxes(1, 2),
            to_seen.sum(axis=2)[:, None],
            to_recurred.sum(axis=2)[:, None],
        ]
        if is_first:
            return None, own
        there, again = (kernel @ to_seen).reshape(2, self.channels, length, batch)
        return there + again[:, ::-1], own


class Network:
    """Layers one after the other.

    Args:
        layers: In order; the last one gives logits (classes, batch).
        seed: Of the parameters to start from.
    """

    def __init__(self, layers: Sequence[Layer], seed: int):
        rng = np.random.default_rng(seed)
        self.layers = list(layers)
        self.parameters = [layer.initial(rng) for layer in self.layers]

    @property
    def count(self) -> int:
        """Numbers that it learns."""
        return sum(values.size for own in self.parameters for values in own)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Of inputs (n, positions, channels): (n, classes)."""
        values = _batch_last(inputs)
        for layer, own in zip(self.layers, self.parameters, strict=True):
            values, _ = layer.forward(own, values)
        return values.T

    def error(self, inputs: np.ndarray, labels: np.ndarray) -> float:
        """Fraction of inputs (n, ...) that it takes for another class than their label (n,)."""
        return float((self.logits(inputs).argmax(axis=-1) != labels).mean())

    def gradients(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, list[Parameters]]:
        """Cross-entropy, the mean over a batch (n, positions, channels) with labels (n,), and its gradients by the parameters."""
        values, kept = _batch_last(inputs), []
        for layer, own in zip(self.layers, self.parameters, strict=True):
            values, memory = layer.forward(own, values)
            kept.append(memory)
        logits = values - values.max(axis=0)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=0)
        column = np.arange(len(labels))
        loss = float((np.log(totals) - logits[labels, column]).mean())
        gradient = exponentials / totals
        gradient[labels, column] -= 1
        gradient /= np.float32(len(labels))
        found = []
        for place in reversed(range(len(self.layers))):
            gradient, of_layer = self.layers[place].backward(
                self.parameters[place], kept[place], gradient, is_first=place == 0
            )
            found.append(of_layer)
        return loss, found[::-1]


@dataclass(frozen=True)
class SGD:
    """w <- w - rate g."""

    rate: float

    def start(self, network: Network) -> Callable[[list[Parameters]], None]:
        """A function that changes the network's parameters by their gradients, which it may overwrite."""
        rate = np.float32(self.rate)

        def update(gradients: list[Parameters]) -> None:
            for own, found in zip(network.parameters, gradients, strict=True):
                for parameter, gradient in zip(own, found, strict=True):
                    gradient *= rate
                    parameter -= gradient

        return update


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with its constants: betas .9 and .999, epsilon 1e-8."""

    rate: float

    def start(self, network: Network) -> Callable[[list[Parameters]], None]:
        """A function that changes the network's parameters by their gradients, which it may overwrite."""
        means, squares = ([[np.zeros_like(values) for values in own] for own in network.parameters] for _ in range(2))
        step = 0

        def update(gradients: list[Parameters]) -> None:
            nonlocal step
            step += 1
            correction = (1 - 0.999**step) ** 0.5
            rate, epsilon = np.float32(self.rate * correction / (1 - 0.9**step)), np.float32(1e-8 * correction)
            for layer in zip(network.parameters, gradients, means, squares, strict=True):
                for parameter, gradient, mean, square in zip(*layer, strict=True):
                    mean += np.float32(0.1) * (gradient - mean)
                    square += np.float32(0.001) * (gradient * gradient - square)
                    parameter -= rate * mean / (np.sqrt(square) + epsilon)

        return update


def orders(examples: int, batch_size: int, seed: int | None) -> Iterator[np.ndarray]:
    """Indices (batch,) of one batch after the other, without end: each epoch in an order of its own, without a seed as they come.

    What does not fill a last batch is left out of its epoch.
    """
    epoch = 0
    while True:
        order = np.arange(examples)
        if seed is not None:
            np.random.default_rng([seed, epoch]).shuffle(order)
        for start in range(0, examples - batch_size + 1, batch_size):
            yield order[start : start + batch_size]
        epoch += 1


def train(
    network: Network,
    optimizer: SGD | Adam,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    batches: Iterator[np.ndarray],
    steps: int,
) -> np.ndarray:
    """Train a network, whose parameters change; returns the loss of each step.

    Args:
        network: What is trained.
        optimizer: Its state starts anew.
        inputs: float32 (n, positions, channels).
        labels: int (n,).
        batches: As `orders` gives them.
        steps: How many.
    """
    update = optimizer.start(network)
    losses = np.empty(steps)
    for step, indices in zip(range(steps), batches, strict=False):
        losses[step], gradients = network.gradients(inputs[indices], labels[indices])
        update(gradients)
    return losses


def _batch_last(inputs: np.ndarray) -> np.ndarray:
    """(n, positions, channels) to (channels, positions, n)."""
    return np.ascontiguousarray(inputs.transpose(2, 1, 0))


def _he_normal(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """N(0, 2 / inputs), He et al. (2015)."""
    return rng.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32)
