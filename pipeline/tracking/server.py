"""The server of the MLflow UI, for this project's store."""

import os
import sys
from typing import NoReturn

from pipeline.params import Params
from pipeline.runtime import paths
from pipeline.tracking import own_store, page
from pipeline.tracking.store import Store, exclusive, is_own, store_uri


def remote_address() -> str | None:
    """Address of the tracking server that has this project's runs; None if the runs are in a local store."""
    return store_uri() if store_uri().startswith("http") else None


def runs_page(params: Params) -> str:
    """Path, below the UI's address, of the page with the runs, in the project's own view (`page`).

    Raises:
        InputError: The store cannot be used.
    """
    with exclusive():
        store = Store()
        store.tag(page.TAG, page.view(params))
    return page.address(store.experiment_id)


def become(host: str, port: int) -> NoReturn:
    """Replace this process by the server of the UI."""
    server = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    # In the project's folder: the store names its files relative to it, and a path as such may not be part of an address.
    stores = ["--backend-store-uri", f"sqlite:///{own_store.DATABASE}" if is_own() else store_uri()]
    os.chdir(paths.home())
    # By default MLflow starts four worker processes of 250 MB each, and a runner for jobs, which this project does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*server, *stores, "--default-artifact-root", own_store.FILES], environment)
