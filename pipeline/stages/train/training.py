"""Everything that a training is made of, looked up once."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cnnkeras import architectures
from pipeline.params import SCRATCH, Input, Params, Train, output_shape
from pipeline.runtime import paths


@dataclass(frozen=True)
class Training:
    """An experiment's training, resolved from params.yaml.

    Attributes:
        name: The experiment's.
        dataset: Name of its dataset.
        task: The dataset's.
        classes: The dataset's, in order, without background.
        input_shape: Of one input of the model.
        output_shape: Of one output.
        architecture: Builds the model.
        model: Keyword arguments of `build`, besides the shapes and the input's statistics.
        input: What the first layer subtracts and divides by.
        initial_model: File of the model that layers are copied from; None to start from scratch.
        seed: Of initial weights, order, augmentation and dropout.
        settings: The section `train`.
    """

    name: str
    dataset: str
    task: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    architecture: ModuleType
    model: Mapping[str, Any]
    input: Input
    initial_model: Path | None
    seed: int
    settings: Train

    @property
    def folder(self) -> Path:
        """The packed dataset's."""
        return paths.augmented(self.dataset)

    @property
    def inputs(self) -> list[Path]:
        """What the stage reads."""
        return [self.folder, *([self.initial_model.parent] if self.initial_model else [])]

    @property
    def where(self) -> str:
        """The section's keys in params.yaml, for messages."""
        return f"experiments.{self.name}.train"


def resolve(params: Params, name: str) -> Training:
    """The training of an experiment.

    Raises:
        InputError: There is no such experiment.
    """
    experiment = params.experiment(name)
    architecture, start = architectures.load(experiment.architecture), experiment.train.initial_weights.experiment
    return Training(
        name=name,
        dataset=experiment.dataset,
        task=params.task(name),
        classes=params.classes(experiment.dataset),
        input_shape=params.dataset(experiment.dataset).input_shape,
        output_shape=output_shape(architecture, params, experiment.dataset, experiment.model),
        architecture=architecture,
        model=experiment.model,
        input=experiment.input,
        initial_model=None if start == SCRATCH else paths.model_file(start),
        seed=params.training_seed(name),
        settings=experiment.train,
    )
