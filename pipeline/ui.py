"""The MLflow UI on this project's store, for this machine only."""

import os
import socket
import sys

from rich.console import Console

from pipeline import provenance
from pipeline.errors import InputError

_HOST = "127.0.0.1"


def run(port: int = 5000) -> None:
    """Become the MLflow server; Ctrl-C ends it.

    Raises:
        InputError: Something else listens at the port.
    """
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    if store.startswith("http"):
        Console().print(f"This project's runs are on a tracking server: open {store}", soft_wrap=True)
        return
    _require_free(port)
    if not store:
        store = _own_store()
    Console().print(
        f"The MLflow UI opens in about ten seconds at http://{_HOST}:{port} (Ctrl-C ends it)", soft_wrap=True
    )
    sys.stdout.flush()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--host",
        _HOST,
        "--port",
        str(port),
    ]
    # By default it starts four servers of 400 MB and a runner of jobs that this project does not have.
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    artifacts = (provenance.home() / "mlartifacts").as_uri()
    os.execve(sys.executable, [*command, "--workers", "1", "--default-artifact-root", artifacts], environment)


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


def _own_store() -> str:
    """Address of the project's own store, which is created here if nothing was logged yet."""
    database = provenance.home() / "mlflow.db"
    if not database.exists():
        from pipeline import tracking

        with tracking.exclusive():
            tracking.Store()
    return f"sqlite:///{database}"
