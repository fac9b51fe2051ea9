"""AlexNet's local response normalisation."""

import keras


@keras.saving.register_keras_serializable(package="cnnkeras")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides each activation by the activity of the neighbouring channels at the same position.

    b_i = a_i / (k + alpha * sum of a_j^2 over the n channels j around i)^beta: Krizhevsky, Sutskever & Hinton (2012), section
    3.3, with the paper's constants as defaults. The sum is not divided by n; the authors' later code (cuda-convnet2) and Caffe
    divide it by n = 5, which is alpha = 2e-5 here, and Caffe's k is 1.

    Maps (batch, ..., channels) to the same shape and dtype; no parameters; computed in float32. The constants were chosen for
    activations of 10 to 100 (inputs of 0..255 less their mean): for inputs of deviation 1 the layer is nearly a
    multiplication by k^-beta = 0.595.

    Args:
        n: Number of channels in the window, odd; channels beyond the first and last count as 0.
        k: Constant added to the sum, above 0.
        alpha: Weight of the sum.
        beta: Exponent.

    Raises:
        ValueError: `n` is even or below 1, or `k` is not above 0.
    """

    def __init__(self, n: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs):
        super().__init__(**kwargs)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"expected an odd number n of channels in the window; received: {n}. The paper uses 5")
        if k <= 0:
            raise ValueError(
                f"expected k above 0, as activations of 0 would be divided by 0; received: {k}. The paper uses 2"
            )
        self.n, self.k, self.alpha, self.beta = n, k, alpha, beta

    def call(self, inputs):
        """Activations (batch, ..., channels) to the same shape and dtype."""
        values = keras.ops.cast(inputs, "float32")
        # One matrix product with a band of ones computes the sums of all windows.
        position = keras.ops.arange(values.shape[-1])
        band = keras.ops.abs(position[:, None] - position[None, :]) <= self.n // 2
        activity = keras.ops.matmul(keras.ops.square(values), keras.ops.cast(band, "float32"))
        # exp(-beta log x) is vectorised by every backend; `power` takes twice the time on a CPU.
        scale = keras.ops.exp(-self.beta * keras.ops.log(self.k + self.alpha * activity))
        return keras.ops.cast(values * scale, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """The shape of the inputs."""
        return input_shape

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "n": self.n, "k": self.k, "alpha": self.alpha, "beta": self.beta}
