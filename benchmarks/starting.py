"""The first step of a training on JAX, compiled and read from the cache of what an earlier start compiled, for four experiments of params.yaml.

    python -m benchmarks.starting

Each start is a process of its own in a copy of params.yaml with `backend: jax`. The step is that of the experiment: its network, batch size,
optimizer, loss, metrics and threads, on random examples.

    first_step_s, second_step_s     seconds of the first step, without a cache and with one: tracing, compiling or reading, computing
    first_start_s, second_start_s   from the start of the process to the end of that step: imports and building the network are in it
    share                           median of the second start's seconds by the first's
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring
from benchmarks.determinism import EXPERIMENTS, step
from pipeline.runtime import paths

REPOSITORY = Path(__file__).parents[1]
STARTS = ("first", "second")


def serve(name: str) -> None:
    """Train one step in this process, and print its seconds."""
    with step(name, "deterministic") as (train, _):
        print(measuring.seconds(train, 1))


def start(name: str, folder: Path) -> tuple[float, float]:
    """Seconds of the first step of a new process, and of all until its end."""
    command = [sys.executable, "-m", "benchmarks.starting", "--serve", name]
    begin = time.perf_counter()
    said = subprocess.run(
        command, cwd=folder, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stdout=subprocess.PIPE, check=True
    )
    return float(said.stdout.split()[-1]), time.perf_counter() - begin


def measure(name: str, repetitions: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures and ratios of an experiment."""
    times: dict[str, list[tuple[float, float]]] = {key: [] for key in STARTS}
    for _ in range(repetitions):
        with tempfile.TemporaryDirectory() as folder:
            text = paths.params_file().read_text(encoding="utf-8")
            Path(folder, paths.PARAMS).write_text(f"backend: jax\n{text}", encoding="utf-8")
            for key in STARTS:
                times[key].append(start(name, Path(folder)))
    figures = {
        f"{name}_{key}_{what}_s": round(statistics.median(pair[position] for pair in times[key]), 2)
        for key in STARTS
        for position, what in enumerate(("step", "start"))
    }
    shares = [second[1] / first[1] for first, second in zip(*times.values(), strict=True)]
    return figures, {f"{name}_share": round(statistics.median(shares), 2)}


def main() -> None:
    """Measure, print and write the result."""
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
        return
    options = measuring.arguments(__doc__, images=None)
    figures: dict[str, Any] = {}
    ratios: dict[str, Any] = {}
    for name in EXPERIMENTS:
        for total, part in zip((figures, ratios), measure(name, options.repetitions), strict=True):
            total |= part
    measuring.write("starting", ["numpy", "jax", "jaxlib", "keras"], figures, ratios)


if __name__ == "__main__":
    main()
