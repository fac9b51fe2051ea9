"""Fetching from a local server, by `fetch_files` and by plain requests; opening archives of each kind.

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
    """Serves a folder without printing messages."""

    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


def main() -> None:
    """Measure, print and write the result."""
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
    """MB/s from a local server: by `fetch_files`, with checksums, and by requests, without."""
    content = (folder / "images.tar").read_bytes()
    file = {"name": "images.tar", "sha256": hashlib.sha256(content).hexdigest()}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/images.tar"

        def get_plainly() -> None:
            with requests.get(url, stream=True, timeout=60) as response, (folder / "plain").open("wb") as copy:
                for block in response.iter_content(2**20):
                    copy.write(block)

        fetch = functools.partial(fetch_files, [PublishedFile(urls=(url,), **file)], folder / "raw" / "x", mirrors=[])
        times = {
            "requests": measuring.seconds(get_plainly, repetitions),
            "fetch": measuring.seconds(fetch, repetitions),
        }
        server.shutdown()
    return {f"{name}_mb_per_s": round(len(content) / 1e6 / seconds, 1) for name, seconds in times.items()}


def opening(folder: Path, files: dict[str, bytes], repetitions: int) -> dict[str, float]:
    """Processor seconds to list an archive, to read all its members, and to decode them in memory."""
    figures: dict[str, float] = {"archive_mb": round(sum(map(len, files.values())) / 1e6, 1)}
    for ending in ("tar", "tgz"):
        path = folder / f"images.{ending}"

        def open_archive(path: Path = path) -> Archives:
            archives._opened.cache_clear()
            return Archives([path])

        figures[f"{ending}_open_s"] = round(measuring.cpu_seconds(open_archive, repetitions), 4)
        members = open_archive()
        figures[f"{ending}_read_s"] = round(
            measuring.cpu_seconds(lambda m=members: [m[name] for name in m], repetitions), 4
        )
    figures["decode_s"] = round(measuring.cpu_seconds(lambda: list(map(decode, files.values())), repetitions), 4)
    return figures


def decode(file: bytes) -> np.ndarray:
    """The image of a file, uint8 (H, W, 3) RGB, decoded as in the stage `augment`."""
    return cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)


if __name__ == "__main__":
    main()
