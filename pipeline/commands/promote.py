"""`cnnkeras promote`: gives the logged model of an experiment a name and an alias, by which others load it."""

import re

from pipeline.params import load_params
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError


def run(experiment: str, *, name: str | None = None, alias: str = "champion") -> None:
    """Register the model of an experiment's result, as it is logged in MLflow, and give that version an alias.

    Args:
        experiment: Entry under `experiments:`.
        name: Of the registered model. None: the experiment's.
        alias: Of the version; the one that had it before loses it.

    Raises:
        InputError: There is no such experiment, its result is not logged or from before a change, a name is none, or the store cannot be
            used.
    """
    params, name = load_params(), experiment if name is None else name
    if experiment in params.ensembles:
        raise InputError(
            f"ensembles.{experiment}: expected an experiment, whose model is logged; received: an ensemble. Promote one of its models: "
            f"{', '.join(dict.fromkeys(params.models(experiment)))}"
        )
    params.experiment(experiment)
    _require_names(name, alias)
    from pipeline.tracking import registry  # takes seconds to import

    promoted = registry.promote(params, experiment, name, alias)
    how = "" if promoted.former is None else f", in place of version {promoted.former}"
    if promoted.former == promoted.version:
        how = " already"
    Console(soft_wrap=True).print(
        f"{experiment}: version {promoted.version} of {name} in {promoted.place} is `{alias}`{how}: models:/{name}@{alias}"
    )


def _require_names(name: str, alias: str) -> None:
    """Refuse a name that MLflow could not find again by `models:/NAME@ALIAS`."""
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"--name: expected letters, digits and `_ . -`; received: {name!r}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", alias) or re.fullmatch(r"(?i)latest|v\d+", alias):
        raise InputError(
            f"--alias: expected letters, digits, `_` and `-`, and neither `latest` nor `v1`, which MLflow keeps for itself; received: {alias!r}"
        )
