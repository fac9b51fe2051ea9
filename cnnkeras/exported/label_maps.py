"""Label maps of scores, at the size of the image: `cnnkeras.tasks.segmentation.decode_outputs` as a layer."""

import keras
from keras import ops

from cnnkeras.exported import stretching


@keras.saving.register_keras_serializable(package="cnnkeras")
class LabelMaps(keras.layers.Layer):
    """Scores resized to the size of the images, and the class of the highest score for each pixel; of equal scores the first class.

    Maps scores (batch, h, w, C + 1), background first, and images (batch, H, W, 3) to uint8 (batch, H, W): 0 background, 1.. classes. Scores
    are rounded to float16, as in the files of outputs.

    Args:
        resize: `bilinear` or `nearest`: how scores between the pixels are found.
    """

    def __init__(self, resize: str = "bilinear", **kwargs):
        super().__init__(**kwargs)
        self.resize = resize
        self._weights = {"bilinear": stretching.interpolating, "nearest": stretching.nearest}[resize]

    def call(self, scores, images):
        """Scores (batch, h, w, C + 1) and images (batch, H, W, 3) to label maps (batch, H, W)."""
        rounded = ops.cast(ops.cast(scores, "float16"), "float32")
        stretched = stretching.stretch(rounded, ops.shape(images)[1:3], self._weights)
        # Keras' arg-max looks at the bits of floats, for which ONNX has no operation.
        is_best = ops.equal(stretched, ops.max(stretched, axis=-1, keepdims=True))
        classes = ops.arange(scores.shape[-1], dtype="int32")
        return ops.cast(ops.min(ops.where(is_best, classes, scores.shape[-1]), axis=-1), "uint8")

    def compute_output_spec(self, _scores, images):
        """Label maps of the images' size."""
        return keras.KerasTensor(images.shape[:3], "uint8")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "resize": self.resize}
