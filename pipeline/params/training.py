"""The section `train` of an experiment."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.training import optimizers, schedules
from pipeline.images.transform_table import MIN_VISIBLE_FRACTION
from pipeline.params.values import Count, Fraction, Positive, Transforms
from pipeline.runtime.entries import Arguments, Entry, Seed, functions, one_of

MAX_THREADS = 1024  # more than a machine has cores; TensorFlow would start them all


class EarlyStopping(Entry):
    """Stop when `val_loss` has not fallen for `patience_epochs` epochs; the model then gets the weights of the best epoch."""

    patience_epochs: Positive


class InitialWeights(Entry):
    """The model whose weights a training starts from.

    Attributes:
        experiment: Name of another experiment or of an entry under `imports:`, or `scratch` for the layers' own initialisers.
        layers: Names of the layers to copy; * and ? match any characters and any one character.
    """

    experiment: str
    layers: tuple[str, ...] = ()


class Train(Entry):
    """How a model is trained.

    Attributes:
        epochs: Passes over the training split; with 0 the model keeps its initial weights, which must then cover every layer.
        batch_size: Examples per step, over all devices together.
        optimizer: A function of `cnnkeras/training/optimizers.py`, and its arguments.
        schedule: A function of `cnnkeras/training/schedules.py`, and its arguments.
        early_stopping: When to stop before `epochs`; None never stops early.
        precision: Keras' dtype policy.
        xla: Compile the step with XLA, without TensorFlow's op determinism, as the two exclude each other.
        steps_per_execution: Steps that run between two returns to Python.
        threads: Cores that one operation of TensorFlow may use. None: all cores, and the rounding of the weights then depends on the
            number of cores.
        loss: Keyword arguments of the task's `build_loss`.
        initial_weights: The model and the layers whose weights the training starts from.
        augmentation: Albumentations transforms, as of a dataset; they are applied to the packed training images anew in each epoch.
        min_visible_fraction: As of a dataset, for this augmentation.
        seed: Seed of initial weights, order, augmentation and dropout, in place of the seed of params.yaml; the models of an ensemble
            have different ones.
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
    # Left out of the dump if it is not used, so that results without it keep their fingerprint.
    augmentation: Transforms = Field(default=(), exclude_if=lambda transforms: not transforms)
    min_visible_fraction: Fraction = Field(
        default=MIN_VISIBLE_FRACTION, exclude_if=lambda fraction: fraction == MIN_VISIBLE_FRACTION
    )
    seed: Seed | None = Field(default=None, exclude_if=lambda seed: seed is None)
    threads: Annotated[int, Field(gt=0, le=MAX_THREADS)] | None = Field(
        default=None, exclude_if=lambda threads: threads is None
    )
