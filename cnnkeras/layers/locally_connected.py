"""A convolution with another kernel at each position."""

import keras


@keras.saving.register_keras_serializable(package="cnnkeras")
class LocallyConnected2D(keras.layers.Layer):
    """A convolution of stride 1 that keeps the map's size, with another kernel at each position: darknet's `[local]` layer.

    y[b, i, j, f] = bias[i, j, f] + sum over the window around (i, j), zeros beyond the map, of x times kernel[i, j, :, f]
    (src/local_layer.c, pjreddie/darknet@f6afaab). Keras had such a layer until version 2. Maps (batch, H, W, C) to
    (batch, H, W, filters), of the dtype of the layer's policy. Weights: kernel (H, W, K * K * C, filters), a window's values in the
    order row, column, channel, and bias (H, W, filters).

    Args:
        filters: Channels of the output, at least 1.
        kernel_size: Side K of the windows, odd.
        kernel_initializer: Initializer of the kernel. Initializers that scale with the number of inputs (He's, Glorot's) count
            K * K * C * H * W inputs.

    Raises:
        ValueError: `filters` is below 1, `kernel_size` is even or below 1, or a map's size is unknown.
    """

    def __init__(self, filters: int, kernel_size: int, kernel_initializer="random_normal", **kwargs):
        super().__init__(**kwargs)
        if filters < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(
                f"expected at least 1 filter and an odd kernel_size; received: {filters} and {kernel_size}. Darknet's has 256 and 3"
            )
        self.filters, self.kernel_size = filters, kernel_size
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape):
        """Create the weights of all positions."""
        _, height, width, channels = input_shape
        if None in (height, width, channels):
            raise ValueError(
                f"{self.name} expected a map of known size, as each position has its own weights; received: {tuple(input_shape)}"
            )
        window = self.kernel_size**2 * channels
        self.kernel = self.add_weight(
            shape=(height, width, window, self.filters), initializer=self.kernel_initializer, name="kernel"
        )
        self.bias = self.add_weight(shape=(height, width, self.filters), initializer="zeros", name="bias")

    def call(self, inputs):
        """Maps (batch, H, W, C) to (batch, H, W, filters)."""
        margin = self.kernel_size // 2
        padded = keras.ops.pad(inputs, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        height, width = inputs.shape[1:3]
        windows = keras.ops.concatenate(
            [
                padded[:, row : row + height, column : column + width]
                for row in range(self.kernel_size)
                for column in range(self.kernel_size)
            ],
            axis=-1,
        )  # (batch, H, W, K * K * C)
        return keras.ops.einsum("bhwk,hwkf->bhwf", windows, self.kernel) + self.bias

    def compute_output_shape(self, input_shape):
        """The shape (batch, H, W, filters) for an input (batch, H, W, C)."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
