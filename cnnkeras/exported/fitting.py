"""Images of any size as inputs of a model that was trained on others: packed, then fitted, in `keras.ops`."""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from cnnkeras.by_name import call
from cnnkeras.exported import fits
from cnnkeras.exported.stretching import averaging_or_interpolating, stretch
from cnnkeras.protocols import fits as protocols


@keras.saving.register_keras_serializable(package="cnnkeras")
class FitImages(keras.layers.Layer):
    """Images of any size as inputs, by the fit of an experiment, and where each image lies in its input.

    Maps uint8 (batch, H, W, 3) to inputs float32 (batch, height, width, 3) of whole numbers 0..255, and a frame float32 (4,): left, top, right
    and bottom of the image, as fractions of the input's sides (`cnnkeras.protocols.fits.Fit.frame`). As in the pipeline the image is scaled twice:
    to the size at which its data set packs it, then by the fit. What JPEG files lose in the packing, these images keep.

    Args:
        stored: `size`, `shorter_side` or `max_shorter_side` of the data set.
        fit: A function of `cnnkeras.protocols.fits` by its `name`, with its arguments.
        size: Height and width of the input.
    """

    def __init__(self, stored: Mapping[str, Any], fit: Mapping[str, Any], size: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        self.stored, self.fit, self.size = dict(stored), dict(fit), tuple(size)
        self._scaled, self._fill = call(fits, fit), call(protocols, fit).fill

    def call(self, images):
        """Images (batch, H, W, 3) to inputs (batch, height, width, 3) and a frame (4,)."""
        sides = tuple(ops.cast(side, "int32") for side in ops.shape(images)[1:3])
        stored = fits.stored_size(sides, **self.stored)
        packed = ops.round(stretch(ops.cast(images, "float32"), stored, averaging_or_interpolating))
        scaled = self._scaled(stored, self.size)
        starts = [self._start(side, shown) for side, shown in zip(scaled, self.size, strict=True)]
        places = [ops.arange(shown, dtype="int32") + start for shown, start in zip(self.size, starts, strict=True)]
        inputs = ops.round(stretch(packed, scaled, averaging_or_interpolating, places=places))
        rows, columns = (
            ops.logical_and(ops.greater_equal(place, 0), ops.less(place, side))
            for place, side in zip(places, scaled, strict=True)
        )
        is_image = ops.logical_and(rows[None, :, None, None], columns[None, None, :, None])
        return ops.where(is_image, inputs, float(self._fill)), self._frame(scaled, starts)

    @staticmethod
    def _start(side, shown):
        """Where in the scaled image the input begins: of an odd number of pixels one more is cut off or filled at the end."""
        return ops.where(ops.less(side, shown), -((shown - side) // 2), (side - shown) // 2)

    def _frame(self, scaled, starts):
        sides = [ops.cast(shown, "float32") for shown in self.size]
        top, left = (ops.cast(-start, "float32") / side for start, side in zip(starts, sides, strict=True))
        bottom, right = (
            ops.cast(length - start, "float32") / side
            for length, start, side in zip(scaled, starts, sides, strict=True)
        )
        return ops.stack([left, top, right, bottom])

    def compute_output_spec(self, images):
        """Inputs, and a frame."""
        inputs = (images.shape[0], *self.size, images.shape[3])
        return keras.KerasTensor(inputs, "float32"), keras.KerasTensor((4,), "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "stored": self.stored, "fit": self.fit, "size": self.size}
