"""Shows results in MLflow: one, or all that the tracking store lacks - after an outage, in a new store, after `dvc pull` in a fresh clone."""

import json
from pathlib import Path

from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.runtime.reading import read_object
from pipeline.runtime.seals import Seals
from pipeline.tracking import fingerprints, results
from pipeline.tracking.sending import View


def experiment(params: Params, name: str, view: View) -> None:
    """Show the result of an experiment or ensemble, and write its receipt.

    Raises:
        InputError: There is no such entry, or a file of the result is missing or was made by something else.
    """
    inputs, outputs = results.inputs(params, name), [paths.receipt(name)]
    with stage(params.stage("log", name), name, inputs=inputs, outputs=outputs, params=params) as (receipt,):
        found = results.all_of_experiment(params, name)
        for result in found:
            view.add(result)
        facts = {"experiment": name, "fingerprint": found[0].facts["fingerprint"], "run_name": found[0].run_name}
        receipt.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def everything(params: Params, view: View) -> None:
    """Show every result that is complete and that the store lacks. What cannot be shown is said in a line each."""
    for name in (*params.experiments, *params.ensembles):
        if all(map(Path.exists, results.inputs(params, name))):
            try:
                fingerprint = fingerprints.result_fingerprint(params, name)
                if view.lacks(fingerprint, part=""):
                    _require_receipt_of(fingerprint, name)
                    experiment(params, name, view)
            except InputError as error:
                _say(f"{name}: not logged: {error}")
    for name in params.lab:
        if paths.claim_numbers(name).is_file() and paths.claim_figure(name).is_file():
            try:
                if view.lacks(results.fingerprint_of_claim(params, name), part="lab"):
                    _require_whole(params, name)
                    claim(params, name, view)
            except InputError as error:
                _say(f"not logged: {error}")
    view.end_killed()


def _require_receipt_of(fingerprint: str, name: str) -> None:
    """Refuse a result that was logged here or elsewhere with other params or files than those of now."""
    receipt = paths.receipt(name)
    if receipt.is_file() and read_object(receipt).get("fingerprint") != fingerprint:
        raise InputError(
            f"expected params.yaml and files as they were when {receipt.relative_to(paths.root())} was written; received: others. "
            f"Run `dvc repro log@{name}` first"
        )


def _require_whole(params: Params, name: str) -> None:
    """Refuse a claim's result that was measured with other settings, or is damaged."""
    seals = Seals(params)
    for file in (paths.claim_numbers(name), paths.claim_figure(name)):
        seals.require(file, f"lab {name}")


def claim(params: Params, name: str, view: View) -> None:
    """Show the result of an entry of the lab."""
    view.add(results.of_claim(params, name))


def _say(text: str) -> None:
    Console(stderr=True, soft_wrap=True).print(text)
