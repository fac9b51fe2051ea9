"""A trained model as an MLflow model: MLflow copies this file beside the `.keras` file and runs it to load the model.

It must not import `pipeline`, and must import Keras only when a model is loaded, because `cnnkeras log` runs it too, without Keras.
"""

import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np

# Names, among the artifacts of the MLflow model, of the `.keras` file and of a zip archive with the code of `cnnkeras`.
MODEL, CODE = "model", "code"
# Keys of the MLflow model's configuration: Keras' backend, and the fields of `cnnkeras.looking.look.Look`.
BACKEND, LOOK = "backend", "look"
OUTPUTS = "outputs"  # a param of the signature, and the key of what it asks for


class ServedModel(mlflow.pyfunc.PythonModel):
    """A trained model, which says of images of any size what `cnnkeras show` says of them, and what `evaluate` measures."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Load the model.

        Raises:
            ValueError: The file is damaged, or holds anything but layers of Keras and cnnkeras and their numbers.
        """
        sys.path.insert(0, context.artifacts[CODE])
        os.environ.setdefault("KERAS_BACKEND", context.model_config[BACKEND])
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in the stages: the last bits depend on it
        import keras

        from cnnkeras import keras_file, layers
        from cnnkeras.looking.look import Look

        with Path(context.artifacts[MODEL]).open("rb") as file:
            keras_file.check(file)
        layers.register()
        self._model = keras.saving.load_model(context.artifacts[MODEL], compile=False, safe_mode=True)
        self._look = Look(**context.model_config[LOOK])

    # MLflow takes this annotation to mean "see the signature", and warns if there is none.
    def predict(self, model_input: np.ndarray, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """What the model says of each image: `predictions`, as `cnnkeras show --format json` writes them, and of segmentation a `label_map`.

        Args:
            model_input: An image or a list of images, each the path of a file, bytes or base64 of one, or an array of 0..255 (H, W, 3); or signals
                (L,) or (L, 1). A server opens no paths.
            params: `outputs: True` adds the raw outputs, as the stage `predict` stores them.

        Raises:
            ValueError: Something is no image, or no signal of the model's length.
        """
        from cnnkeras.looking import given

        look = self._look
        found = [_content(one) for one in given.examples(model_input, is_of_signals=look.is_of_signals)]
        examples = [
            given.signal(one, look.dataset["size"][0]) if look.is_of_signals else given.image(one) for one in found
        ]
        outputs = look.outputs(self._model, examples)
        answers = [
            look.answer(example.shape[:2], look.averaged(values)).as_json()
            for example, values in zip(examples, outputs, strict=True)
        ]
        if (params or {}).get(OUTPUTS):
            return [answer | {OUTPUTS: values} for answer, values in zip(answers, outputs, strict=True)]
        return answers


def _content(given: Any) -> Any:
    """The bytes of the file that a path names; anything else as it is. A server opens no file for whoever asks."""
    is_server = os.environ.get("_MLFLOW_IS_IN_SERVING_ENVIRONMENT") == "true"
    if isinstance(given, Path) or (isinstance(given, str) and not is_server and os.path.isfile(given)):  # noqa: PTH113 - False for a text that is too long for a path
        return Path(given).read_bytes()
    return given


mlflow.models.set_model(ServedModel())
