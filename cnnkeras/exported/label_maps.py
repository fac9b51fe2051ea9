"""Label maps of scores, at the size of the image: `cnnkeras.tasks.segmentation.decode_outputs` as a layer."""

import keras
from keras import ops

from cnnkeras.exported import stretching


@keras.saving.register_keras_serializable(package="cnnkeras")
class LabelMaps(keras.layers.Layer):
    """Scores resized to the size of the images, and the class of the highest score for each pixel; of equal scores the first class.

    Maps scores (batch, h, w, C + 1), background first, and images (batch, H, W, 3) to uint8 (batch, H, W): 0 background, 1.. classes. Scores
    are rounded to float16, as in the files of outputs. Where the images lie in a part of the model's input, `frame` says in which (`FitImages`).

    Args:
        resize: `bilinear` or `nearest`: how scores between the pixels are found.
    """

    def __init__(self, resize: str = "bilinear", **kwargs):
        super().__init__(**kwargs)
        self.resize = resize
        self._weights = {"bilinear": stretching.interpolating, "nearest": stretching.nearest}[resize]

    def call(self, scores, images, frame=None):
        """Scores (batch, h, w, C + 1), images (batch, H, W, 3) and a frame (4,) to label maps (batch, H, W)."""
        rounded = ops.cast(ops.cast(scores, "float16"), "float32")
        part = None if frame is None else self._part(scores.shape[1:3], frame)
        stretched = stretching.stretch(rounded, ops.shape(images)[1:3], self._weights, part=part)
        # Keras' arg-max looks at the bits of floats, for which ONNX has no operation.
        is_best = ops.equal(stretched, ops.max(stretched, axis=-1, keepdims=True))
        classes = ops.arange(scores.shape[-1], dtype="int32")
        return ops.cast(ops.min(ops.where(is_best, classes, scores.shape[-1]), axis=-1), "uint8")

    def _part(self, sides, frame):
        """Begin and length, in whole pixels of the scores, of what a frame holds of each side: `cnnkeras.label_maps.in_frame`."""
        height, width = sides
        left, top, right, bottom = (
            ops.cast(ops.round(frame[number] * side), "int32") for number, side in enumerate((width, height) * 2)
        )
        top, left = ops.minimum(top, height - 1), ops.minimum(left, width - 1)
        return (top, ops.maximum(bottom - top, 1)), (left, ops.maximum(right - left, 1))

    def compute_output_spec(self, _scores, images, _frame=None):
        """Label maps of the images' size."""
        return keras.KerasTensor(images.shape[:3], "uint8")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "resize": self.resize}
