"""A server that is far away: a proxy that waits before each request."""

import contextlib
import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server after a delay, and counts them."""

    def __init__(self, address: str, delay_seconds: float):
        self.target, self.delay_seconds, self.requests = urlsplit(address), delay_seconds, Counter()
        super().__init__(("127.0.0.1", 0), _Forward)
        self.address = f"http://127.0.0.1:{self.server_port}"


class _Forward(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.requests[f"{self.command} {self.path.partition('?')[0]}"] += 1
        time.sleep(self.server.delay_seconds)
        target = http.client.HTTPConnection(self.server.target.hostname, self.server.target.port, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "content-length")}
        with contextlib.closing(target):
            target.request(self.command, self.path, body, headers)
            answer = target.getresponse()
            content = answer.read()
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def slow_proxy(address: str, delay_seconds: float) -> Iterator[Proxy]:
    """A proxy in front of a server while the block runs."""
    proxy = Proxy(address, delay_seconds)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
