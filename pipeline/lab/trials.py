"""Trainings of the lab: small data sets, the lecture's small networks, and many trainings spread over the cores."""

import functools
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from cnnkeras.architectures import mnist1d_conv, mnist1d_fc
from cnnkeras.small_nets.layers import BidirectionalGru, Convolution, Dense, Layer, MeanPool, Relu, Residual
from cnnkeras.small_nets.networks import SGD, Adam, Network, orders, train
from pipeline.runtime.workers import available, ordered_map
from pipeline.sources import mnist1d

CLASSES = 10


@dataclass(frozen=True)
class Data:
    """A data set with a training and a test split.

    Attributes:
        inputs: Training examples, float32 (n, positions, 1); the positions of an image are its pixels, row by row.
        labels: Their classes, int (n,).
        test_inputs: Test examples, float32 (m, positions, 1).
        test_labels: Their classes, int (m,).
        sizes: Length of a signal, or height and width of an image.
    """

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray
    sizes: tuple[int, ...]

    def permuted(self, order: np.ndarray) -> "Data":
        """The same examples with their positions in the order `order`, int (positions,)."""
        return Data(self.inputs[:, order], self.labels, self.test_inputs[:, order], self.test_labels, self.sizes)


@functools.cache
def load_signals() -> Data:
    """MNIST-1D: all 4,000 published training signals and 1,000 test signals, of 40 positions."""
    with tempfile.TemporaryDirectory() as folder:
        mnist1d.fetch(mnist1d.Source(kind="mnist1d"), Path(folder), mirrors=())
        with np.load(Path(folder) / mnist1d.ARCHIVE) as data:
            return Data(
                data["x"][:, :, None], data["y"], data["x_test"][:, :, None], data["y_test"], data["x"].shape[1:]
            )


@functools.cache
def load_digits(side: int = 8) -> Data:
    """scikit-learn's 1,797 digits of 8x8 pixels, in the middle of images of `side` x `side` pixels, 0..1; every third is a test image."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    before = (side - 8) // 2
    images = np.pad(digits.images / 16, ((0, 0), (before, side - 8 - before), (before, side - 8 - before)))
    inputs = images.reshape(len(images), -1, 1).astype(np.float32)
    is_test = np.arange(len(inputs)) % 3 == 0
    return Data(inputs[~is_test], digits.target[~is_test], inputs[is_test], digits.target[is_test], (side, side))


def lecture_convolutional() -> list[Layer]:
    """Layers of the book's convolutional network of 2,050 parameters (`cnnkeras.architectures.mnist1d_conv`)."""
    layers: list[Layer] = []
    length, channels = 40, 1
    for row in mnist1d_conv.VARIANTS["udl"]:
        convolution = Convolution((length,), channels, row.channels, (row.kernel,), row.stride)
        layers += [convolution, Relu()]
        length, channels = convolution.positions, row.channels
    return [*layers, Dense(length * channels, CLASSES)]


def lecture_fully_connected() -> list[Layer]:
    """Layers of the book's fully connected network of 59,065 parameters (`cnnkeras.architectures.mnist1d_fc`)."""
    layers: list[Layer] = []
    inputs = 40
    for units in mnist1d_fc.VARIANTS["udl"]:
        layers += [Dense(inputs, units), Relu()]
        inputs = units
    return [*layers, Dense(inputs, CLASSES)]


def benchmark_networks() -> dict[str, list[Layer]]:
    """Layers of the networks in the table of MNIST-1D's authors: greydanus/mnist1d, notebooks/models.py.

    Logistic, MLP, CNN and GRU have 410, 15,210, 5,210 and 5,134 parameters. Departure: except in the GRU, initial weights are He normal
    and biases 0; the authors use PyTorch's defaults.
    """
    first = Convolution((40,), 1, 25, (5,), 2, 1)
    second = Convolution((19,), 25, 25, (3,), 2, 1)
    third = Convolution((10,), 25, 25, (3,), 2, 1)
    return {
        "logistic": [Dense(40, CLASSES)],
        "mlp": [Dense(40, 100), Relu(), Residual(100), Dense(100, CLASSES)],
        "cnn": [first, Relu(), second, Relu(), third, Relu(), Dense(third.outputs, CLASSES)],
        "gru": [BidirectionalGru(1, 6), Dense(40 * 12, CLASSES)],
    }


def image_networks(side: int) -> dict[str, list[Layer]]:
    """Layers of three networks for images of one channel: fully connected, convolutional, and convolutional with a final mean over positions."""
    first = Convolution((side, side), 1, 8, (3, 3), padding=1)
    second = Convolution((side, side), 8, 16, (3, 3), 2, 1)
    half = (side + 1) // 2
    third = Convolution((half, half), 16, 32, (3, 3), padding=1)
    stack = [first, Relu(), second, Relu()]
    return {
        "fully connected": [Dense(side * side, 96), Relu(), Dense(96, 48), Relu(), Dense(48, CLASSES)],
        "convolutional": [*stack, Dense(second.outputs, CLASSES)],
        "convolutional, mean": [*stack, third, Relu(), MeanPool(), Dense(32, CLASSES)],
    }


@dataclass(frozen=True)
class Trial:
    """A training of a network.

    Attributes:
        layers: Layers of the network.
        data: Training and test examples.
        seed: Seed of the initial weights and of the examples' order.
        steps: Number of steps.
        rate: Learning rate.
        batch_size: Examples per step.
        optimizer: "sgd" without momentum, or "adam".
        shuffled: Whether each epoch has a new order of the examples; if not, they keep their order.
    """

    layers: list[Layer]
    data: Data
    seed: int
    steps: int
    rate: float
    batch_size: int = 100
    optimizer: Literal["sgd", "adam"] = "sgd"
    shuffled: bool = True

    def train(self) -> tuple[Network, np.ndarray]:
        """The trained network, and the loss of each step (steps,)."""
        network = Network(self.layers, self.seed)
        optimizer = SGD(self.rate) if self.optimizer == "sgd" else Adam(self.rate)
        batches = orders(len(self.data.inputs), self.batch_size, self.seed if self.shuffled else None)
        return network, train(network, optimizer, self.data.inputs, self.data.labels, batches=batches, steps=self.steps)


def test_error(trial: Trial) -> float:
    """Train a network; returns its error on the test examples, 0..1."""
    network, _ = trial.train()
    return network.error(trial.data.test_inputs, trial.data.test_labels)


def run_all(function: Callable[[Trial], Any], trials: Iterable[Trial]) -> list[Any]:
    """Results of `function` for each trial, in order, computed by a process per core."""
    with ordered_map(function, list(trials), workers=available(), initializer=_use_one_core) as results:
        return list(results)


def _use_one_core() -> None:
    threadpool_limits(1, "blas")
