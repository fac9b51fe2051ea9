"""The common parts of the benchmarks: generated images, median times, and a result file with the machine and the versions."""

import argparse
import io
import json
import os
import platform
import statistics
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.backend.environment import version
from pipeline.runtime.workers import available

RESULTS = Path(__file__).parent / "results"
IMAGENET_IMAGES, IMAGENET_CORES = 1_281_167, 16


def arguments(description: str, *, images: int | None = 256, archive: bool = False) -> argparse.Namespace:
    """Parse the command line of a benchmark.

    Args:
        description: Text of `--help`.
        images: Default of `--images`; None: the benchmark has no such option.
        archive: Whether the benchmark has the option `--archive`.
    """
    parser = argparse.ArgumentParser(description=description)
    if archive:
        parser.add_argument(
            "--archive", type=Path, help="measure with the images of this archive instead of generated ones"
        )
    if images is not None:
        parser.add_argument(
            "--images",
            type=int,
            default=images,
            help="number of images; results of more images take longer and vary less",
        )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="number of repetitions of each measurement, whose median is reported"
    )
    return parser.parse_args()


def photos(count: int, *, height: int = 375, width: int = 500) -> list[bytes]:
    """JPEG files with about as much detail as photographs: noise at several scales, weaker at finer ones; 90 to 120 kB each."""
    random = np.random.default_rng(0)
    files = []
    for _ in range(count):
        image = np.full((height, width, 3), 128, np.float32)
        for cells in (4, 16, 64, 256):
            noise = random.normal(0, 120 / np.sqrt(cells), (cells, cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
        files.append(
            cv2.imencode(".jpg", np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
        )
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> None:
    """Write a tar archive of files, given by name; compressed with gzip if the path ends with .tgz."""
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def seconds(
    work: Callable[[], object], repetitions: int, *, of: Callable[[list[float]], float] = statistics.median
) -> float:
    """Elapsed time of some work in seconds: the median of the repetitions, or another function `of` of their times."""
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return of(times)


def cpu_seconds(work: Callable[[], object], repetitions: int) -> float:
    """Median processor time of some work of this process in seconds, which does not count other work on the machine."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def write(name: str, packages: list[str], figures: dict[str, Any], ratios: dict[str, Any]) -> None:
    """Write `benchmarks/results/NAME.json`, and print it.

    Args:
        name: Name of the benchmark.
        packages: Packages whose versions matter; those that are not installed are listed as absent.
        figures: Measured numbers.
        ratios: Ratios of measured numbers, which depend less on the machine.
    """
    load = os.getloadavg()[0]
    result = {
        "machine": {
            "processor": _processor(),
            "cores": available(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": f"{platform.system()} {platform.machine()}",
            "load": round(
                load, 1
            ),  # above the number of cores: other work slowed the measurement, and ratios are more reliable than figures
        },
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "absent": [package for package in packages if version(package) is None],
        "figures": figures,
        "ratios": ratios,
    }
    text = json.dumps(result, indent=2) + "\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
    print(text, end="")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
