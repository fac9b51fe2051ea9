"""Grad-CAM: where in an image a network sees what it says (Selvaraju et al. 2017, Grad-CAM, section 3, equations 1 and 2).

    α_k = 1/Z Σᵢ Σⱼ ∂y / ∂A_k(i, j),    L = ReLU(Σ_k α_k A_k)

A_k are the K feature maps of a convolution, of Z positions each, and y is one number that the network says of an image, such as the score of
a class before softmax.

∂y / ∂A_k summed over the positions is the derivative of y by a number that is added to all of A_k. So the gradient is that of one step of
Keras' training by a bias on each map, and any backend computes it.

Departures from the paper: none.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import ops


class _Shifted(keras.Layer):
    """A model that predicts of maps (n, h, w, K) with a number, 0 at first, added to each map of each image."""

    def __init__(self, head: keras.Model):
        super().__init__()
        self.head = head
        head.trainable = False

    def build(self, shape):
        self.shift = self.add_weight(shape=(shape[0], 1, 1, shape[-1]), initializer="zeros", name="shift")

    def call(self, inputs):
        return self.head(
            inputs + self.shift, training=False
        )  # said here: a functional model would hand on its own `training`


def activation_maps(model: keras.Model, layer: str, inputs: np.ndarray, score: Callable) -> np.ndarray:
    """The map L of each image.

    Args:
        model: A functional model; its dropout and batch normalisation are as in a prediction.
        layer: Name of the layer whose output (n, h, w, K) are the maps A; all of the model's output depends on it alone.
        inputs: (n, ...), the model's inputs.
        score: y of each image, (n,), of the model's outputs (n, ...), in functions of `keras.ops`.

    Returns:
        float32 (n, h, w), at least 0.

    Raises:
        ValueError: There is no such layer, its output are no maps, or the output depends on others as well.
    """
    try:
        maps = model.get_layer(layer).output
        if len(maps.shape) != 4:
            raise ValueError(f"an output of shape {maps.shape}")
        first, head = keras.Model(model.input, maps), keras.Model(maps, model.output)
    except (ValueError, AttributeError) as error:
        known = [each.name for each in model.layers if hasattr(each, "kernel_size")]
        received = " ".join(str(error).split())[:100]
        raise ValueError(
            f"expected a layer with feature maps, such as {', '.join(known)}; received: {layer!r}, {received}"
        ) from error
    features = np.asarray(first.predict_on_batch(inputs), np.float32)
    given, shifted = keras.Input(batch_shape=features.shape), _Shifted(head)
    model = keras.Model(given, shifted(given))
    # Keras averages the loss over the images, and a step of rate 1 is the negative of its gradient.
    model.compile(keras.optimizers.SGD(1.0), lambda _targets, outputs: -score(outputs), run_eagerly=True)
    model.train_on_batch(features, np.zeros(len(features), np.float32))
    count, height, width, _ = features.shape
    weights = np.asarray(ops.convert_to_numpy(shifted.shift)) * count / (height * width)
    return np.maximum((weights * features).sum(axis=-1), 0)
