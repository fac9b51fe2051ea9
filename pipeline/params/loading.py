"""Reads params.yaml and checks all of it, before anything runs."""

from pathlib import Path

from pipeline.params.checks.datasets import check_class_names, check_dataset
from pipeline.params.checks.ensembles import checked_ensemble
from pipeline.params.checks.experiments import check_published, checked_experiment
from pipeline.params.checks.files import check_files, check_paths
from pipeline.params.checks.imports import checked_import
from pipeline.params.checks.initial_weights import check_initial_weights
from pipeline.params.checks.lab import checked_claim
from pipeline.params.checks.missing import missing_arguments
from pipeline.params.checks.numbers import check_numbers
from pipeline.params.checks.sources import checked_source
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import validate
from pipeline.params.whole import Params
from pipeline.runtime import paths


def load_params(path: Path | None = None, *, with_files: bool = False) -> Params:
    """Read and validate a params file, by default the project's.

    Args:
        path: Path of the file; None for the project's params.yaml.
        with_files: Check as well that the files that entries name exist. Commands that run stages need them; commands that show
            results do not.

    Raises:
        InputError: Something is wrong; the message has the file, the line, the key, the expected and the received value.
    """
    path = path or paths.params_file()
    file = ParsedFile(path)
    params = validate(file, (), Params, file.plain, also_missing=missing_arguments)
    params.read_from(file.sha256)
    params = params.model_copy(update={"sources": {name: checked_source(file, name) for name in params.sources}})
    for name in params.datasets:
        check_dataset(file, params, name)
    check_paths(file, params)
    if with_files:
        check_files(file, params)
    experiments = {name: checked_experiment(file, params, name) for name in params.experiments}
    imports = {name: checked_import(file, params, name) for name in params.imports}
    params = params.model_copy(update={"experiments": experiments, "imports": imports})
    for name in params.experiments:
        check_initial_weights(file, params, name)
    ensembles = {name: checked_ensemble(file, params, name) for name in params.ensembles}
    params = params.model_copy(update={"ensembles": ensembles})
    for section in ("experiments", "ensembles"):
        for name in getattr(params, section):
            check_published(file, params, (section, name))
    check_numbers(file, file.plain)
    return params.model_copy(update={"lab": {name: checked_claim(file, params, name) for name in params.lab}})


def check_found_classes(params: Params, name: str) -> None:
    """Check what depends on the classes of data that say themselves which there are, as a stage of an experiment or ensemble starts.

    Raises:
        InputError: A setting does not fit the classes, or `download` has not written them down.
    """
    for model in params.models(name):
        dataset = params.experiment(model).dataset
        if params.known_classes(dataset) is None:
            file, there = ParsedFile(paths.params_file()), params.where_there_is(dataset)
            check_class_names(file, there, dataset)
            checked_experiment(file, there, model)
