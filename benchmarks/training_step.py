"""A training step of the full-size AlexNet, with two towers and with one, as a fraction of the processor's peak speed.

    python -m benchmarks.training_step

A step is a step of the stage `train` with a batch of 32: forward pass, backward pass, SGD with momentum, deterministic operations. Its
operations are counted from the layer table, two for a multiply-add: the forward pass once, the backward pass twice (the gradient by
the inputs and the gradient by the weights cost one forward pass each), less the gradient by the first layer's inputs, which is not
computed. Normalisation, pooling, activations, decay and the update of the weights are not counted, so they lower the fraction.

The peak is the speed of the fastest float32 matrix product of NumPy and TensorFlow over a few sizes. It is measured again before each
measurement of a network, and a fraction is relative to that peak, so the median of the fractions is valid on a machine of varying speed.

    two_tower, one_tower  the paper's network, and the same without the division of conv2, conv4 and conv5
    decayed               two towers with the paper's weight decay
    grouped               two towers with TensorFlow's grouped convolution
"""

import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import measuring
from cnnkeras import architectures, losses, tasks
from pipeline.backend import devices

if TYPE_CHECKING:
    import keras

    from cnnkeras.summary import LayerRow

BATCH, STEPS = 32, 3  # images in a batch; steps in a measurement of a network, the fastest of which counts
SIZES = (1024, 2048, 3072)  # sides of the matrices
NETWORKS = {
    "two_tower": {"variant": "two_tower"},
    "one_tower": {"variant": "one_tower"},
    "decayed": {"variant": "two_tower", "weight_decay": 5e-4},
    "grouped": {"variant": "two_tower", "grouped_by_keras": True},
}


def step_operations(rows: "list[LayerRow]", batch: int) -> int:
    """Floating-point operations of a training step, by the rule at the top of this file."""
    multiply_adds = [row.multiply_adds for row in rows if row.multiply_adds]
    return 2 * batch * (3 * sum(multiply_adds) - multiply_adds[0])


def build_peak() -> Callable[[], float]:
    """A function that measures the operations per second of the fastest matrix product."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    products = []
    for size in SIZES:
        matrix = random.normal(size=(size, size)).astype(np.float32)
        tensor = tf.constant(matrix)
        products += [(size, lambda a=matrix: a @ a), (size, lambda a=tensor: tf.linalg.matmul(a, a).numpy())]
    return lambda: max(2 * size**3 / measuring.seconds(multiply, 2, of=min) for size, multiply in products)


def build_step(
    variant: str, *, weight_decay: float = 0.0, grouped_by_keras: bool = False
) -> "tuple[Callable[[], object], keras.Model]":
    """A function that trains one step, and its model.

    Args:
        variant: A variant of AlexNet.
        weight_decay: As for `set_weight_decay`.
        grouped_by_keras: Use Keras' grouped convolution instead of `GroupedConv2D`.
    """
    import keras

    from cnnkeras import layers
    from cnnkeras.training.fit import set_weight_decay
    from cnnkeras.training.optimizers import sgd

    alexnet = architectures.load("alexnet")
    input_shape, output_shape = alexnet.PAPER_SHAPES[variant]
    model = alexnet.build(input_shape=input_shape, output_shape=output_shape, variant=variant, input_mean=128.0)
    if grouped_by_keras:

        def clone(layer: keras.Layer) -> keras.Layer:
            is_grouped = isinstance(layer, layers.GroupedConv2D)
            return (keras.layers.Conv2D if is_grouped else type(layer)).from_config(layer.get_config())

        model = keras.models.clone_model(model, clone_function=clone)
    set_weight_decay(model, weight_decay)
    model.compile(
        sgd(learning_rate=1e-4, momentum=0.9).update,
        losses.load("classification").build(),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH, *input_shape), np.uint8)
    labels = tasks.load("classification").encode_targets(random.integers(0, *output_shape, BATCH))
    return lambda: model.train_on_batch(images, labels), model


def main() -> None:
    """Measure, print and write the result."""
    options = measuring.arguments(__doc__, images=None)
    with devices.set_up(seed=0):
        from cnnkeras.summary import layer_table

        measure_peak = build_peak()
        built = {name: build_step(**arguments) for name, arguments in NETWORKS.items()}
        operations = {name: step_operations(layer_table(model), BATCH) for name, (_, model) in built.items()}
        for step, _ in built.values():
            step()  # traces the function
        measurements: dict[str, list[tuple[float, float]]] = {name: [] for name in built}  # seconds, and the peak
        for _ in range(options.repetitions):
            for name, (step, _) in built.items():
                peak_speed = measure_peak()
                measurements[name].append((measuring.seconds(step, STEPS, of=min), peak_speed))
    peaks = [peak_speed for pairs in measurements.values() for _, peak_speed in pairs]
    figures: dict[str, float] = {"peak_gflop_per_s": round(statistics.median(peaks) / 1e9, 1)}
    ratios: dict[str, float] = {}
    for name, pairs in measurements.items():
        figures[f"{name}_step_s"] = round(statistics.median(seconds for seconds, _ in pairs), 3)
        figures[f"{name}_gflop"] = round(operations[name] / 1e9, 1)
        fractions = [operations[name] / seconds / peak_speed for seconds, peak_speed in pairs]
        ratios[f"{name}_share_of_peak"] = round(statistics.median(fractions), 2)
    measuring.write("training_step", ["numpy", "tensorflow", "keras"], figures, ratios)


if __name__ == "__main__":
    main()
