"""Images and maps at another size, by any backend and for sizes that are known only when a model runs: `cnnkeras.resizing` in `keras.ops`.

A stretch along one side is a matrix of weights, a row for each new pixel and a column for each old one. The weights are quotients of whole
numbers, so that they are exact up to their last rounding.
"""

import keras
from keras import ops


def averaging(length, size):
    """Weights float32 (size, length) of OpenCV's INTER_AREA: a new pixel is the mean of the old ones under it. Sizes are int32."""
    pixel, new = _positions(length, size)
    covered = ops.minimum((pixel + 1) * size, (new + 1) * length) - ops.maximum(pixel * size, new * length)
    return _quotient(ops.maximum(covered, 0), length)


def interpolating(length, size):
    """Weights float32 (size, length) of OpenCV's INTER_LINEAR: linear between the centres of pixels, constant beyond the last ones."""
    pixel, new = _positions(length, size)
    centre = ops.clip((2 * new + 1) * length - size, 0, 2 * size * (length - 1))
    return _quotient(ops.maximum(2 * size - ops.abs(2 * size * pixel - centre), 0), 2 * size)


def nearest(length, size):
    """Weights float32 (size, length), 1 for the pixel that holds the new one's centre: OpenCV's INTER_NEAREST_EXACT."""
    pixel, new = _positions(length, size)
    return ops.cast(ops.equal((2 * new + 1) * length // (2 * size), pixel), "float32")


def averaging_or_interpolating(length, size):
    """`averaging` where a side shrinks, `interpolating` where it grows."""
    return ops.where(ops.less(size, length), averaging(length, size), interpolating(length, size))


def stretch(maps, size, weights):
    """Maps float32 (batch, H, W, C) at another height and width.

    Args:
        maps: What is stretched.
        size: Height and width, numbers or int32 tensors.
        weights: A function of this file.
    """
    _, height, width, channels = sizes = ops.shape(maps)
    rows, columns = (weights(_int(old), _int(new)) for old, new in zip(sizes[1:3], size, strict=True))
    stretched = ops.matmul(rows, ops.reshape(maps, (-1, height, width * channels)))
    return ops.matmul(columns, ops.reshape(stretched, (-1, size[0], width, channels)))


def _positions(length, size):
    return ops.arange(length, dtype="int32")[None, :], ops.arange(size, dtype="int32")[:, None]


def _quotient(dividend, divisor):
    return ops.cast(dividend, "float32") / ops.cast(divisor, "float32")


def _int(side):
    return side if isinstance(side, int) else ops.cast(side, "int32")


@keras.saving.register_keras_serializable(package="cnnkeras")
class ResizeImages(keras.layers.Layer):
    """Images of any size at the size of a model's input, as `cnnkeras.resizing.resize` stretches them.

    Maps uint8 (batch, H, W, 3) to float32 (batch, height, width, 3) of whole numbers 0..255. OpenCV interpolates enlarged images with 11 bits
    and rounds some halves up, so that single values differ from its by 1.

    Args:
        height: Of the images that it gives, in pixels.
        width: The same.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, images):
        """Images (batch, H, W, 3) to (batch, height, width, 3)."""
        images = ops.cast(images, "float32")
        return ops.round(stretch(images, (self.height, self.width), averaging_or_interpolating))

    def compute_output_spec(self, images):
        """Images of the new size."""
        return keras.KerasTensor((images.shape[0], self.height, self.width, images.shape[3]), "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "height": self.height, "width": self.width}
