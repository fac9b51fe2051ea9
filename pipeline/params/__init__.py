"""params.yaml as frozen, validated objects.

The file is read as YAML 1.2, as DVC reads it (so that 5e-4 is a number), and all of it is validated before anything runs. The options
of a kind of source, an architecture or a loss are declared in its own file - as the fields of the class `Source` of `sources/KIND.py`,
or as the keyword arguments of an architecture's `build`, of a loss's, of a task's `postprocess`, of a view - and checked here.

- `datasets`, `training`, `testing`, `experiments`, `whole`: the keys and values of each section, as classes.
- `parsed`, `sentences`: the file with its line numbers; pydantic's errors as sentences.
- `checks`: checks of an entry against other entries, its architecture or its kind of source.
- `loading`: reads the file and runs all checks.
"""

from pipeline.params.datasets import Dataset, TrainingProposals
from pipeline.params.experiments import Ensemble, Experiment, Import, Input, PublishedResult, is_published
from pipeline.params.loading import check_found_classes, load_params
from pipeline.params.testing import Predict
from pipeline.params.training import Checkpoint, Train
from pipeline.params.whole import Params, Repeat, input_shape, look_at, output_shape
from pipeline.runtime.paths import SCRATCH

__all__ = [
    "SCRATCH",
    "Checkpoint",
    "Dataset",
    "Ensemble",
    "Experiment",
    "Import",
    "Input",
    "Params",
    "Predict",
    "PublishedResult",
    "Repeat",
    "Train",
    "TrainingProposals",
    "check_found_classes",
    "input_shape",
    "is_published",
    "load_params",
    "look_at",
    "output_shape",
]
