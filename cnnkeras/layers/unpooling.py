"""Max pooling that also returns the positions of the maxima, and unpooling, which puts values at these positions."""

import keras


def _check_divisible(layer: keras.layers.Layer, sizes: tuple[int | None, ...], pool_size: int) -> None:
    if any(size is None or size % pool_size for size in sizes):
        raise ValueError(
            f"{layer.name} expected a map whose height and width are known multiples of {pool_size}; "
            f"received: {sizes}. Choose an input size that all poolings divide"
        )


def _corners(maps, pool_size: int) -> list:
    """A map (batch, H / p, W / p, C) for each of the p^2 positions in a window, in row-major order.

    The maps are slices of a reshaped map: slices of step 1 are copied several times faster than slices of step p.
    """
    height, width, channels = maps.shape[1:]
    windows = keras.ops.reshape(maps, (-1, height // pool_size, pool_size, width // pool_size, pool_size * channels))
    return [windows[:, :, y, :, x * channels : (x + 1) * channels] for y in range(pool_size) for x in range(pool_size)]


@keras.saving.register_keras_serializable(package="cnnkeras")
class MaxPoolingWithSwitches(keras.layers.Layer):
    """Max pooling, and the position of each maximum within its window.

    Noh, Hong & Han (2015), section 3.2.1; after Zeiler & Fergus (2014). Maps (batch, H, W, C) to a pair: the maxima
    (batch, H / p, W / p, C), and the switches of the same shape, uint8: y * p + x for the maximum at (y, x) of its window. Of
    equal maxima the first in row-major order is taken, as in Caffe (this matters: after a ReLU many windows are all 0).

    Args:
        pool_size: Side p of the windows, which do not overlap.

    Raises:
        ValueError: A side of the map is no multiple of `pool_size`, or `pool_size` is not in 1..16.
    """

    def __init__(self, pool_size: int = 2, **kwargs):
        super().__init__(**kwargs)
        if not 1 <= pool_size <= 16:
            raise ValueError(f"expected a pool_size of 1 to 16, for switches of one byte; received: {pool_size}")
        self.pool_size = pool_size

    def build(self, input_shape):
        """Check that the windows divide the map."""
        _check_divisible(self, tuple(input_shape[1:3]), self.pool_size)

    def call(self, inputs):
        """Maps (batch, H, W, C) to maxima and switches, both (batch, H / p, W / p, C)."""
        p = self.pool_size
        maxima = keras.ops.max_pool(inputs, p, p, padding="valid", data_format="channels_last")
        # The first position that is not below the maximum: below_0 * (1 + below_1 * (1 + below_2)) for p = 2.
        one = keras.ops.cast(1, "uint8")
        switches = keras.ops.zeros_like(maxima, dtype="uint8")
        for corner in reversed(_corners(keras.ops.stop_gradient(inputs), p)[:-1]):
            switches = keras.ops.cast(keras.ops.less(corner, maxima), "uint8") * (one + switches)
        return maxima, switches

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "pool_size": self.pool_size}


@keras.saving.register_keras_serializable(package="cnnkeras")
class MaxUnpooling(keras.layers.Layer):
    """Puts each value at the position of its window's maximum, and 0 at the other positions.

    Noh, Hong & Han (2015), section 3.2.1. Maps the pair of values (batch, H, W, C) and switches of the same shape (from
    `MaxPoolingWithSwitches`) to (batch, H * p, W * p, C). The gradient by a value is the gradient by the output at
    its switch. The layer consists of comparisons and reshapes, which XLA compiles.

    Args:
        pool_size: Side p of the windows.

    Raises:
        ValueError: Values and switches differ in shape.
    """

    def __init__(self, pool_size: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.pool_size = pool_size

    def build(self, input_shape):
        """Check that each value has a switch."""
        values, switches = (tuple(shape[1:]) for shape in input_shape)
        if values != switches:
            raise ValueError(
                f"{self.name} expected one switch a value; received: values {values}, switches {switches}. "
                "Give the map as many channels as the pooling had"
            )

    def call(self, inputs):
        """The pair of values and switches, both (batch, H, W, C), to (batch, H * p, W * p, C)."""
        values, switches = inputs
        p = self.pool_size
        height, width, channels = values.shape[1:]
        rows = []
        for y in range(p):
            masks = [keras.ops.equal(switches, keras.ops.cast(y * p + x, "uint8")) for x in range(p)]
            columns = [values * keras.ops.cast(mask, values.dtype) for mask in masks]
            rows.append(keras.ops.stack(columns, axis=3))  # (batch, H, W, p, C)
        tiled = keras.ops.stack(rows, axis=2)  # (batch, H, p, W, p, C)
        return keras.ops.reshape(tiled, (-1, height * p, width * p, channels))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "pool_size": self.pool_size}
