"""Stage `lab`: measures a claim of the lecture, draws the result and shows it in MLflow.

Writes `results/lab/CLAIM/numbers.json` and `figure.png`, and shows them as one MLflow run, which waits if the tracking store does not answer.
"""

from threadpoolctl import threadpool_limits

from pipeline.lab import claims, numbers, slides
from pipeline.lab.claims import ClaimEntry
from pipeline.params import Params, load_params
from pipeline.runtime import outcome, paths
from pipeline.runtime.guard import stage
from pipeline.tracking.times import Recorder


def run(name: str) -> None:
    """Measure an entry of the lab, and show its result in MLflow.

    Args:
        name: Entry under `lab:`.

    Raises:
        InputError: There is no such entry, or one of its models is not trained.
    """
    params = load_params()
    clock = Recorder()
    _measure(name, params.claim(name), params)
    content = numbers.read(paths.claim_numbers(name))
    outcome.say("lab", name, f"{content.verdict}. {content.paragraph}", paths.claim_figure(name))
    from pipeline.tracking import replay, results  # MLflow takes seconds to import
    from pipeline.tracking.sending import view

    clock.of(results.fingerprint_of_claim(params, name))
    clock.end()
    with view() as opened:
        replay.claim(params, name, opened)


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
