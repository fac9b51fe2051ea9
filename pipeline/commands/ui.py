"""`cnnkeras ui`: the MLflow UI for this project's store, on this machine only."""

import socket
import sys

from pipeline.runtime.console import Console
from pipeline.runtime.errors import InputError

_HOST = "127.0.0.1"


def run(port: int = 5000) -> None:
    """Replace this process by the server of the UI, which Ctrl-C ends; if the store is a server itself, print its address.

    Args:
        port: Port on the loopback interface.

    Raises:
        InputError: The port is in use, or the store cannot be used.
    """
    from pipeline.tracking import server  # takes seconds to import

    console = Console(soft_wrap=True)
    if address := server.remote_address():
        console.print(f"This project's runs are on a tracking server: open {address}")
        return
    _require_free(port)
    page = server.charts_page()
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
