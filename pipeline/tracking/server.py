"""The MLflow UI on this project's store."""

import os
import sys
from typing import NoReturn

from pipeline.tracking.store import Store, artifacts_uri, exclusive, store_uri


def remote_address() -> str | None:
    """Address of the tracking server that shows this project's runs; None if their store is the project's own."""
    return store_uri() if store_uri().startswith("http") else None


def charts_page() -> str:
    """The page with the charts of the runs, below the UI's address: MLflow's own front page is about language models.

    Raises:
        InputError: The store cannot be used.
    """
    with exclusive():
        store = Store()
    return f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"


def become(host: str, port: int) -> NoReturn:
    """Replace this process by the server of the UI."""
    server = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    where = ["--backend-store-uri", store_uri(), "--default-artifact-root", artifacts_uri()]
    # By default it starts four servers of 250 MB each, and a runner of jobs that this project does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*server, *where, "--workers", "1"], environment)
