"""Images and maps at another size, by any backend and for sizes that are known only when a model runs: `cnnkeras.resizing` in `keras.ops`.

A stretch along one side is a matrix of weights, a row for each new pixel and a column for each old one. The weights are quotients of whole
numbers, so that they are exact up to their last rounding.
"""

import keras
from keras import ops


def averaging(length, size, pixels, places):
    """Weights float32 (places, pixels) of OpenCV's INTER_AREA: a new pixel is the mean of the old ones under it. All are int32.

    Args:
        length: Of the old side.
        size: Of the new one.
        pixels: Column of each old pixel, (1, n).
        places: Row of each new pixel that is wanted, (m, 1).
    """
    covered = ops.minimum((pixels + 1) * size, (places + 1) * length) - ops.maximum(pixels * size, places * length)
    return _quotient(ops.maximum(covered, 0), length)


def interpolating(length, size, pixels, places):
    """Weights of OpenCV's INTER_LINEAR: linear between the centres of pixels, constant beyond the last ones; arguments as of `averaging`."""
    centre = ops.clip((2 * places + 1) * length - size, 0, 2 * size * (length - 1))
    return _quotient(ops.maximum(2 * size - ops.abs(2 * size * pixels - centre), 0), 2 * size)


def nearest(length, size, pixels, places):
    """Weights of OpenCV's INTER_NEAREST_EXACT: 1 for the pixel that holds the new one's centre; arguments as of `averaging`."""
    return ops.cast(ops.equal((2 * places + 1) * length // (2 * size), pixels), "float32")


def averaging_or_interpolating(length, size, pixels, places):
    """`averaging` where a side shrinks, `interpolating` where it grows."""
    sides = length, size, pixels, places
    return ops.where(ops.less(size, length), averaging(*sides), interpolating(*sides))


def stretch(maps, size, weights, *, part=None, places=None):
    """Maps float32 (batch, H, W, C) at another height and width.

    Args:
        maps: What is stretched.
        size: Height and width, numbers or int32 tensors.
        weights: A function of this file.
        part: Of each side where the part that is stretched begins and how long it is, int32; None: all.
        places: Of each side the new pixels that are wanted, int32 (n,); None: all.
    """
    _, height, width, channels = sides = ops.shape(maps)
    part = part or [(0, _int(side)) for side in sides[1:3]]
    places = places or [ops.arange(side, dtype="int32") for side in size]
    rows, columns = (
        weights(length, _int(new), ops.arange(old, dtype="int32")[None, :] - start, wanted[:, None])
        for old, (start, length), new, wanted in zip(sides[1:3], part, size, places, strict=True)
    )
    stretched = ops.matmul(rows, ops.reshape(maps, (-1, height, width * channels)))
    return ops.matmul(columns, ops.reshape(stretched, (-1, ops.shape(rows)[0], width, channels)))


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
