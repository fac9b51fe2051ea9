"""Faults other than kills. Each function makes one and returns what went wrong, as sentences; none if all was as it has to be."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.slow_proxy import slow_proxy
from tests.torture.kills import kill_once, prepare
from tests.torture.place import REPRO, Place, kill
from tests.tracked_project import start_server

Fault = Callable[[Place, Path, dict[str, str], random.Random], Iterator[str]]
_EDITS = {
    "params.yaml": (
        "postprocess: {top_k: 2}\n    evaluate: {images: 2}",
        "postprocess: {top_k: 3}\n    evaluate: {images: 2}",
    ),
    "cnnkeras/protocols/posteriors.py": ("def probabilities(", "EDITED = True\n\n\ndef probabilities("),
}
_ONE_LINE = re.compile(r"^Error: .*(received|refused)", re.MULTILINE)


def an_edit_at_any_moment(
    reference: Place, folder: Path, expected: dict[str, str], rng: random.Random
) -> Iterator[str]:
    """An edit of params.yaml or code while a stage runs, until after DVC has recorded it; undone or not, no result is a false one."""
    for file, (old, new) in _EDITS.items():
        for is_undone in (False, True):
            place = prepare(reference, folder, ("postprocess", "plain"))
            text = (place.folder / file).read_text()
            assert old in text
            process = place.start("dvc", "repro", "evaluate@plain")
            time.sleep(rng.uniform(0.5, 5.0))
            (place.folder / file).write_text(text.replace(old, new, 1))
            if is_undone:
                time.sleep(rng.uniform(0.1, 1.5))
                (place.folder / file).write_text(text)
            process.wait()
            code, said = place.run(*REPRO)
            if code:  # an edit during that run too would be refused; there was none
                yield f"after an edit of {file}, cnnkeras repro ended with {code}: {said[-800:]}"
            if is_undone or file != "params.yaml":
                wanted = expected
            else:
                wanted = _of_the_edited(place, folder.with_name("edited"))
            if (found := _without_seals(place.results())) != _without_seals(wanted):
                changed = sorted(set(found.items()) ^ set(_without_seals(wanted).items()))
                yield f"false: after an edit of {file}{', undone,' if is_undone else ''} the results are others: {changed[:4]}"


def _of_the_edited(place: Place, folder: Path) -> dict[str, str]:
    """The results of the params as they are now, made where nothing can be wrong: without DVC's records of the stages concerned."""
    other = place.copy(folder)
    for label in (("postprocess", "plain"), ("evaluate", "plain")):
        other.forget(*label)
    other.run(*REPRO)
    return other.results()


def _without_seals(results: dict[str, str]) -> dict[str, str]:
    """Results without what names the code and the params that made them: seals, and records of trainings, which name a seal."""
    return {
        name: digest
        for name, digest in results.items()
        if not name.startswith("results/seals/") and not name.endswith("/environment.json")
    }


def a_commit_after_an_edit(reference: Place, folder: Path, _expected, _rng) -> Iterator[str]:
    """`dvc commit --force` after an edit records old results as new ones; the next `cnnkeras plan` says so."""
    place = reference.copy(folder)
    old, new = _EDITS["params.yaml"]
    file = place.folder / "params.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    place.run("dvc", "repro", "check")
    place.run("dvc", "commit", "--force", "--quiet")
    _, said = place.run("cnnkeras", "plan")
    if "postprocess@plain" not in said:
        yield f"false: after dvc commit --force, cnnkeras plan says: {said[-400:]}"


