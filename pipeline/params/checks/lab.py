"""Checks of the entries under `lab:`, each by the settings of its claim."""

from collections.abc import Mapping

from cnnkeras.by_name import unknown
from pipeline.lab import claims
from pipeline.lab.claims import ClaimEntry
from pipeline.params.checks.numbers import check_numbers
from pipeline.params.parsed import ParsedFile
from pipeline.params.sentences import shown, validate
from pipeline.params.values import MAX_COUNT
from pipeline.params.whole import Params, input_shape
from pipeline.runtime.paths import SCRATCH


def checked_claim(file: ParsedFile, params: Params, name: str) -> ClaimEntry:
    """An entry under `lab:` as the `Settings` of its claim, with all defaults."""
    entry, location = file.plain["lab"][name], ("lab", name)
    known = claims.names()
    if not isinstance(entry, Mapping):
        raise file.error(location, f"expected a mapping with a claim ({', '.join(known)}); received: {shown(entry)}")
    if "claim" not in entry:
        raise file.error(location, f"expected the key 'claim' ({', '.join(known)}); received: none")
    if entry["claim"] not in known:
        raise file.error((*location, "claim"), unknown(entry["claim"], known, "claim"))
    settings = validate(file, location, claims.load(entry["claim"]).Settings, entry)
    check_numbers(file, entry, location, max_number=MAX_COUNT)
    for role, model in settings.models.model_dump().items():
        if model not in (*params.experiments, SCRATCH):
            known = [*params.experiments, SCRATCH]
            raise file.error((*location, "models", role), unknown(model, known, "experiment"))
        if model != SCRATCH:
            _check_model(file, params, (*location, "models", role), entry["claim"], model)
    return settings


def _check_model(file: ParsedFile, params: Params, location: tuple[str, ...], claim: str, model: str) -> None:
    """Refuse a model that the claim cannot examine in the role that ends the location."""
    dataset = params.experiments[model].dataset
    entry, module = params.datasets[dataset], claims.load(claim)
    classes = params.known_classes(dataset)
    if hasattr(module, "require_model") and classes is not None:
        try:
            module.require_model(
                location[-1],
                task=entry.task,
                input_shape=input_shape(params, params.experiments[model]),
                classes=len(classes),
            )
        except ValueError as error:
            raise file.error(location, f"{error}, {model}") from error
