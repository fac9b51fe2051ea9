"""Stage `lab`: measures a claim of the lecture, draws the result and shows it in MLflow.

Writes `results/lab/CLAIM/numbers.json` and `figure.png`, and shows them as one MLflow run. If the tracking store does not answer, the
files stay, a warning is printed, and `cnnkeras lab CLAIM --log-only` shows them later.
"""

import json
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from pipeline.lab import claims, numbers, slides
from pipeline.lab.claims import ClaimEntry
from pipeline.lab.numbers import Numbers
from pipeline.params import Params, load_params
from pipeline.runtime import paths
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError
from pipeline.runtime.guard import stage
from pipeline.runtime.seals import Seals

if TYPE_CHECKING:
    from pipeline.tracking.results import Result


def run(name: str, *, log_only: bool = False) -> None:
    """Measure an entry of the lab, or only show its last result in MLflow.

    Args:
        name: Entry under `lab:`.
        log_only: Show the last result and measure nothing.

    Raises:
        InputError: There is no such entry; one of its models is not trained; with `log_only`: there is no result, or the tracking store
            does not answer.
    """
    params = load_params()
    entry = params.claim(name)
    if log_only:
        _require_result(name, params)
    else:
        _measure(name, entry, params)
    content = numbers.read(paths.claim_numbers(name))
    console = Console(soft_wrap=True)
    console.print(f"{name}: {content.verdict}. {content.paragraph}")
    from pipeline.tracking.results import show  # MLflow takes seconds to import

    try:
        console.print(show(_result(name, entry, params.seed, content)))
    except InputError as error:
        if log_only:
            raise
        Console(stderr=True, soft_wrap=True).print(
            f"{name}: measured, but not shown in MLflow: {error}: `cnnkeras lab {name} --log-only`", markup=False
        )


def _measure(name: str, entry: ClaimEntry, params: Params) -> None:
    """Write the numbers and the figure."""
    inputs = [paths.model_folder(model) for model in entry.trained_models]
    outputs = [paths.claim_numbers(name), paths.claim_figure(name)]
    with stage("lab", name, inputs=inputs, outputs=outputs, params=params) as (numbers_file, figure_file):
        # One thread: small matrices gain nothing from a second, and the order of sums depends on the number of threads.
        with threadpool_limits(1, "blas"):
            findings = claims.load(entry.claim).measure(entry, seed=params.seed)
        numbers.write(numbers_file, findings)
        with slides.slide(figure_file, findings.title) as canvas:
            findings.draw(canvas)


def _require_result(name: str, params: Params) -> None:
    if not paths.claim_numbers(name).is_file() or not paths.claim_figure(name).is_file():
        file = paths.claim_numbers(name).relative_to(paths.root())
        raise InputError(f"expected the result {file}; received: none. Run `cnnkeras lab {name}` first")
    for output in (paths.claim_numbers(name), paths.claim_figure(name)):
        Seals(params).require(output, f"lab {name} --log-only")


def _result(name: str, entry: ClaimEntry, seed: int, content: Numbers) -> "Result":
    """The result, its settings and its files for MLflow."""
    from pipeline.tracking import fingerprints, provenance
    from pipeline.tracking.results import Result

    settings = {key: json.dumps(value) for key, value in {**entry.model_dump(mode="json"), "seed": seed}.items()}
    files = [paths.claim_numbers(name), paths.claim_figure(name)]
    fingerprint, commit = fingerprints.claim_fingerprint(name, settings, files), provenance.git_commit()
    facts = {"experiment": f"lab/{name}", "fingerprint": fingerprint, **({"git_commit": commit} if commit else {})}
    return Result(
        run_name=f"lab-{name}-{fingerprint[:8]}",
        facts=facts,
        command=f"cnnkeras lab {name}",
        description=f"{content.claim}\n\n**{content.verdict}.** {content.paragraph}",
        params=settings,
        metrics=_metrics(content),
        files=[(file, None) for file in files],
        part="lab",
    )


def _metrics(content: Numbers) -> dict[str, float]:
    """Metrics for MLflow: the measured numbers, their spreads as KEY_spread, and the verdict as `holds`, 0 or 1."""
    metrics = {key: value for key, value in content.measured.items() if isinstance(value, int | float)}
    metrics |= {f"{key}_spread": value for key, value in content.spread.items() if value is not None}
    return {key: float(value) for key, value in metrics.items()} | {"holds": float(content.holds)}
