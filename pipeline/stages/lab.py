"""`cnnkeras lab CLAIM`: one statement of the lecture, measured, drawn, and shown in MLflow.

Writes `results/lab/CLAIM/numbers.json` and `figure.png`, and shows them as one MLflow run. The files are the record: where the
tracking store does not answer, they stay, a line says so, and `cnnkeras lab CLAIM --log-only` shows them later.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from threadpoolctl import threadpool_limits

from pipeline.lab import claims, slides
from pipeline.lab.claims import ClaimEntry, Findings
from pipeline.params import load_params
from pipeline.runtime import paths
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage

DIGITS = 6  # significant ones of every number: beyond them processors differ


def run(name: str, *, log_only: bool = False) -> None:
    """Measure an entry of the lab, or only show its last result in MLflow.

    Args:
        name: Entry under `lab:`.
        log_only: Measure nothing.

    Raises:
        InputError: No such entry; a network that it looks into is not trained; with `log_only`, no result or no store.
    """
    params = load_params()
    entry = params.claim(name)
    if not log_only:
        networks = [network for network in entry.networks.model_dump().values() if network != paths.SCRATCH]
        inputs = [paths.model_folder(network) for network in networks]
        outputs = [paths.claim_numbers(name), paths.claim_figure(name)]
        with stage("lab", name, inputs=inputs, outputs=outputs) as (numbers, figure):
            # Small matrices are not worth a second thread, and the sums of several come in another order.
            with threadpool_limits(1, "blas"):
                findings = claims.load(entry.claim).measure(entry, seed=params.seed)
            numbers.write_text(as_text(findings), encoding="utf-8")
            with slides.slide(figure, findings.title) as canvas:
                findings.draw(canvas)
    elif not paths.claim_numbers(name).is_file() or not paths.claim_figure(name).is_file():
        place = paths.claim_numbers(name).relative_to(paths.root())
        raise InputError(f"expected the result {place}; received: none. Run `cnnkeras lab {name}` first")
    content = json.loads(paths.claim_numbers(name).read_text(encoding="utf-8"))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{name}: {verdict(content)}. {content['paragraph']}", markup=False)
    try:
        console.print(_show(name, entry, params.seed, content), markup=False)
    except InputError as error:
        if log_only:
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"{name}: measured, but not shown in MLflow: {error}: `cnnkeras lab {name} --log-only`", markup=False
        )


def verdict(content: Mapping[str, Any]) -> str:
    """Of a numbers.json, in two words."""
    return "holds" if content["holds"] else "does not hold"


def as_text(findings: Findings) -> str:
    """numbers.json of a measurement."""
    keys = ("claim", "published", "measured", "spread", "holds", "paragraph")
    content = {key: _plain(getattr(findings, key)) for key in keys}
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value


def _show(name: str, entry: ClaimEntry, seed: int, content: Mapping[str, Any]) -> str:
    """Make sure that one finished MLflow run shows the result; returns what to say of it."""
    from pipeline.tracking import fingerprints, provenance  # MLflow takes seconds to import
    from pipeline.tracking import store as tracking

    settings = {key: json.dumps(value) for key, value in {**entry.model_dump(mode="json"), "seed": seed}.items()}
    files = [paths.claim_numbers(name), paths.claim_figure(name)]
    facts = [name, settings, [fingerprints.digest(file) for file in files]]
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    run_name = f"lab-{name}-{fingerprint[:8]}"
    with tracking.exclusive():
        store = tracking.Store("lab")
        with tracking.outage_is_input_error(store.uri):
            found = store.find(fingerprint=fingerprint)
            if any(run.info.status == "FINISHED" for run in found):
                return f"was logged already as {run_name} in {store.uri}"
            tags = {
                tracking.EXPERIMENT: f"lab/{name}",
                tracking.FINGERPRINT: fingerprint,
                "mlflow.source.name": f"cnnkeras lab {name}",
                "mlflow.note.content": f"{content['claim']}\n\n**{verdict(content)}.** {content['paragraph']}",
            }
            if commit := provenance.git_commit():
                tags |= {"cnnkeras.git_commit": commit, "mlflow.source.git.commit": commit}
            run = found[0] if found else store.create(run_name, tags)
            store.log_params(run, settings)
            store.log_points(run.info.run_id, {(key, 0): value for key, value in _metrics(content).items()})
            for file in files:
                store.client.log_artifact(run.info.run_id, str(file))
            store.client.set_terminated(run.info.run_id, "FINISHED")
    return f"logged as {run_name} in {store.uri}"


def _metrics(content: Mapping[str, Any]) -> dict[str, float]:
    """What MLflow can compare: the numbers measured, their spread, and the verdict."""
    metrics = {key: value for key, value in content["measured"].items() if isinstance(value, int | float)}
    metrics |= {f"{key}_spread": value for key, value in content["spread"].items() if value is not None}
    return {key: float(value) for key, value in metrics.items()} | {"holds": float(content["holds"])}
