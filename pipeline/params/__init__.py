"""params.yaml as frozen, validated objects.

The file is read as YAML 1.2, as DVC reads it (so that 5e-4 is a number), and validated whole before anything runs. What
a kind of source, an architecture or a loss may be told is declared where it lives - the fields of `sources/KIND.py`'s
`Source`, the keyword arguments of an architecture's `build`, of a task's `build_loss` and `postprocess`, of a view - and checked here.

- `datasets`, `training`, `testing`, `experiments`, `whole`: what each section may say, as classes.
- `parsed`, `sentences`: the file with its lines; a sentence for what is wrong in it.
- `checks`: what is wrong only in view of another entry, an architecture or a kind of source.
- `loading`: all of it, once.
"""

from pipeline.params.datasets import Dataset, TrainingProposals
from pipeline.params.experiments import Ensemble, Experiment, Import, Input, PublishedResult, is_published
from pipeline.params.loading import load_params
from pipeline.params.testing import Predict
from pipeline.params.training import Train
from pipeline.params.whole import Params, output_shape
from pipeline.runtime.paths import SCRATCH

__all__ = [
    "SCRATCH",
    "Dataset",
    "Ensemble",
    "Experiment",
    "Import",
    "Input",
    "Params",
    "Predict",
    "PublishedResult",
    "Train",
    "TrainingProposals",
    "is_published",
    "load_params",
    "output_shape",
]
