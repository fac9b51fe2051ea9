"""A network of `layers.py`'s layers: its outputs, its gradients, and its training by SGD or Adam, in NumPy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnnkeras.small_nets.layers import Layer, Parameters


class Network:
    """A chain of layers with their parameters.

    Args:
        layers: The layers in their order; the last one gives logits (classes, batch).
        seed: Seed of the initial parameters.
    """

    def __init__(self, layers: Sequence[Layer], seed: int):
        rng = np.random.default_rng(seed)
        self.layers = list(layers)
        self.parameters = [layer.initial(rng) for layer in self.layers]

    @property
    def count(self) -> int:
        """Number of parameters."""
        return sum(values.size for parameters in self.parameters for values in parameters)

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Logits (n, classes) of inputs (n, positions, channels)."""
        values = _batch_last(inputs)
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            values, _ = layer.forward(parameters, values)
        return values.T

    def error(self, inputs: np.ndarray, labels: np.ndarray) -> float:
        """Fraction of the inputs (n, positions, channels) whose class with the highest logit is not their label (n,)."""
        return float((self.logits(inputs).argmax(axis=-1) != labels).mean())

    def gradients(self, inputs: np.ndarray, labels: np.ndarray) -> tuple[float, list[Parameters]]:
        """The mean cross-entropy of a batch (n, positions, channels) with labels (n,), and its gradients by the parameters."""
        values, caches = _batch_last(inputs), []
        for layer, parameters in zip(self.layers, self.parameters, strict=True):
            values, cache = layer.forward(parameters, values)
            caches.append(cache)
        logits = values - values.max(axis=0)
        exponentials = np.exp(logits)
        totals = exponentials.sum(axis=0)
        column = np.arange(len(labels))
        loss = float((np.log(totals) - logits[labels, column]).mean())
        gradient = exponentials / totals
        gradient[labels, column] -= 1
        gradient /= np.float32(len(labels))
        gradients = []  # from the last layer to the first
        for index in reversed(range(len(self.layers))):
            gradient, parameter_gradients = self.layers[index].backward(
                self.parameters[index], caches[index], gradient, is_first=index == 0
            )
            gradients.append(parameter_gradients)
        return loss, gradients[::-1]


@dataclass(frozen=True)
class SGD:
    """Gradient descent without momentum: w <- w - rate g."""

    rate: float

    def start(self, network: Network) -> Callable[[list[Parameters]], None]:
        """A function that updates the network's parameters, given their gradients, which it may overwrite."""
        rate = np.float32(self.rate)

        def update(gradients: list[Parameters]) -> None:
            for layer in zip(network.parameters, gradients, strict=True):
                for parameter, gradient in zip(*layer, strict=True):
                    gradient *= rate
                    parameter -= gradient

        return update


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1) with the paper's constants: betas .9 and .999, epsilon 1e-8."""

    rate: float

    def start(self, network: Network) -> Callable[[list[Parameters]], None]:
        """A function that updates the network's parameters, given their gradients, which it may overwrite."""
        means, squares = (
            [[np.zeros_like(values) for values in parameters] for parameters in network.parameters] for _ in range(2)
        )
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
    """Indices (batch,) of one batch after another, without end; examples that do not fill a last batch are left out of that epoch.

    Args:
        examples: Number of examples.
        batch_size: Examples in a batch.
        seed: Each epoch has another order, a function of (seed, epoch); None: every epoch is in the order of the data.
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
    """Train a network in place.

    Args:
        network: Its parameters are changed.
        optimizer: Starts without state of earlier steps.
        inputs: float32 (n, positions, channels).
        labels: int (n,), class indices.
        batches: Indices (batch,) of each batch, from `orders`.
        steps: Number of batches to train on.

    Returns:
        float64 (steps,), the mean cross-entropy of each step's batch before its update.
    """
    update = optimizer.start(network)
    losses = np.empty(steps)
    for step, indices in zip(range(steps), batches, strict=False):
        losses[step], gradients = network.gradients(inputs[indices], labels[indices])
        update(gradients)
    return losses


def _batch_last(inputs: np.ndarray) -> np.ndarray:
    """A contiguous copy (channels, positions, n) of (n, positions, channels)."""
    return np.ascontiguousarray(inputs.transpose(2, 1, 0))
