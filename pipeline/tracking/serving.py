"""A trained model as an MLflow model: MLflow copies this file beside the `.keras` file and runs it to load the model.

It must not import `pipeline`, and must import Keras only when a model is loaded, because `cnnkeras log` runs it too, without Keras.
"""

import sys
from pathlib import Path

import mlflow
import numpy as np

# Names, among the artifacts of the MLflow model, of the `.keras` file and of a zip archive with the code of `cnnkeras`.
MODEL, CODE = "model", "code"


class ServedModel(mlflow.pyfunc.PythonModel):
    """A trained model. `predict` returns its outputs, the same numbers that the stage `predict` stores.

    `cnnkeras`, which is saved with the model, reads an image file as every stage does: `cnnkeras.images.read(content).pixels`.
    """

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Load the model.

        Raises:
            ValueError: The file is damaged, or holds anything but layers of Keras and cnnkeras and their numbers.
        """
        sys.path.insert(0, context.artifacts[CODE])
        import keras

        from cnnkeras import keras_file, layers

        with Path(context.artifacts[MODEL]).open("rb") as file:
            keras_file.check(file)
        layers.register()
        self._model = keras.saving.load_model(context.artifacts[MODEL], compile=False, safe_mode=True)

    # MLflow takes this annotation to mean "see the signature", and warns if there is none.
    def predict(self, model_input: np.ndarray) -> np.ndarray:
        """Outputs, float32 (N, ...), of inputs, uint8 (N, H, W, 3) or float32 (N, L, 1)."""
        return self._model.predict(model_input, verbose=0)


mlflow.models.set_model(ServedModel())
