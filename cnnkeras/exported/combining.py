"""One model of several: their posteriors averaged, as `cnnkeras.protocols.posteriors.combine` does."""

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="cnnkeras")
class CombinePosteriors(keras.layers.Layer):
    """The logarithms of the combined posteriors of two members, from the outputs (batch, ..., C) of both, as an ensemble's outputs.

    Args:
        models: Number of models in each member; every model has the same weight.
        combine: `mean`, or `product`, the geometric mean.
    """

    def __init__(self, models: Sequence[int], combine: str, **kwargs):
        super().__init__(**kwargs)
        self.models, self.combine = tuple(models), combine

    def call(self, outputs):
        """Two outputs (batch, ..., C) to one."""
        total = float(sum(self.models))
        logs = [ops.log_softmax(ops.cast(member, "float32")) for member in outputs]
        if self.combine == "product":
            return ops.log_softmax(sum(log * (count / total) for log, count in zip(logs, self.models, strict=True)))
        highest = ops.maximum(*logs)
        summed = sum(ops.exp(log - highest) * (count / total) for log, count in zip(logs, self.models, strict=True))
        return ops.log(summed) + highest

    def compute_output_spec(self, outputs):
        """As of one member."""
        return keras.KerasTensor(outputs[0].shape, "float32")

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "models": self.models, "combine": self.combine}
