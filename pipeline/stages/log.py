"""Stage `log`: shows a result in MLflow; a result that is logged again adds no second run.

A result is everything that `fingerprints.result_fingerprint` covers. The stage's output, the receipt, names the run without its id,
which is different in each store. A store that does not answer fails nothing: what it lacks waits (`pipeline.tracking.records`).
"""

from pipeline.params import load_params
from pipeline.tracking import replay
from pipeline.tracking.sending import view


def run(experiment: str | None = None) -> None:
    """Log a result to MLflow and write a receipt, `results/EXPERIMENT/mlflow.json`; and send what waits since earlier.

    Args:
        experiment: Entry under `experiments:` or `ensembles:`. None: every result that the store lacks, those of the lab too.

    Raises:
        InputError: There is no such entry, or a file of the result is missing.
    """
    params = load_params()
    with view() as opened:
        if experiment is None:
            replay.everything(params, opened)
        else:
            replay.experiment(params, experiment, opened)
