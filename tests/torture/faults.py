"""Faults other than kills. Each function makes one and returns what went wrong, as sentences; none if all was as it has to be."""

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.torture.kills import kill_once, prepare
from tests.torture.place import REPRO, Place, kill

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
    """Results without what names the code and the params that made them."""
    return {name: digest for name, digest in results.items() if not name.startswith("results/seals/")}


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
        yield from (f"SIGTERM left process {left.pid}" for left in place.orphans(5))
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
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--port",
            str(port),
            "--workers",
            "1",
            "--backend-store-uri",
            f"sqlite:///{folder.with_name('server.db')}",
            "--artifacts-destination",
            str(folder.with_name("artifacts")),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _until_it_answers(port)
        place = prepare(reference, folder, ("log", "plain"))
        process = place.start("cnnkeras", "log", "plain", MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        time.sleep(rng.uniform(1.0, 5.0))
        kill(server)
        begin = time.monotonic()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(120)
        if process.poll() != 0:
            yield f"a killed server: code {process.poll()} after {time.monotonic() - begin:.0f} s, {place.said()[-800:]}"
            kill(process)
        code, said = place.run("cnnkeras", "log", "wide", seconds=120, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{port}")
        if code:
            yield f"without a server: code {code}, {said[-800:]}"
        if place.run(*REPRO)[0] or place.results() != expected:
            yield f"after a killed server: {place.said()[-800:]}"
    finally:
        kill(server)


def _until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.2)


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
    a_damaged_checkpoint,
)