def a_damaged_model(reference: Place, folder: Path, _expected, _rng) -> Iterator[str]:
    """A model with a flipped byte, or a history cut in half, is not logged."""
    for name in ("model/model.keras", "history.csv"):
        place = reference.copy(folder)
        file = place.folder / "results" / "plain" / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.unlink()  # DVC may have linked it to its cache
        file.write_bytes(content if name.endswith("keras") else content[: len(content) // 2])
        code, said = place.run("cnnkeras", "log", "plain")
        if not code or not _ONE_LINE.search(said):
            yield f"false: cnnkeras log of a damaged {name} ended with {code}: {said[-400:]}"


def sigterm_at_any_moment(
    reference: Place, folder: Path, expected: dict[str, str], rng: random.Random
) -> Iterator[str]:
    """Ended by SIGTERM, during imports too, a training ends within seconds, leaves nothing half-written, and goes on later."""
    for _ in range(4):
        place = prepare(reference, folder, ("train", "plain"))
        process = place.start("cnnkeras", "train", "plain")
        time.sleep(rng.uniform(0.1, 8.0))
        process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if (seconds := time.monotonic() - begin) > 10:
            yield f"SIGTERM took {seconds:.0f} s"
            kill(process)
        elif "Traceback" in place.said():
            yield f"SIGTERM: {place.said()[-800:]}"
        yield from (f"SIGTERM left {name}" for name in place.half_written())
        yield from (f"SIGTERM left process {command}" for command in place.orphans())
    if place.run(*REPRO)[0] or place.results() != expected:
        yield f"after SIGTERM: {place.said()[-800:]}"


def a_killed_worker(reference: Place, folder: Path, expected: dict[str, str], _rng) -> Iterator[str]:
    """A worker process that the system ends is one line within seconds; the next run is as if nothing had been."""
    place = prepare(reference, folder, ("train", "digits"))
    process = place.start("cnnkeras", "train", "digits", "--workers", "2")
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(psutil.Error):
            workers = [
                child
                for child in psutil.Process(process.pid).children()
                if child.cmdline() == psutil.Process(process.pid).cmdline()
            ]
            if workers:
                workers[0].kill()
                break
        time.sleep(0.01)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(60)
    if process.poll() != 2 or "Traceback" in place.said() or not _ONE_LINE.search(place.said()):
        yield f"a killed worker: code {process.poll()}, {place.said()[-800:]}"
    kill(process)
    if place.run(*REPRO)[0] or place.results() != expected:
        yield f"after a killed worker: {place.said()[-800:]}"


def a_full_disk(reference: Place, folder: Path, expected: dict[str, str], _rng) -> Iterator[str]:
    """On a disk with too little room a stage is refused in one line; with room, what is there is good."""
    place = prepare(reference, folder, ("train", "wide"))
    if not _can_mount():
        return
    script = "mount -t tmpfs -o size=100k tmpfs results/wide && cnnkeras train wide"
    code, said = place.run("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script)
    if code != 2 or "room on the disk" not in said:
        yield f"a full disk: code {code}, {said[-800:]}"
    if place.run(*REPRO)[0] or place.results() != expected:
        yield f"after a full disk: {place.said()[-800:]}"


def _can_mount() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--mount", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


def a_second_repro(reference: Place, folder: Path, expected: dict[str, str], rng: random.Random) -> Iterator[str]:
    """`cnnkeras repro` twice, and a `dvc repro` that starts later: the first ends well."""
    place = prepare(reference, folder, ("train", "wide"))
    first = place.start(*REPRO)
    time.sleep(rng.uniform(1.0, 6.0))
    for command in (REPRO, ("dvc", "repro")):
        subprocess.run(command, cwd=place.folder, env=place.environment, capture_output=True, check=False)
    if first.wait():
        yield f"the first of two: {place.said()[-800:]}"
    if place.run(*REPRO)[0] or place.results() != expected:
        yield f"after two at once: {place.said()[-800:]}"


def a_server_that_dies(reference: Place, folder: Path, expected: dict[str, str], rng: random.Random) -> Iterator[str]:
    """`log` ends with 0 beside an MLflow server that is killed meanwhile, or that never was there."""
    server, address = start_server(_new_folder(folder.with_name("server")))
    try:
        place = prepare(reference, folder, ("log", "plain"))
        process = place.start("cnnkeras", "log", "plain", MLFLOW_TRACKING_URI=address)
        time.sleep(rng.uniform(1.0, 5.0))
        kill(server)
        begin = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)
        if process.poll() != 0:
            yield f"a killed server: code {process.poll()} after {time.monotonic() - begin:.0f} s, {place.said()[-800:]}"
            kill(process)
        code, said = place.run("cnnkeras", "log", "wide", seconds=120, MLFLOW_TRACKING_URI=address)
        if code:
            yield f"without a server: code {code}, {said[-800:]}"
        if place.run(*REPRO)[0] or place.results() != expected:
            yield f"after a killed server: {place.said()[-800:]}"
    finally:
        kill(server)


def a_slow_server(reference: Place, folder: Path, expected: dict[str, str], rng: random.Random) -> Iterator[str]:
    """A proxy delays each request: training and all that follows end well, with equal results, and there is one finished run with all points."""
    server, address = start_server(_new_folder(folder.with_name("far server")))
    try:
        with slow_proxy(address, rng.uniform(0.2, 1.5)) as proxy:
            entry = [label for label in reference.labels() if label[1] == "wide"]
            place = prepare(reference, folder, *entry)
            code, said = place.run(*REPRO, MLFLOW_TRACKING_URI=proxy.address, MLFLOW_EXPERIMENT_NAME="slow")
        if code or place.results() != expected:
            yield f"beside a slow server: code {code}, {said[-800:]}"
        runs = _runs(address, "slow")
        points = {metric["key"] for run in runs for metric in run["data"]["metrics"]}
        if [run["info"]["status"] for run in runs] != ["FINISHED"] or not {"training/loss", "top1_accuracy"} <= points:
            yield f"a slow server has {[run['info'] for run in runs]} with {sorted(points)}"
    finally:
        kill(server)


def _new_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _runs(address: str, experiment: str) -> list[dict]:
    """The runs of an experiment on a server, as MLflow's REST interface has them."""

    def ask(what: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"{address}/api/2.0/mlflow/{what}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    found = ask("experiments/search", {"max_results": 100, "filter": f"name = '{experiment}'"}).get("experiments", [])
    numbers = [each["experiment_id"] for each in found]
    return ask("runs/search", {"experiment_ids": numbers}).get("runs", []) if numbers else []


def a_damaged_checkpoint(reference: Place, folder: Path, expected: dict[str, str], rng: random.Random) -> Iterator[str]:
    """A checkpoint that is cut is named, and the training goes on from the one before."""
    place = prepare(reference, folder, ("train", "plain"))
    kept = place.folder / ".cnnkeras" / "checkpoints"

    def wait(process: subprocess.Popen, _seconds: float) -> None:
        while process.poll() is None and len(list(kept.rglob("[0-9]*.checkpoint"))) < 2:
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.5))

    if kill_once(place, ("cnnkeras", "train", "plain"), wait, 0.0, only_the_stage=False) is None:
        yield "the training ended before it kept two checkpoints"
        return
    last = max(kept.rglob("[0-9]*.checkpoint"), key=lambda file: file.name)
    os.truncate(last, last.stat().st_size // 2)
    code, said = place.run(*REPRO)
    if code or last.name not in said or "goes on after" not in said or place.results() != expected:
        yield f"a cut checkpoint: code {code}, {said[-1200:]}"


ALL: tuple[Fault, ...] = (
    an_edit_at_any_moment,
    a_commit_after_an_edit,
    a_damaged_model,
    sigterm_at_any_moment,
    a_killed_worker,
    a_full_disk,
    a_second_repro,
    a_server_that_dies,
    a_slow_server,
    a_damaged_checkpoint,
)
