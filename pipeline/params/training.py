"""The section `train` of an experiment."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.training import optimizers, schedules
from pipeline.params.values import Count, Positive, Transforms
from pipeline.runtime.entries import Arguments, Entry, Seed, functions, one_of

MAX_THREADS = 1024  # more cores than a machine has, and all of them would start


class EarlyStopping(Entry):
    """Stop when `val_loss` has not fallen for `patience_epochs`; the best weights are kept."""

    patience_epochs: Positive


class InitialWeights(Entry):
    """Where the weights come from.

    Attributes:
        experiment: Another experiment, an entry under `imports:`, or `scratch` for the layers' own initialisers.
        layers: Names of the layers to copy, with * and ?.
    """

    experiment: str
    layers: tuple[str, ...] = ()


class Train(Entry):
    """How a model is trained.

    Attributes:
        epochs: Passes over the training split; 0 takes the initial weights, then of every layer, as they are.
        batch_size: Examples a step, over all devices.
        optimizer: A function of `cnnkeras/training/optimizers.py`, and its arguments.
        schedule: A function of `cnnkeras/training/schedules.py`, and its arguments.
        early_stopping: When to stop before `epochs`, or nothing.
        precision: Keras' dtype policy.
        xla: Compile the step with XLA (then without TensorFlow's op determinism: the two exclude each other).
        steps_per_execution: Steps between two returns to Python.
        threads: Cores that one operation may use, on TensorFlow; all of them if left out, and then weights are rounded as the number
            of cores has it.
        loss: Keyword arguments of the task's `build_loss`.
        initial_weights: Layers of another experiment, or imported ones, to start from.
        augmentation: Albumentations transforms as a dataset's, applied to the packed training images anew in each epoch.
        seed: Of initial weights, order, augmentation and dropout, instead of the file's own: the models of an ensemble differ in it.
    """

    epochs: Count
    batch_size: Positive
    optimizer: one_of(functions(optimizers))
    schedule: one_of(functions(schedules), check=True)
    early_stopping: EarlyStopping | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    xla: bool = False
    steps_per_execution: Positive = 1
    loss: Arguments = Arguments({})
    initial_weights: InitialWeights
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    augmentation: Transforms = Field(default=(), exclude_if=lambda transforms: not transforms)
    seed: Seed | None = Field(default=None, exclude_if=lambda seed: seed is None)
    threads: Annotated[int, Field(gt=0, le=MAX_THREADS)] | None = Field(
        default=None, exclude_if=lambda threads: threads is None
    )
