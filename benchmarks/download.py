"""Fetching and opening: a local server through `fetch_files` beside plain requests, and archives by kind.

python -m benchmarks.download
"""

import functools
import hashlib
import http.server
import tempfile
import threading
from pathlib import Path

import cv2
import numpy as np
import requests

from benchmarks import measuring
from pipeline.files import archives
from pipeline.files.archives import Archives
from pipeline.files.fetch import fetch_files
from pipeline.files.published import PublishedFile


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def main() -> None:
    """Measure, and write the result."""
    options = measuring.arguments(__doc__)
    cv2.setNumThreads(1)
    files = {f"n{n % 10:08d}/{n}.jpg": data for n, data in enumerate(measuring.photos(options.images))}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for ending in ("tar", "tgz"):
            measuring.write_tar(folder / f"images.{ending}", files)
        figures = fetching(folder, options.repetitions) | opening(folder, files, options.repetitions)
    ratios = {
        "fetch_to_requests": round(figures["fetch_mb_per_s"] / figures["requests_mb_per_s"], 2),
        "tgz_open_to_decode": round(figures["tgz_open_s"] / figures["decode_s"], 2),
    }
    measuring.write("download", ["fsspec", "opencv-python-headless", "requests"], figures, ratios)


def fetching(folder: Path, repetitions: int) -> dict[str, float]:
    """MB/s from a local server, with checksums and without."""
    content = (folder / "images.tar").read_bytes()
    file = {"name": "images.tar", "sha256": hashlib.sha256(content).hexdigest()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/images.tar"

        def plain() -> None:
            with requests.get(url, stream=True, timeout=60) as answer, (folder / "plain").open("wb") as copy:
                for block in answer.iter_content(2**20):
                    copy.write(block)

        ours = functools.partial(fetch_files, [PublishedFile(urls=(url,), **file)], folder / "raw" / "x", mirrors=[])
        taken = {"requests": measuring.seconds(plain, repetitions), "fetch": measuring.seconds(ours, repetitions)}
        server.shutdown()
    return {f"{name}_mb_per_s": round(len(content) / 1e6 / seconds, 1) for name, seconds in taken.items()}


def opening(folder: Path, files: dict[str, bytes], repetitions: int) -> dict[str, float]:
    """Processor seconds to list an archive, to read all of its members, and to decode them once they are there."""
    figures: dict[str, float] = {"archive_mb": round(sum(map(len, files.values())) / 1e6, 1)}
    for ending in ("tar", "tgz"):
        path = folder / f"images.{ending}"

        def opened(path: Path = path) -> Archives:
            archives._opened.cache_clear()
            return Archives([path])

        figures[f"{ending}_open_s"] = round(measuring.cpu_seconds(opened, repetitions), 4)
        members = opened()
        figures[f"{ending}_read_s"] = round(
            measuring.cpu_seconds(lambda m=members: [m[name] for name in m], repetitions), 4
        )
    figures["decode_s"] = round(measuring.cpu_seconds(lambda: list(map(decode, files.values())), repetitions), 4)
    return figures


def decode(file: bytes) -> np.ndarray:
    """An image, as `augment` decodes it."""
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)


if __name__ == "__main__":
    main()
