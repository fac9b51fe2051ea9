"""The model of an experiment, loaded."""

from typing import TYPE_CHECKING

from pipeline.backend import devices
from pipeline.runtime import paths

if TYPE_CHECKING:
    import keras


def load_model(experiment: str, *, seed: int, part: str = "") -> "keras.Model":
    """Set up the backend and load an experiment's model, ready for `predict_on_batch`.

    Args:
        experiment: Name of the experiment.
        seed: As for `devices.set_up`.
        part: Folder of a further seed's model; empty: the first one.
    """
    with devices.set_up(seed=seed):
        from pipeline.backend import model_files

        return model_files.load(paths.model_file(experiment, part))
