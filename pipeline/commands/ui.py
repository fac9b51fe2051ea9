"""The MLflow UI on this project's store, for this machine only."""

import os
import socket
import sys

from rich.console import Console

from pipeline.runtime.errors import InputError

_HOST = "127.0.0.1"


def run(port: int = 5000) -> None:
    """Become the MLflow server; Ctrl-C ends it.

    Raises:
        InputError: Something else listens at the port, or the store cannot be used.
    """
    from pipeline.tracking import store as tracking

    console = Console(soft_wrap=True, highlight=False)
    if tracking.store_uri().startswith("http"):
        console.print(f"This project's runs are on a tracking server: open {tracking.store_uri()}")
        return
    _require_free(port)
    with tracking.exclusive():
        store = tracking.Store()
    # Straight to the charts of the runs: MLflow's own front page is about language models.
    charts = f"#/experiments/{store.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"
    console.print(f"In a few seconds the MLflow UI is at http://{_HOST}:{port}/{charts}\nCtrl-C ends it.")
    sys.stdout.flush()
    server = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)]
    where = ["--backend-store-uri", store.uri, "--default-artifact-root", tracking.artifacts_uri()]
    # By default it starts four servers of 250 MB each, and a runner of jobs that this project does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    os.execve(sys.executable, [*server, *where, "--workers", "1"], environment)


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError as error:
            raise InputError(
                f"--port: expected a free port; received: {port} ({error.strerror}). "
                f"Open http://{_HOST}:{port} if that is this UI already, or try --port {port % 65535 + 1}"
            ) from error
