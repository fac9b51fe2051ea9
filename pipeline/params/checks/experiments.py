"""Checks of the entries under `experiments:` against their dataset and architecture."""

from cnnkeras import architectures
from cnnkeras.architectures import check_task
from cnnkeras.by_name import unknown
from pipeline.params.checks.architectures import check_input, check_input_size, checked_model, known_architecture
from pipeline.params.checks.testing import (
    check_predict,
    check_similar_classes,
    checked_evaluate,
    checked_postprocess,
    completed_predict,
)
from pipeline.params.checks.training import check_normalization, check_training, checked_loss
from pipeline.params.checks.transforms import check_end, check_transforms, check_visible_fraction
from pipeline.params.experiments import Experiment, is_published
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params, input_shape, output_shape_of
from pipeline.runtime import paths
from pipeline.runtime.entries import Arguments
from pipeline.runtime.paths import SCRATCH

UNKNOWN_CLASSES = 10  # of data that say themselves which classes there are: a size that an architecture refuses is refused whatever their number


def checked_experiment(file: ParsedFile, params: Params, name: str) -> Experiment:
    """An entry under `experiments:` with all defaults; its initial weights are checked later, as they may be of a later entry."""
    experiment, location = params.experiments[name], ("experiments", name)
    if name == SCRATCH:
        raise file.error(location, f"expected another name: {SCRATCH!r} means weights that come from no experiment")
    if name in paths.RESERVED:
        raise file.error(location, f"expected another name: results/{name} belongs to no experiment")
    if experiment.dataset not in params.datasets:
        raise file.error((*location, "dataset"), unknown(experiment.dataset, params.datasets, "dataset"))
    dataset = params.datasets[experiment.dataset]
    check_input(file, location, experiment.input, dataset.packed_shape[-1])
    check_input_size(file, location, dataset, experiment)
    model = _fitting_model(file, params, location, experiment)
    check_training(file, params, name)
    loss = checked_loss(file, params, name)
    check_normalization(file, params, name, model)
    check_similar_classes(file, params, location, experiment.dataset, experiment.evaluate)
    check_predict(file, params, location, experiment)
    if experiment.train.augmentation and (dataset.is_signal or not experiment.train.epochs):
        received = f"some for size {list(dataset.size)}" if experiment.train.epochs else "some with epochs: 0"
        raise file.error(
            (*location, "train", "augmentation"), f"expected none, or images to train on; received: {received}"
        )
    check_transforms(file, (*location, "train", "augmentation"), experiment.train.augmentation)
    check_end(
        file,
        (*location, "train", "augmentation"),
        dataset,
        input_shape(params, experiment),
        experiment.train.augmentation,
    )
    check_visible_fraction(file, (*location, "train"), experiment.train, dataset.task)
    postprocess = checked_postprocess(
        file, params, (*location, "postprocess"), experiment.dataset, experiment.postprocess
    )
    return experiment.model_copy(
        update={
            "model": model,
            "train": experiment.train.model_copy(update={"loss": loss}),
            "predict": completed_predict(file, location, experiment.predict, postprocess),
            "postprocess": postprocess,
            "evaluate": checked_evaluate(file, params, location, experiment.dataset, experiment.evaluate),
        }
    )


def _fitting_model(file: ParsedFile, params: Params, location: tuple[str, ...], experiment: Experiment) -> Arguments:
    """The checked options of the architecture, which fits the dataset's task and size."""
    architecture = known_architecture(file, location, experiment)
    task, cannot = params.datasets[experiment.dataset].task, f"{experiment.architecture} cannot serve dataset"
    try:
        check_task(experiment.architecture, architecture.TASKS, task)
    except ValueError as error:  # before its options, which may be those of another architecture
        raise file.error((*location, "architecture"), f"{cannot} {experiment.dataset}: {error}") from error
    model = checked_model(file, location, experiment, architecture)
    try:
        classes = params.known_classes(experiment.dataset)
        count = UNKNOWN_CLASSES if classes is None else len(classes)
        output_shape_of(architecture, params, experiment.model_copy(update={"model": model}), count)
    except ValueError as error:
        raise file.error((*location, "architecture"), f"{cannot} {experiment.dataset}: {error}") from error
    return model


def check_published(file: ParsedFile, params: Params, location: tuple[str, str]) -> None:
    """Refuse a reference to a published result that the architecture does not list."""
    published = params.measured(location[1]).published
    if published is None:
        return
    rows = architectures.load(params.first_experiment(location[1]).architecture).PUBLISHED
    systems = sorted({row.system for row in rows})
    if published.system not in systems:
        raise file.error((*location, "published", "system"), unknown(published.system, systems, "published system"))
    if not any(is_published(row, published) for row in rows):
        raise file.error(
            (*location, "published", "table"),
            f"expected a table with a number of {published.system}; received: {published.table}",
        )
