"""params.yaml as one frozen object, with look-ups that combine several entries."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from pydantic import Field, PrivateAttr

from cnnkeras.by_name import unknown
from pipeline.lab.claims import ClaimEntry
from pipeline.params.datasets import Dataset
from pipeline.params.experiments import Ensemble, Experiment, Import
from pipeline.params.training import Checkpoint
from pipeline.params.values import Name
from pipeline.runtime import paths
from pipeline.runtime.entries import Arguments, Entry, Seed
from pipeline.runtime.errors import InputError
from pipeline.sources import SourceEntry, Task, class_names, listed_class_names


class Params(Entry):
    """The content of params.yaml: entries by name in each section.

    Attributes:
        seed: Seed of augmentation and training.
        backend: The library that computes, below Keras. One for all of the file.
        other_versions: What becomes of models that were trained with other versions of Python or of libraries: `cnnkeras plan` says so, and
            they are kept, or with `stale` trained again; writing `stale` trains all models once.
        mirror: Folder or URL to try first for every file that a source downloads.
        checkpoint: When a training keeps a state to go on from.
        sources: Archives to fetch, or generators.
        datasets: Sources prepared for a task.
        experiments: Models that are trained and measured.
        ensembles: Experiments that are measured together.
        lab: Claims of the lecture that are measured.
        imports: Models from published weights, for `initial_weights`.
    """

    seed: Seed
    backend: Literal["tensorflow", "jax", "torch"] = "tensorflow"
    other_versions: Literal["keep", "stale"] = "keep"
    mirror: str | None = None
    checkpoint: Checkpoint = Checkpoint()
    sources: dict[Name, Any]
    datasets: dict[Name, Dataset]
    experiments: dict[Name, Experiment]
    ensembles: dict[Name, Ensemble] = Field(default_factory=dict)
    lab: dict[Name, Any] = Field(default_factory=dict)
    imports: dict[Name, Import] = Field(default_factory=dict)
    _text_sha256: str = PrivateAttr("")
    _datasets_there: frozenset[str] = PrivateAttr(frozenset())

    def read_from(self, text_sha256: str) -> "Params":
        """These params, which remember the SHA-256 (hexadecimal) of the file that they were read from."""
        self._text_sha256 = text_sha256
        return self

    @property
    def text_sha256(self) -> str:
        """SHA-256 (hexadecimal) of the file that they were read from; empty if they were read from none."""
        return self._text_sha256

    def source(self, name: str) -> SourceEntry:
        """Entry of a source, or an `InputError` that names the known ones."""
        return _entry(self.sources, name, "source")

    def dataset(self, name: str) -> Dataset:
        """Entry of a dataset, or an `InputError` that names the known ones."""
        return _entry(self.datasets, name, "dataset")

    def experiment(self, name: str) -> Experiment:
        """Entry of an experiment, or an `InputError` that names the known ones."""
        return _entry(self.experiments, name, "experiment")

    def ensemble(self, name: str) -> Ensemble:
        """Entry of an ensemble, or an `InputError` that names the known ones."""
        return _entry(self.ensembles, name, "ensemble")

    def measured(self, name: str) -> Experiment | Ensemble:
        """Entry of an experiment or an ensemble, or an `InputError` that names the known ones."""
        return _entry({**self.experiments, **self.ensembles}, name, "experiment")

    def training_seed(self, experiment: str) -> int:
        """Seed of an experiment's training, of the first one with several; that of params.yaml if the experiment has none."""
        return self.repeats(experiment)[0].seed

    def repeats(self, name: str) -> list["Repeat"]:
        """The trainings of an experiment: one, or one with each of its seeds. An ensemble is measured once."""
        entry = self.measured(name)
        if name in self.ensembles:
            return [Repeat(name, self.seed, self)]
        if not entry.seeds:
            return [Repeat(name, self.seed if entry.train.seed is None else entry.train.seed, self)]
        return [
            Repeat(
                name, seed, self._with_one_seed(name, seed), f"seed-{seed}" if number else "", is_one_of_several=True
            )
            for number, seed in enumerate(entry.seeds)
        ]

    def _with_one_seed(self, name: str, seed: int) -> "Params":
        """These params, where an experiment has one of its seeds alone."""
        entry = self.experiment(name)
        alone = entry.model_copy(update={"seeds": None, "train": entry.train.model_copy(update={"seed": seed})})
        return self.model_copy(update={"experiments": {**self.experiments, name: alone}})

    def models(self, name: str) -> list[str]:
        """Names of the experiments whose models an ensemble averages, through ensembles of ensembles; [name] for an experiment."""
        if name not in self.ensembles:
            return [name]
        return [model for member in self.ensembles[name].members for model in self.models(member)]

    def first_experiment(self, name: str) -> Experiment:
        """Entry of an experiment, or of the first experiment of an ensemble."""
        return self.experiment(self.models(name)[0])

    def stage(self, name: str, entry: str) -> str:
        """Name in dvc.yaml of a stage for an entry: `evaluate` for an experiment, `evaluate_ensemble` for an ensemble."""
        return f"{name}_ensemble" if entry in self.ensembles else name

    def claim(self, name: str) -> ClaimEntry:
        """Entry of the lab, or an `InputError` that names the known ones."""
        return _entry(self.lab, name, "entry of the lab")

    def imported(self, name: str) -> Import:
        """Entry of an imported model, or an `InputError` that names the known ones."""
        return _entry(self.imports, name, "import")

    def task(self, experiment: str) -> Task:
        """Task of the dataset of an experiment or an ensemble."""
        return self.dataset(self.measured(experiment).dataset).task

    def classes(self, dataset: str) -> tuple[str, ...]:
        """Class names of a dataset, in order, without background.

        Raises:
            InputError: The data say which classes there are, and `download` has not written them down.
        """
        source = self.dataset(dataset).source
        return class_names(self.source(source), paths.raw(source))

    def known_classes(self, dataset: str) -> tuple[str, ...] | None:
        """The same before anything ran: None where the data say which classes there are, unless these params are those of a dataset that is there."""
        if dataset in self._datasets_there:
            return self.classes(dataset)
        return listed_class_names(self.source(self.dataset(dataset).source))

    def where_there_is(self, dataset: str) -> "Params":
        """These params, of a run for which a dataset's files are there."""
        params = self.model_copy()
        params._datasets_there = frozenset([dataset])
        return params


