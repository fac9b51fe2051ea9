"""The trained model as an MLflow model: MLflow copies this file beside the `.keras` file and runs it to load the two.

It may import nothing of `pipeline`, and Keras only when a model is loaded: `cnnkeras log` runs it too, without Keras.
"""

from pathlib import Path

import mlflow
import numpy as np

MODEL = "network"  # the name of the `.keras` file among MLflow's artifacts of the model


class ServedModel(mlflow.pyfunc.PythonModel):
    """A trained model. `predict` gives its outputs: the numbers that the stage `predict` stores."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Load the model.

        Raises:
            ValueError: The file is damaged or holds something else than layers of Keras and of cnnkeras and their numbers.
        """
        import keras

        from cnnkeras import keras_file, layers

        with Path(context.artifacts[MODEL]).open("rb") as file:
            keras_file.check(file)
        layers.register()
        self._model = keras.saving.load_model(context.artifacts[MODEL], compile=False, safe_mode=True)

    # MLflow takes the annotation as "see the signature" and warns without one.
    def predict(self, model_input: np.ndarray) -> np.ndarray:
        """Outputs, float32 (N, ...), of inputs (N, H, W, 3) uint8 or (N, L, 1) float32."""
        return self._model.predict(model_input, verbose=0)


mlflow.models.set_model(ServedModel())
