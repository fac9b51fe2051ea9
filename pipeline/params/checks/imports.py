"""Checks of the entries under `imports:`: models from published weights."""

from cnnkeras import weights
from cnnkeras.by_name import unknown
from pipeline.params.checks.architectures import check_input, checked_model, known_architecture
from pipeline.params.experiments import Import, Input
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime import paths
from pipeline.runtime.paths import SCRATCH


def checked_import(file: ParsedFile, params: Params, name: str) -> Import:
    """An entry under `imports:` with all its defaults."""
    entry, location = params.imports[name], ("imports", name)
    if name in (*params.experiments, SCRATCH, *paths.RESERVED):
        raise file.error(location, "expected a name that no experiment has; received: one that is taken")
    if entry.format not in weights.names():
        raise file.error((*location, "format"), unknown(entry.format, weights.names(), "format"))
    architecture = known_architecture(file, location, entry)
    model = checked_model(file, location, entry, architecture)
    try:
        published = weights.load(entry.format).statistics(entry.architecture, str(model.get("variant")))
        architecture.output_shape(
            task=architecture.TASKS[0], classes=entry.classes, input_shape=entry.input_shape, **model
        )
    except ValueError as error:
        raise file.error(location, str(error)) from error
    statistics = entry.input or Input(mean=published.mean, std=published.std)
    check_input(file, location, statistics, entry.input_shape[-1])
    if "dataset" in (statistics.mean, statistics.std):
        raise file.error(
            (*location, "input"), "expected the numbers that the model was trained with; received: 'dataset'"
        )
    return entry.model_copy(update={"model": model, "input": statistics})
