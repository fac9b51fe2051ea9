"""The price of equal bits: a training step of the default profile beside one of the profile `fast`, for four experiments of params.yaml.

    python -m benchmarks.determinism

The step is that of the experiment: its network, batch size, optimizer, loss, metrics and threads, on random examples. Each profile has a
process of its own, as determinism is decided for a process; the two take turns. A price of 1.25 means that the deterministic step takes
a quarter longer than the fast one. Seconds are processor time, which other work on the machine does not lengthen; the threads of a step
are added up.

    step_cpu_s              median seconds of a step, of `deterministic` and `fast`
    price                   median over the turns of deterministic by fast
    are_equal               whether two deterministic trainings of these steps gave the same weights
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from benchmarks import measuring
from cnnkeras import losses, tasks
from cnnkeras.training import optimizers
from pipeline.backend import devices, normalization
from pipeline.params import load_params
from pipeline.stages.train.training import Training, resolve

EXPERIMENTS = ("alexnet", "vgg", "yolo", "deconvnet")
PROFILES = ("deterministic", "fast")
WARM_UP, STEPS = (
    3,
    5,
)  # steps before the first turn, which trace and compile; steps of a turn, whose median counts


def random_examples(training: Training) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of a batch."""
    random, count, task = np.random.default_rng(0), training.settings.batch_size, tasks.load(training.task)
    boxes = np.tile(np.float32([[0.1, 0.2, 0.5, 0.7]]), (count, 1, 1))
    classes = len(training.classes)
    columns = {
        "labels": random.integers(0, classes, count, np.int32),
        "boxes": list(boxes),
        "box_labels": list(random.integers(0, classes, (count, 1), np.int32)),
        "difficult": [np.array([False])] * count,
        "masks": random.integers(0, classes + 1, (count, *training.input_shape[:2]), np.uint8),
    }
    targets = task.encode_examples(
        {name: columns[name] for name in task.ANNOTATIONS},
        seeds=[[0, 0, index] for index in range(count)],
        output_shape=training.output_shape,
        classes=classes,
    )
    return random.integers(0, 256, (count, *training.input_shape), np.uint8), targets


@contextmanager
def step(name: str, profile: devices.Profile) -> Iterator[tuple[Callable[[], object], Callable[[], str]]]:
    """A function that trains one step of an experiment, and one that returns a digest of the weights."""
    training = resolve(load_params().repeats(name)[0])
    settings, task = training.settings, tasks.load(training.task)
    loss, arguments = losses.chosen(settings.loss, task=training.task)
    examples = random_examples(training)
    with devices.set_up(seed=1, precision=settings.precision, profile=profile, threads=settings.threads):
        from cnnkeras.training.fit import set_weight_decay

        shapes = {"input_shape": training.input_shape, "output_shape": training.output_shape}
        model = training.architecture.build(**shapes, input_mean=128.0, input_std=64.0, **training.model)
        optimizer = settings.optimizer.call(optimizers)
        set_weight_decay(model, optimizer.weight_decay, optimizer.normalization_decay)
        model.compile(
            optimizer.update,
            loss.build(**arguments),
            metrics=task.build_metrics(),
            jit_compile=devices.compiles(profile),
        )
        model.optimizer.build(model.trainable_variables)

        def digest() -> str:
            return hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in model.get_weights())).hexdigest()

        with normalization.fused(model):
            yield (lambda: model.train_on_batch(*examples)), digest


def serve(name: str, profile: devices.Profile) -> None:
    """Train a turn for each line of standard input; write the seconds of a step and the digest of the weights."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with step(name, profile) as (train, digest):
        for _ in range(WARM_UP):
            train()
        for _ in sys.stdin:
            lines.write(json.dumps([measuring.cpu_seconds(train, STEPS), digest()]) + "\n")
            lines.flush()


class Served:
    """A process that serves an experiment in a profile."""

    def __init__(self, name: str, profile: devices.Profile):
        command = [sys.executable, "-m", "benchmarks.determinism", "--serve", name, profile]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def turn(self) -> tuple[float, str]:
        """Seconds of a step of one turn, and the digest of the weights after it."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def end(self) -> None:
        """End the process."""
        with self._process:
            self._process.terminate()


def measure(name: str, repetitions: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and ratios of an experiment."""
    with ExitStack() as ends:
        served = {
            key: Served(name, profile)
            for key, profile in zip((*PROFILES, "again"), (*PROFILES, PROFILES[0]), strict=True)
        }
        for process in served.values():
            ends.callback(process.end)
            process.turn()  # one after another: each warms up alone
        turns = [{key: process.turn() for key, process in served.items()} for _ in range(repetitions)]
    seconds = {profile: [turn[profile][0] for turn in turns] for profile in PROFILES}
    figures = {
        f"{name}_{profile}_step_cpu_s": round(statistics.median(values), 4) for profile, values in seconds.items()
    }
    prices = [slow / fast for slow, fast in zip(*seconds.values(), strict=True)]
    figures[f"{name}_are_equal"] = all(turn[PROFILES[0]][1] == turn["again"][1] for turn in turns)
    return figures, {f"{name}_price": round(statistics.median(prices), 2)}


def main() -> None:
    """Measure, print and write the result."""
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:])
        return
    options = measuring.arguments(__doc__, images=None)
    figures: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for name in EXPERIMENTS:
        for total, part in zip((figures, ratios), measure(name, options.repetitions), strict=True):
            total |= part
    measuring.write("determinism", ["numpy", "tensorflow", "keras"], figures, ratios)


if __name__ == "__main__":
    main()