@dataclass(frozen=True)
class Repeat:
    """One of the trainings of an experiment, with what is made of its model.

    Attributes:
        name: The experiment's name, or an ensemble's.
        seed: Seed of the training.
        params: The params, in which it is the only training of the experiment.
        folder: Folder in each output of the experiment's stages that holds its part; empty for the first one, whose files lie where those of an
            only training lie.
        is_one_of_several: Whether the experiment has more trainings.
    """

    name: str
    seed: int
    params: Params
    folder: str = ""
    is_one_of_several: bool = False

    @property
    def title(self) -> str:
        """The experiment's name for people, with the seed if there are several: `yolo, seed 2`."""
        return f"{self.name}, seed {self.seed}" if self.is_one_of_several else self.name

    @property
    def key(self) -> str:
        """Name of what is kept of the training alone: `yolo`, or `yolo-seed-2`."""
        return f"{self.name}-{self.folder}" if self.folder else self.name


def _entry(entries: Mapping[str, Any], name: str, noun: str) -> Any:
    if name not in entries:
        raise InputError(f"{paths.PARAMS}: {unknown(name, entries, noun)}")
    return entries[name]


def input_shape(params: Params, experiment: Experiment) -> tuple[int, ...]:
    """Shape of one input of an experiment's model: (H, W, 3), or (L, 1) for a signal."""
    size = experiment.input.size
    return params.dataset(experiment.dataset).packed_shape if size is None else (*size, 3)


def look_at(params: Params, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `cnnkeras.looking.look.Look`: how an experiment's model looks at an image, as JSON can hold it.

    Args:
        params: All of params.yaml.
        name: Entry under `experiments:`.
        settings: The experiment's section `postprocess`, with numbers in place of `best`.
    """
    experiment = params.experiment(name)
    dataset = params.dataset(experiment.dataset)
    packed = {"size", "shorter_side", "max_shorter_side", "jpeg_quality"}
    return {
        "task": dataset.task,
        "classes": list(params.classes(experiment.dataset)),
        "postprocess": Arguments(settings).dump(),
        "dataset": dataset.model_dump(mode="json", include=packed),
        "input": experiment.input.model_dump(mode="json", include={"size", "fit"}),
        "predict": experiment.predict.model_dump(mode="json", exclude={"validation"}),
    }


def output_shape(architecture: ModuleType, params: Params, experiment: Experiment) -> tuple[int, ...]:
    """Shape of one output of an experiment's architecture.

    Raises:
        ValueError: The architecture cannot serve the dataset's task or the input's size.
        InputError: The data say which classes there are, and `download` has not written them down.
    """
    return output_shape_of(architecture, params, experiment, len(params.classes(experiment.dataset)))


def output_shape_of(architecture: ModuleType, params: Params, experiment: Experiment, classes: int) -> tuple[int, ...]:
    """The same for a number of classes."""
    return architecture.output_shape(
        task=params.dataset(experiment.dataset).task,
        classes=classes,
        input_shape=input_shape(params, experiment),
        **experiment.model,
    )
