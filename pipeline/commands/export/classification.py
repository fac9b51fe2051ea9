"""An exported classifier gives the probabilities of the classes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.commands.export import Output

if TYPE_CHECKING:
    import keras


def build(
    _images: "keras.KerasTensor",
    outputs: "keras.KerasTensor",
    classes: Sequence[str],
    _settings: Mapping[str, Any],
    _frame: "keras.KerasTensor | None",
) -> dict[str, Output]:
    """The softmax of logits (batch, C); `pipeline.commands.export` describes the arguments."""
    import keras

    probabilities = keras.layers.Softmax(name="probabilities", dtype="float32")(outputs)
    return {
        "probabilities": Output(probabilities, f"the probability of each of the {len(classes)} classes, in their order")
    }
