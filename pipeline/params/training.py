"""The section `train` of an experiment: optimizer, schedule, initial weights."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from pipeline.params.values import Count, Positive, Rate, Transforms
from pipeline.runtime.entries import Arguments, Entry, Seed


class SGD(Entry):
    """Stochastic gradient descent with momentum; `weight_decay` is the papers' (its gradient is decay x weight)."""

    name: Literal["sgd"]
    learning_rate: Rate
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Adam(Entry):
    """Adam (Kingma and Ba 2015) with Keras' betas and epsilon; `weight_decay` as for SGD."""

    name: Literal["adam"]
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0)] = 0.0


class Schedule(Entry):
    """A learning-rate schedule; the first `warmup_epochs` raise the rate linearly from `warmup_factor` times its value."""

    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    warmup_factor: Annotated[float, Field(ge=0, le=1)] = 0.1


class Constant(Schedule):
    """The optimizer's learning rate throughout."""

    name: Literal["constant"]


class Step(Schedule):
    """Times `factor` after every `every_epochs`."""

    name: Literal["step"]
    every_epochs: Positive
    factor: Annotated[float, Field(gt=0, lt=1)]


class Piecewise(Schedule):
    """Times `factors[i]` from `epochs[i - 1]` until `epochs[i]`: one factor more than epochs."""

    name: Literal["piecewise"]
    epochs: tuple[Annotated[float, Field(gt=0)], ...]
    factors: tuple[Rate, ...]

    @model_validator(mode="after")
    def _lengths(self) -> "Piecewise":
        if len(self.factors) != len(self.epochs) + 1:
            raise ValueError(
                f"expected {len(self.epochs) + 1} factors for {len(self.epochs)} epochs; received: {len(self.factors)}"
            )
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError(f"expected epochs that rise; received: {list(self.epochs)}")
        return self


class Plateau(Schedule):
    """Times `factor` whenever `val_loss` has not fallen for `patience_epochs`."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience_epochs: Positive


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
    """How a network is trained.

    Attributes:
        epochs: Passes over the training split; 0 takes the initial weights, then of every layer, as they are.
        batch_size: Examples a step, over all devices.
        optimizer: `sgd` or `adam`.
        schedule: `constant`, `step`, `piecewise` or `plateau`.
        early_stopping: When to stop before `epochs`, or nothing.
        precision: Keras' dtype policy.
        xla: Compile the step with XLA (then without TensorFlow's op determinism: the two exclude each other).
        steps_per_execution: Steps between two returns to Python.
        threads: Cores that one operation may use, on TensorFlow; all of them if left out, and then weights are rounded as the number
            of cores has it.
        loss: Keyword arguments of the task's `build_loss`.
        initial_weights: Layers of another experiment, or imported ones, to start from.
        augmentation: Albumentations transforms as a dataset's, applied to the packed training images anew in each epoch.
        seed: Of initial weights, order, augmentation and dropout, instead of the file's own: the networks of an ensemble differ in it.
    """

    epochs: Count
    batch_size: Positive
    optimizer: Annotated[SGD | Adam, Field(discriminator="name")]
    schedule: Annotated[Constant | Step | Piecewise | Plateau, Field(discriminator="name")]
    early_stopping: EarlyStopping | None = None
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    xla: bool = False
    steps_per_execution: Positive = 1
    loss: Arguments = Arguments({})
    initial_weights: InitialWeights
    # Left out of the dump where it is not used, so that results without it keep their fingerprint.
    augmentation: Transforms = Field(default=(), exclude_if=lambda transforms: not transforms)
    seed: Seed | None = Field(default=None, exclude_if=lambda seed: seed is None)
    threads: Positive | None = Field(default=None, exclude_if=lambda threads: threads is None)
