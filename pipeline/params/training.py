"""The section `train` of an experiment."""

from typing import Annotated, Literal

from pydantic import Field

from cnnkeras.training import optimizers, schedules
from pipeline.backend.devices import Profile
from pipeline.images.transform_table import MIN_VISIBLE_FRACTION
from pipeline.params.values import Count, Fraction, Positive, Transforms
from pipeline.runtime.entries import Arguments, Entry, Seed, functions, one_of

MAX_THREADS = 1024  # more than a machine has cores; TensorFlow would start them all


class EarlyStopping(Entry):
    """Stop when `val_loss` has not fallen for `patience_epochs` epochs; the model then gets the weights of the best epoch, unless `keep` says `last`."""

    patience_epochs: Positive


class Checkpoint(Entry):
    """When a training keeps a state to go on from after a kill. It changes no result, so no stage depends on it.

    A state is kept at the end of an epoch too, and saving never takes more than a hundredth of the time, unless `steps` asks for it.

    Attributes:
        minutes: At most so many minutes apart.
        steps: At most so many steps apart; None: any number.
    """

    minutes: Annotated[float, Field(gt=0)] = 5.0
    steps: Positive | None = None


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
        accumulate: Each batch is computed in so many parts, which takes less memory; the step is that of the whole batch, except for
            rounding, for the masks of dropout and for the partners of mixup, which are drawn for each part.
        early_stopping: When to stop before `epochs`; None never stops early.
        keep: Whose weights the model gets, the `best` or the `last` epoch's. None: the best one's with `early_stopping`, else the last.
        keep_by: The number of the validation split by which an epoch is the best: `val_loss`, or a metric of the history.
        mixup_alpha: Train on mixtures of two examples, whose shares are drawn from Beta(alpha, alpha) (`cnnkeras.training.mixup`); above
            0, usually 0.1 to 0.4. None: on the examples themselves.
        ema_momentum: Of moving averages of the weights (`cnnkeras.training.averages`): these are validated, kept and saved, while the
            training goes on from the weights themselves. None: no averages.
        precision: Keras' dtype policy.
        profile: `deterministic`: two trainings have equal bits. `fast`: they may differ in the rounding of sums; the backend takes
            kernels that are not deterministic, and TensorFlow on a GPU compiles the step with XLA.
        steps_per_execution: Steps that run between two returns to Python.
        threads: Cores that one operation of TensorFlow may use. None: all cores, and the rounding of the weights then depends on the
            number of cores.
        loss: Keyword arguments of the `build` of the task's loss, or of another one of `cnnkeras/losses/` that its key `name` chooses.
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
    profile: Profile = "deterministic"
    steps_per_execution: Positive = 1
    loss: Arguments = Arguments({})
    initial_weights: InitialWeights
    # Left out of the dump if it is not used, so that results without it keep their fingerprint.
    augmentation: Transforms = Field(default=(), exclude_if=lambda transforms: not transforms)
    min_visible_fraction: Fraction = Field(
        default=MIN_VISIBLE_FRACTION, exclude_if=lambda fraction: fraction == MIN_VISIBLE_FRACTION
    )
    seed: Seed | None = Field(default=None, exclude_if=lambda seed: seed is None)
    accumulate: Positive = Field(default=1, exclude_if=lambda parts: parts == 1)
    keep: Literal["best", "last"] | None = Field(default=None, exclude_if=lambda keep: keep is None)
    keep_by: str = Field(default="val_loss", exclude_if=lambda name: name == "val_loss")
    mixup_alpha: Annotated[float, Field(gt=0)] | None = Field(default=None, exclude_if=lambda alpha: alpha is None)
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, exclude_if=lambda momentum: momentum is None
    )
    threads: Annotated[int, Field(gt=0, le=MAX_THREADS)] | None = Field(
        default=None, exclude_if=lambda threads: threads is None
    )

    @property
    def best_by(self) -> str | None:
        """The number by which the epoch is chosen whose weights the model gets; None: the last epoch's."""
        keeps_best = self.keep == "best" or (self.keep is None and self.early_stopping is not None)
        return self.keep_by if keeps_best else None
