"""Small networks in plain NumPy, for the hundred thousand steps of a lecture's experiment.

A step of a network of 2,050 parameters is a few small matrix products. What Keras does around them takes many times longer than
they do; here nothing is around them. Forward and backward passes are written out, and tests hold them against Keras' layers and
the gradients of its backend. The matrices are too small to be shared between threads: who trains should allow BLAS one only.

Values are (batch, positions, channels), or (batch, units) after a fully connected layer; everything is float32.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from cnnkeras.convolution import taps

Parameters = list[np.ndarray]


class Layer(Protocol):
    """A layer without state: its parameters are passed in."""

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Parameters to start from."""

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """Outputs, and what `backward` needs of this pass."""

    def backward(self, parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """From the gradient of the outputs to those of the inputs and of the parameters."""


@dataclass(frozen=True)
class Dense:
    """Fully connected, over all positions and channels: (batch, ...) to (batch, outputs); He normal, biases 0."""

    inputs: int
    outputs: int

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (inputs, outputs) and biases (outputs,)."""
        return [_he_normal(rng, self.inputs, self.outputs), np.zeros(self.outputs, np.float32)]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """X W + b."""
        flat = inputs.reshape(len(inputs), -1)
        return flat @ parameters[0] + parameters[1], (flat, inputs.shape)

    def backward(self, parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """The gradients of x W + b."""
        flat, shape = kept
        return (gradient @ parameters[0].T).reshape(shape), [flat.T @ gradient, gradient.sum(axis=0)]


class Convolution:
    """A convolution along one or two axes, (batch, positions, channels) to (batch, positions', filters); He normal, biases 0.

    Args:
        sizes: Length, or height and width, of its input.
        channels: Of its input.
        filters: Channels of its output.
        kernel: Sides of the kernel.
        stride: As `convolution.taps`.
        padding: As `convolution.taps`.
    """

    def __init__(self, sizes: Sequence[int], channels: int, filters: int, kernel: Sequence[int], stride=1, padding=0):
        self.channels, self.filters = channels, filters
        self.table = taps(sizes, kernel, stride, padding)
        self._positions = int(np.prod(sizes))
        self._is_padded = bool((self.table == self._positions).any())

    @property
    def outputs(self) -> int:
        """Values of its output for one example."""
        return len(self.table) * self.filters

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights (taps x channels, filters) and biases (filters,)."""
        return [
            _he_normal(rng, self.table.shape[1] * self.channels, self.filters),
            np.zeros(self.filters, np.float32),
        ]

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """Each output position is a row of the values that its taps meet, times the weights."""
        batch = len(inputs)
        if self._is_padded:
            inputs = np.concatenate([inputs, np.zeros((batch, 1, self.channels), inputs.dtype)], axis=1)
        rows = inputs.take(self.table, axis=1).reshape(batch * len(self.table), -1)
        return (rows @ parameters[0] + parameters[1]).reshape(batch, len(self.table), self.filters), rows

    def backward(self, parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """What each tap sends back to the input that it met; no tap meets an input twice."""
        batch, flat = len(gradient), gradient.reshape(-1, self.filters)
        sent = (flat @ parameters[0].T).reshape(batch, *self.table.shape, self.channels)
        inputs = np.zeros((batch, self._positions + self._is_padded, self.channels), gradient.dtype)
        for tap, met in enumerate(self.table.T):
            inputs[:, met] += sent[:, :, tap]
        return inputs[:, : self._positions], [kept.T @ flat, flat.sum(axis=0)]


class Relu:
    """max(x, 0)."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """None."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """max(x, 0)."""
        outputs = np.maximum(inputs, 0)
        return outputs, outputs

    def backward(self, _parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """The gradient where x > 0."""
        return gradient * (kept > 0), []


class MeanPool:
    """The mean over all positions: (batch, positions, channels) to (batch, channels)."""

    def initial(self, _rng: np.random.Generator) -> Parameters:
        """None."""
        return []

    def forward(self, _parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """The mean."""
        return inputs.mean(axis=1), inputs.shape

    def backward(self, _parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """An equal share for each position."""
        return np.repeat(gradient[:, None] / np.float32(kept[1]), kept[1], axis=1), []


class Residual:
    """x + relu(x W + b), with as many outputs as inputs."""

    def __init__(self, units: int):
        self._dense, self._relu = Dense(units, units), Relu()

    def initial(self, rng: np.random.Generator) -> Parameters:
        """Weights and biases."""
        return self._dense.initial(rng)

    def forward(self, parameters: Parameters, inputs: np.ndarray) -> tuple[np.ndarray, Any]:
        """X + relu(x W + b)."""
        linear, kept = self._dense.forward(parameters, inputs)
        active, _ = self._relu.forward([], linear)
        return inputs + active, (kept, active)

    def backward(self, parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """Both ways back."""
        through, _ = self._relu.backward([], kept[1], gradient)
        inputs, own = self._dense.backward(parameters, kept[0], through)
        return gradient + inputs, own


class BidirectionalGru:
    """Gated recurrent units that read the positions in both directions: (batch, positions, channels) to (.., 2 units).

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
        """The states after each position, forwards and backwards side by side."""
        kernel, recurrent, bias, recurrent_bias = parameters
        units, (batch, length, _) = self.units, inputs.shape
        read = np.stack([inputs, inputs[:, ::-1]]).swapaxes(1, 2).reshape(2, length * batch, -1)
        seen = (read @ kernel + bias).reshape(2, length, batch, -1)
        states = np.zeros((length + 1, 2, batch, units), np.float32)
        gates = []
        for position in range(length):
            state, x = states[position], seen[:, position]
            h = state @ recurrent + recurrent_bias
            rz = 1 / (1 + np.exp(-(x[..., : 2 * units] + h[..., : 2 * units])))
            r, z = rz[..., :units], rz[..., units:]
            n = np.tanh(x[..., 2 * units :] + r * h[..., 2 * units :])
            gates.append((r, z, n, h[..., 2 * units :]))
            states[position + 1] = n + z * (state - n)
        forwards, backwards = states[1:, 0], states[:0:-1, 1]
        return np.concatenate([forwards, backwards], axis=-1).swapaxes(0, 1), (read, states, gates)

    def backward(self, parameters: Parameters, kept: Any, gradient: np.ndarray) -> tuple[np.ndarray, Parameters]:
        """Through time, from the last position that a direction read to its first."""
        kernel, recurrent, _, _ = parameters
        read, states, gates = kept
        batch, length, _ = gradient.shape
        back = recurrent.swapaxes(1, 2)
        received = np.stack([gradient[..., : self.units], gradient[:, ::-1, self.units :]]).swapaxes(1, 2)
        to_state = np.zeros((2, batch, self.units), np.float32)
        to_seen = np.empty((2, length, batch, 3 * self.units), np.float32)
        to_recurred = np.empty_like(to_seen)
        for position in reversed(range(length)):
            r, z, n, h = gates[position]
            to_state = to_state + received[:, position]
            to_n = to_state * (1 - z) * (1 - n * n)
            to_z = to_state * (states[position] - n) * z * (1 - z)
            to_r = to_n * h * r * (1 - r)
            np.concatenate([to_r, to_z, to_n], axis=-1, out=to_seen[:, position])
            np.concatenate([to_r, to_z, to_n * r], axis=-1, out=to_recurred[:, position])
            to_state = to_state * z + to_recurred[:, position] @ back
        to_seen, to_recurred = (values.reshape(2, length * batch, -1) for values in (to_seen, to_recurred))
        before = states[:-1].swapaxes(0, 1).reshape(2, length * batch, -1)
        own = [
            read.swapaxes(1, 2) @ to_seen,
            before.swapaxes(1, 2) @ to_recurred,
            to_seen.sum(axis=1, keepdims=True),
            to_recurred.sum(axis=1, keepdims=True),
        ]
        there, again = (to_seen @ kernel.swapaxes(1, 2)).reshape(2, length, batch, -1)
        return (there + again[::-1]).swapaxes(0, 1), own


class Network:
    """Layers one after the other.

    Args:
        layers: In order; the last one gives logits (batch, classes).
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
        for layer, own in zip(self.layers, self.parameters, strict=True):
            inputs, _ = layer.forward(own, inputs)
        return inputs

    def error(self, inputs: np.ndarray, labels: np.ndarray) -> float:
        """Fraction of inputs (n, ...) that it takes for another class than their label (n,)."""
        return float((self.logits(inputs).argmax(axis=-1) != labels).mean())

    def gradients(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, list[Parameters]]:
        """Cross-entropy, the mean over a batch, and its gradients by the parameters."""
        kept = []
        for layer, own in zip(self.layers, self.parameters, strict=True):
            inputs, memory = layer.forward(own, inputs)
            kept.append(memory)
        logits = inputs - inputs.max(axis=-1, keepdims=True)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=-1, keepdims=True)
        row = np.arange(len(labels))
        loss = float((np.log(totals[:, 0]) - logits[row, labels]).mean())
        gradient = exponentials / totals
        gradient[row, labels] -= 1
        gradient /= np.float32(len(labels))
        found = []
        for layer, own, memory in zip(self.layers[::-1], self.parameters[::-1], kept[::-1], strict=True):
            gradient, of_layer = layer.backward(own, memory, gradient)
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


def _he_normal(rng: np.random.Generator, inputs: int, outputs: int) -> np.ndarray:
    """N(0, 2 / inputs), He et al. (2015)."""
    return rng.normal(0, (2 / inputs) ** 0.5, (inputs, outputs)).astype(np.float32)
