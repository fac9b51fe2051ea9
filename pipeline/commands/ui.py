"""`cnnkeras ui`: the MLflow UI for this project's store, on this machine only."""

import socket
import sys

from pipeline.params import load_params
from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError

_HOST = "127.0.0.1"


def run(port: int = 5000) -> None:
    """Log every result that the store lacks, then replace this process by the server of the UI, which Ctrl-C ends.

    If the store is a server itself, print its address.

    Args:
        port: Port on the loopback interface.

    Raises:
        InputError: The port is in use, or the store cannot be used.
    """
    from pipeline.tracking import replay, sending, server  # takes seconds to import

    address = server.remote_address()
    if not address:
        _require_free(port)
    params = load_params()
    with sending.view() as view:
        replay.everything(params, view)
    console, page = Console(soft_wrap=True), server.runs_page(params)
    if address:
        console.print(f"This project's runs are on a tracking server: open {address}/{page}")
        return
    console.print(f"In a few seconds the MLflow UI is at http://{_HOST}:{port}/{page}\nCtrl-C ends it.")
    sys.stdout.flush()
    server.become(_HOST, port)


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
