"""The settings of a training in one object, resolved once from params.yaml."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from cnnkeras import architectures
from cnnkeras.protocols import fits
from cnnkeras.protocols.fits import Fit
from pipeline.params import SCRATCH, Input, Repeat, Train, check_found_classes, input_shape, output_shape
from pipeline.runtime import paths


@dataclass(frozen=True)
class Training:
    """An experiment's training, resolved from params.yaml.

    Attributes:
        name: Name of the experiment.
        title: The training for people: the experiment's name, with the seed if it is one of several.
        dataset: Name of its dataset.
        task: Task of the dataset.
        classes: Class names of the dataset, in order, without background.
        input_shape: Shape of one input of the model.
        output_shape: Shape of one output of the model.
        architecture: Module of the architecture, whose `build` makes the model.
        packed_shape: Shape of one packed input of the dataset.
        fit: How a packed image becomes an input without augmentation; None: it is packed as an input.
        model: Keyword arguments of `build`, besides the shapes and the input's statistics.
        input: Mean and standard deviation that the first layer subtracts and divides by.
        initial_model: File of the model that layers are copied from; None to start from scratch.
        seed: Seed of initial weights, order, augmentation and dropout.
        settings: The section `train` of the experiment.
    """

    name: str
    title: str
    dataset: str
    task: str
    classes: tuple[str, ...]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    architecture: ModuleType
    packed_shape: tuple[int | None, ...]
    fit: Fit | None
    model: Mapping[str, Any]
    input: Input
    initial_model: Path | None
    seed: int
    settings: Train

    @property
    def folder(self) -> Path:
        """Folder of the packed dataset."""
        return paths.augmented(self.dataset)

    @property
    def inputs(self) -> list[Path]:
        """Folders that the stage reads."""
        return [self.folder, *([self.initial_model.parent] if self.initial_model else [])]

    @property
    def location(self) -> str:
        """Dotted key of the section `train` in params.yaml, for messages."""
        return f"experiments.{self.name}.train"


def resolve(repeat: Repeat) -> Training:
    """One of the trainings of an experiment."""
    params, name = repeat.params, repeat.name
    check_found_classes(params, name)
    experiment = params.experiment(name)
    architecture, start = architectures.load(experiment.architecture), experiment.train.initial_weights.experiment
    return Training(
        name=name,
        title=repeat.title,
        dataset=experiment.dataset,
        task=params.task(name),
        classes=params.classes(experiment.dataset),
        input_shape=input_shape(params, experiment),
        output_shape=output_shape(architecture, params, experiment),
        architecture=architecture,
        packed_shape=params.dataset(experiment.dataset).packed_shape,
        fit=experiment.input.fit and experiment.input.fit.call(fits),
        model=experiment.model,
        input=experiment.input,
        initial_model=None if start == SCRATCH else paths.model_file(start),
        seed=repeat.seed,
        settings=experiment.train,
    )
