"""Adam by one kernel updates as Keras' does."""

import keras
import numpy as np
import pytest

from pipeline.backend.adam import use_kernel

KERNEL = "ResourceApplyAdam"
OPTIMIZERS = {
    "adam": lambda: keras.optimizers.Adam(0.03, beta_1=0.8, beta_2=0.95, epsilon=1e-4),
    "clipped, averaged": lambda: keras.optimizers.Adam(0.03, global_clipnorm=0.1, use_ema=True, ema_momentum=0.5),
    "accumulated": lambda: keras.optimizers.Adam(0.03, gradient_accumulation_steps=2),
    "adamw": lambda: keras.optimizers.AdamW(0.03, weight_decay=0.3),
}


def trained(optimizer: keras.optimizers.Optimizer, *, kernel: bool, steps: int = 6) -> list[np.ndarray]:
    """All variables of a small network and of its optimizer after some steps."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(1, dtype="float32")])
    if kernel:
        use_kernel(optimizer)
    model.compile(optimizer, "mse", jit_compile=False)
    random = np.random.default_rng(4)
    inputs, targets = random.normal(size=(8, 5)).astype("float32"), random.normal(size=(8, 1)).astype("float32")
    for _ in range(steps):
        model.train_on_batch(inputs, targets)
    return [np.asarray(variable) for variable in [*model.variables, *model.optimizer.variables]]


def kernels(optimizer: keras.optimizers.Optimizer) -> int:
    """How often the graph of an update of two variables has the kernel."""
    import tensorflow as tf

    variables = [keras.Variable(np.ones(shape), dtype="float32", name=f"v{len(shape)}") for shape in ((2,), (2, 3))]
    optimizer.build(variables)
    update = tf.function(lambda: optimizer.apply([tf.ones(variable.shape) for variable in variables], variables))
    graph = update.get_concrete_function().graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return sum(node.op == KERNEL for node in nodes)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_keras_to_rounding(name):
    """The weights, the moments, the averages and the count; the weights have moved by much more than rounding."""
    start = trained(OPTIMIZERS[name](), kernel=False, steps=0)
    expected, received = (trained(OPTIMIZERS[name](), kernel=kernel) for kernel in (False, True))
    for value, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(value, other, rtol=2e-5, atol=5e-6)
    assert all(np.abs(value - before).max() > 0.01 for value, before in zip(expected[:4], start[:4], strict=True))


def test_the_first_updates_are_those_of_the_paper():
    """Algorithm 1 in float64: bias-corrected moments, and epsilon beside the root of the corrected square."""
    weights, gradients = np.array([1.0, -2.0]), np.array([[0.5, -0.1], [0.3, 0.4], [-2.0, 0.2]])
    variable = keras.Variable(weights, dtype="float32")
    optimizer = keras.optimizers.Adam(0.1, beta_1=0.8, beta_2=0.9, epsilon=1e-9)
    use_kernel(optimizer)
    mean = square = np.zeros(2)
    for step, gradient in enumerate(gradients, 1):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        mean, square = 0.8 * mean + 0.2 * gradient, 0.9 * square + 0.1 * gradient**2
        weights = weights - 0.1 * (mean / (1 - 0.8**step)) / (np.sqrt(square / (1 - 0.9**step)) + 1e-9)
        np.testing.assert_allclose(variable, weights, rtol=1e-5)


def test_equal_trainings_have_equal_bits():
    """As everything else that trains."""
    first, second = (trained(OPTIMIZERS["adam"](), kernel=True) for _ in range(2))
    for value, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(value, other)


def test_only_adam_uses_the_kernel():
    """One for each variable; what it cannot do stays with Keras."""
    for optimizer, expected in (
        (keras.optimizers.Adam(), 2),
        (keras.optimizers.AdamW(), 2),
        (keras.optimizers.Adam(amsgrad=True), 0),
        (keras.optimizers.Adamax(), 0),
        (keras.optimizers.SGD(momentum=0.9), 0),
    ):
        use_kernel(optimizer)
        assert kernels(optimizer) == expected
    assert kernels(keras.optimizers.Adam()) == 0


@pytest.mark.backend
def test_on_other_backends_nothing_is_replaced():
    """There the optimizer's own update stays."""
    optimizer = keras.optimizers.Adam()
    use_kernel(optimizer)
    assert ("update_step" in vars(optimizer)) == (keras.backend.backend() == "tensorflow")
