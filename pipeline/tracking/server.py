"""The server of the MLflow UI, for this project's store."""

import os
import sys
from typing import NoReturn

from pipeline.tracking.store import Store, artifacts_uri, exclusive, store_uri


def remote_address() -> str | None:
    """Address of the tracking server that has this project's runs; None if the runs are in a local store."""
    return store_uri() if store_uri().startswith("http") else None


def charts_page() -> str:
    """Path, below the UI's address, of the page with the runs' charts; MLflow's front page is about language models.

    Raises:
        InputError: The store cannot be used.
    """
    with exclusive():
        store = Store()
    return f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"


def become(host: str, port: int) -> NoReturn:
    """Replace this process by the server of the UI."""
    server = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port)]
    stores = ["--backend-store-uri", store_uri(), "--default-artifact-root", artifacts_uri()]
    # By default MLflow starts four worker processes of 250 MB each, and a runner for jobs, which this project does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*server, *stores, "--workers", "1"], environment)
