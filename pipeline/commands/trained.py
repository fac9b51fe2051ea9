"""What commands need to know of a trained model: that it is there and whole, and what its post-processing has chosen."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnkeras.tasks import BEST
from pipeline.formats.predictions import read_chosen
from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.seals import Seals


def require_trained(params: Params, name: str) -> None:
    """Refuse an experiment whose model is not there or damaged, and say if it is from before a change.

    Raises:
        InputError: See above.
    """
    if not paths.model_file(name).is_file():
        file = paths.model_file(name).relative_to(paths.root())
        raise InputError(
            f"expected the trained model {file}; received: no such file. "
            f"Run `cnnkeras train {name}` or `dvc repro train@{name}` first"
        )
    _require_whole(params, name, paths.model_file(name), "the model")


def chosen_settings(params: Params, name: str) -> Mapping[str, Any]:
    """The section `postprocess`, with the numbers that were chosen on the validation split.

    Raises:
        InputError: They have not been chosen yet, or are damaged.
    """
    settings, folder = params.measured(name).postprocess, paths.predictions(name)
    if BEST not in settings.values():
        return settings
    _require_whole(params, name, folder, "the choice on the validation split")
    chosen = read_chosen(folder)
    if missing := [key for key, value in settings.items() if value == BEST and key not in chosen]:
        raise InputError(
            f"experiments.{name}.postprocess.{missing[0]}: expected a number that was chosen on the validation split; received: none "
            f"in {folder.relative_to(paths.root())}. Run `dvc repro postprocess@{name}` first"
        )
    return {**settings, **chosen}


def _require_whole(params: Params, name: str, path: Path, what: str) -> None:
    """Refuse a damaged result, and say if it is from before a change."""
    seals = Seals(params)
    if change := seals.require_whole(path):
        note = f"{name}: {what} is from before a change, {change.text}"
        Console(stderr=True, soft_wrap=True).print(note)
    seals.save()
