"""Batches of packed 224 x 224 images into Keras' `fit`, by a network that costs next to nothing: one product for each image.

    python -m benchmarks.feeding [--images N] [--repetitions N]

On each backend that is installed, in a process of its own:

    one_thread  batches are copied by the thread that asks for them, into fresh memory, as `Batches` does
    ahead       two threads copy them ahead into memory that is used again (`pipeline/stages/train/workers.py`)
    augmented   worker processes, one a core, apply a resized crop and a flip to each image

The three take turns within each repetition, and a figure is the median over them. `per_core` divides by the processor time of this process
instead of the elapsed time; of `augmented` it divides the speed by the number of cores, as the workers' time is not this process's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from benchmarks import measuring
from pipeline.formats.packed import Split, SplitWriter
from pipeline.runtime.workers import available
from pipeline.stages.train.reader import Reader, augmenting_reader
from pipeline.stages.train.workers import read_with_processes, read_with_threads

BATCH, SIDE, CLASSES = 256, 224, 10
POLICY = ({"RandomResizedCrop": {"size": [SIDE, SIDE], "scale": [0.4, 1.0]}}, {"HorizontalFlip": {"p": 0.5}})
BACKENDS = ("tensorflow", "jax")
SETTINGS = {"seed": 0, "output_shape": (CLASSES,), "classes": CLASSES}


def pack(folder: Path, images: int) -> Split:
    """A packed split of images of noise, enough of them that a batch is not in the processor's cache."""
    writer, random = SplitWriter(folder / "train"), np.random.default_rng(0)
    for number in range(images):
        image = np.full((SIDE, SIDE, 3), random.integers(0, 256, 3, np.uint8))
        writer.append(str(number), fixed={"inputs": image, "labels": np.int32(number % CLASSES)})
    entry = writer.close()
    return Split(folder / "train", entry["columns"], entry["examples"])


def trainer() -> Callable:
    """A function that trains an epoch on batches: one product of the colours of the first pixel of each image."""
    import keras

    from pipeline.backend import devices

    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    pixel = keras.layers.Lambda(lambda images: keras.ops.cast(images[:, 0, 0], "float32"))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(CLASSES)(pixel))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=keras.backend.backend() == "jax")
    return lambda batches: model.fit(devices.feed(batches), shuffle=False, verbose=0)


def measure(folder: Path, images: int, repetitions: int) -> dict[str, float]:
    """Figures of this process's backend."""
    split = pack(folder, images)
    with ExitStack() as stack:
        plain = Reader(split, "classification", **SETTINGS)
        policy = augmenting_reader(split, "classification", POLICY, "benchmark", **SETTINGS)
        # Processes first: a fork does not copy threads.
        augmented = stack.enter_context(read_with_processes(policy, batch_size=BATCH, workers=available()))
        ahead = stack.enter_context(read_with_threads(plain, batch_size=BATCH))
        from pipeline.backend import devices

        devices.import_keras()
        from cnnkeras.training.batches import Batches, PreparedBatches

        options = {"batch_size": BATCH, "seed": 0}
        ways = {"one_thread": Batches(plain.inputs, plain.targets, **options)}
        for name, prepared in (("ahead", ahead), ("augmented", augmented)):
            ways[name] = PreparedBatches(prepared.examples, prepared.start, ahead=prepared.ahead, **options)
        train, times = trainer(), {name: [] for name in ways}
        for repetition in range(repetitions + 1):  # the first one compiles, and maps the images into memory
            for name, batches in ways.items():
                batches.epoch = repetition
                begin = time.perf_counter(), time.process_time()
                train(batches)
                times[name].append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    figures, count = {}, images // BATCH * BATCH
    for name, pairs in times.items():
        elapsed, processor = (statistics.median(column) for column in zip(*pairs[1:], strict=True))
        figures[f"{name}_images_per_s"] = round(count / elapsed)
        figures[f"{name}_gb_per_s"] = round(count * SIDE * SIDE * 3 / elapsed / 1e9, 2)
        per_core = count / elapsed / available() if name == "augmented" else count / processor
        figures[f"{name}_images_per_s_per_core"] = round(per_core)
    return figures


def measured(backend: str, arguments: list[str]) -> dict[str, float]:
    """Figures of a backend, measured by a process in a folder that is no project, where KERAS_BACKEND decides."""
    environment = {**os.environ, "KERAS_BACKEND": backend, "NO_ALBUMENTATIONS_UPDATE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.feeding", "--measure", folder, *arguments]
        output = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, check=True).stdout
    return json.loads(output.splitlines()[-1])


def main() -> None:
    """Measure, print and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2048, help="number of images, at least a batch of 256")
    parser.add_argument("--repetitions", type=int, default=5, help="epochs of each way, in turns")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.images, options.repetitions)))
        return
    figures, ratios = {}, {}
    arguments = ["--images", str(options.images), "--repetitions", str(options.repetitions)]
    for backend in BACKENDS:
        if measuring.version(backend) is None:
            continue
        found = measured(backend, arguments)
        figures |= {f"{backend}_{name}": value for name, value in found.items()}
        ratio = found["ahead_images_per_s"] / found["one_thread_images_per_s"]
        ratios[f"{backend}_ahead_to_one_thread"] = round(ratio, 1)
    measuring.write("feeding", ["numpy", "keras", *BACKENDS, "albumentations"], figures, ratios)


if __name__ == "__main__":
    main()
