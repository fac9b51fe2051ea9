"""Checks of the entries under `ensembles:` against their members."""

from cnnkeras import tasks
from cnnkeras.by_name import unknown
from pipeline.params.checks.testing import checked_evaluate, checked_postprocess
from pipeline.params.experiments import Ensemble
from pipeline.params.parsed import ParsedFile
from pipeline.params.whole import Params
from pipeline.runtime import paths
from pipeline.runtime.paths import SCRATCH


def checked_ensemble(file: ParsedFile, params: Params, name: str) -> Ensemble:
    """An entry under `ensembles:` with all its defaults."""
    ensemble, location = params.ensembles[name], ("ensembles", name)
    if name in (*params.experiments, *params.imports, SCRATCH, *paths.RESERVED):
        raise file.error(location, f"expected a name of its own; received: {name!r}, which is another result's")
    if ensemble.dataset not in params.datasets:
        raise file.error((*location, "dataset"), unknown(ensemble.dataset, params.datasets, "dataset"))
    dataset = params.datasets[ensemble.dataset]
    shared = tasks.load(dataset.task).COMMON_KEYS
    if not shared:
        known = " or ".join(name for name in tasks.names() if tasks.load(name).COMMON_KEYS)
        raise file.error(location, f"expected a dataset for {known}; received: one for {dataset.task}")
    members = _experiments(file, params, name, (name,))
    if "masks" in tasks.load(dataset.task).ANNOTATIONS:
        _check_fits(file, params, (*location, "members"), members)
    for member in members:
        other = params.datasets[params.experiments[member].dataset]
        for key in shared:
            if getattr(other, key) != getattr(dataset, key):
                raise file.error(
                    (*location, "members"),
                    f"expected experiments whose datasets have the {key} of {ensemble.dataset}, "
                    f"{getattr(dataset, key)!r}; received: {member} with {getattr(other, key)!r}",
                )
    return ensemble.model_copy(
        update={
            "postprocess": checked_postprocess(
                file, params, (*location, "postprocess"), ensemble.dataset, ensemble.postprocess
            ),
            "evaluate": checked_evaluate(file, params, location, ensemble.dataset, ensemble.evaluate),
        }
    )


def _check_fits(file: ParsedFile, params: Params, location: tuple[str, ...], members: list[str]) -> None:
    """Refuse models that see an image at different places of their inputs: their score maps cannot be averaged."""
    first, *others = ((params.experiments[name].input.size, params.experiments[name].input.fit) for name in members)
    for name, placed in zip(members[1:], others, strict=True):
        if placed != first:
            raise file.error(
                location,
                f"expected experiments with one size and fit of their input; received: others of {name} than of {members[0]}",
            )


def _experiments(file: ParsedFile, params: Params, name: str, above: tuple[str, ...]) -> list[str]:
    """Names of the experiments of an ensemble and of the ensembles among its members; `above` names the ensembles that lead here."""
    location, experiments = ("ensembles", above[0], "members"), []
    for member in params.ensembles[name].members:
        if member in above:
            raise file.error(
                location,
                f"expected ensembles that are not within each other; received: {' <- '.join([*above, member])}",
            )
        if member not in params.experiments and member not in params.ensembles:
            known = [*params.experiments, *params.ensembles]
            raise file.error(location, unknown(member, known, "experiment"))
        is_experiment = member in params.experiments
        experiments += [member] if is_experiment else _experiments(file, params, member, (*above, member))
    duplicates = sorted({member for member in experiments if experiments.count(member) > 1})
    if duplicates:
        raise file.error(location, f"expected every model once; received: {', '.join(duplicates)} twice")
    return experiments
