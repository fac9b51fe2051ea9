"""MLflow is a view: results are shown with their true times whenever a store is there, and nothing stops while none is."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest

from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.stages import log
from pipeline.tracking import fingerprints, live, times
from pipeline.tracking import store as tracking
from tests.slow_proxy import slow_proxy
from tests.tracked_project import EXPERIMENT, HISTORY, METRICS, NOBODY, environment, mirrored, until

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


def _command(*arguments: str, uri: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.cli", *arguments]
    settings = {"MLFLOW_TRACKING_URI": uri} if uri else {}
    return subprocess.run(command, env=environment(settings), capture_output=True, text=True, timeout=300, check=False)


def _runs() -> list[mlflow.entities.Run]:
    with tracking.exclusive():
        store = tracking.Store()
    return mlflow.MlflowClient(store.uri).search_runs([store.experiment_id])


def _waiting(project: Path) -> list[Path]:
    return list((project / ".cnnkeras/unlogged").glob("*"))


def _write_result(project: Path, accuracy: float) -> None:
    (project / "results" / EXPERIMENT / "metrics.json").write_text(json.dumps(METRICS | {"top1_accuracy": accuracy}))


def test_what_could_not_be_sent_is_sent_later_even_if_the_result_is_gone(tracked_project):
    """Two results of an outage, the second in place of the first: both wait, and the next log sends both."""
    for accuracy in (0.25, 0.5):
        _write_result(tracked_project, accuracy)
        done = _command("log", EXPERIMENT, uri=NOBODY)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
    assert line.startswith("2 runs wait for MLflow: ")
    assert line.endswith("`cnnkeras log` sends what waits")
    assert len(_waiting(tracked_project)) == 2
    done = _command("log")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 2)
    assert {run.data.metrics["top1_accuracy"] for run in _runs()} == {0.25, 0.5}
    assert {run.info.status for run in _runs()} == {"FINISHED"}
    assert not _waiting(tracked_project)
    assert len(list(tracked_project.glob("mlartifacts/models/*/artifacts/artifacts/model.keras"))) == 2


def test_a_new_store_gets_every_result_and_says_what_is_not_known(tracked_project):
    """A fresh clone after `dvc pull` has results and receipts, and neither runs nor times; an edited one logs nothing false."""
    log.run(EXPERIMENT)
    clone = tracked_project.with_name("clone")
    shutil.copytree(tracked_project, clone, ignore=shutil.ignore_patterns(".cnnkeras", "mlflow.db", "mlartifacts"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(clone)
        assert _command("log").returncode == 0
        (run,) = _runs()
        assert run.data.tags["cnnkeras.times"] == times.UNKNOWN
        assert times.UNKNOWN in run.data.tags["mlflow.note.content"]
        assert "was logged" not in _command("log").stdout, "what is there is not worth a line"
        (clone / "mlflow.db").unlink()
        params = clone / "params.yaml"
        params.write_text(params.read_text().replace("epochs: 3", "epochs: 4"))
        done = _command("log")
        assert (done.returncode, done.stdout) == (0, "")
        assert "small: not logged: expected params.yaml and files as they were" in done.stderr


def test_a_slow_server_takes_few_requests(tracked_project, mlflow_address, monkeypatch):
    """Each request takes 0.3 s. What is small goes in one request, files side by side, the library's code as one file."""
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tracked_project.parent.name)
    for number in range(20):
        (tracked_project / f"results/{EXPERIMENT}/figures/{number}.png").write_bytes(b"0")
    with slow_proxy(mlflow_address, 0.3) as proxy:
        started = time.monotonic()
        done = _command("log", uri=proxy.address)
        seconds = time.monotonic() - started
    assert (done.returncode, done.stderr) == (0, "")
    files = sum(count for request, count in proxy.requests.items() if request.startswith("PUT"))
    assert files == 29 + 9, "those of the run and of the model"
    assert proxy.requests["POST /api/2.0/mlflow/runs/log-batch"] == 1
    others = sum(proxy.requests.values()) - files
    assert others <= 20, proxy.requests
    assert seconds < 0.3 * (others + files / 4) + 90


def test_times_are_those_of_the_training_however_late_it_is_logged(tracked_project, monkeypatch):
    """Begin, end and each epoch, although the clock jumps by a month meanwhile, and the run is made later."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    params, history, lines = load_params(), tracked_project / "partial.csv", HISTORY.splitlines(keepends=True)
    real, jump = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    before, after = [real()], []
    with mirrored(params, history) as curves:
        after.append(real())
        for epoch in (1, 2, 3):
            time.sleep(0.3)
            jump -= 30 * 86400.0
            history.write_text("".join(lines[: epoch + 1]))
            before.append(real())
            curves.epoch(epoch)
            after.append(real())
        time.sleep(0.2)
        before.append(real())
    after.append(real())
    monkeypatch.setattr(time, "time", real)
    time.sleep(1)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    log.run(EXPERIMENT)
    (run,) = _runs()
    client = mlflow.MlflowClient(tracking.store_uri())
    epochs = [metric.timestamp for metric in client.get_metric_history(run.info.run_id, "training/loss")]
    shown = [run.info.start_time, *epochs, run.info.end_time]
    for earliest, moment, latest in zip(before, shown, after, strict=True):
        assert 1000 * earliest - 1 <= moment <= 1000 * latest + 1
    assert "cnnkeras.times" not in run.data.tags


@pytest.mark.parametrize("ending", ["killed", "failed"])
def test_a_training_that_goes_on_keeps_its_times(tracked_project, ending):
    """Begun, ended after an epoch, and gone on with: the first epoch has its time, and the clock never runs backwards."""
    fingerprint = fingerprints.training_fingerprint(load_params(), EXPERIMENT)
    first = times.Recorder()
    first.of(fingerprint)
    first.epoch(1)
    kept = first.facts  # in a checkpoint
    if ending == "failed":  # after a kill nobody writes anything
        first.end(is_finished=False)
    killed = times.read(fingerprint)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: killed.start - 1000)
        second = times.Recorder()
    second.of(fingerprint)
    second.go_on(json.loads(json.dumps(kept)))
    assert times.read(fingerprint).end is None
    second.epoch(2)
    second.end()
    known = times.read(fingerprint)
    assert (known.start, known.epochs[1]) == (killed.start, killed.epochs[1])
    assert known.epochs[1] <= known.epochs[2] <= known.end < killed.start + 60
    third = times.Recorder()  # the same training, once more from the beginning
    third.of(fingerprint)
    assert times.read(fingerprint).start >= known.end - 1
    assert times.read(fingerprint).epochs == {}
    assert not list((tracked_project / ".cnnkeras/times").glob(".partial*"))


def test_a_training_that_failed_during_an_outage_is_shown_later(tracked_project, monkeypatch):
    """FAILED with the reason, its points and its times; once the training has succeeded, there is one run, FINISHED."""
    params, history = load_params(), tracked_project / "partial.csv"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    monkeypatch.setattr("pipeline.tracking.live._MAX_REMAINING_SECONDS", 1)
    with contextlib.suppress(InputError), mirrored(params, history) as curves:
        history.write_text("".join(HISTORY.splitlines(keepends=True)[:2]))
        curves.epoch(1)
        raise InputError("the loss is no number")
    until(lambda: _waiting(tracked_project) and not list(tracked_project.glob(".cnnkeras/unlogged/.*")), seconds=300)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    result = (tracked_project / "results" / EXPERIMENT).rename(tracked_project / "later")
    assert _command("log").returncode == 0
    (failed,) = _runs()
    assert failed.info.status == "FAILED"
    assert failed.data.tags["cnnkeras.reason"] == "the loss is no number"
    assert failed.data.metrics["training/loss"] == 2.3
    known = times.read(fingerprints.training_fingerprint(params, EXPERIMENT))
    assert (failed.info.start_time, failed.info.end_time) == (round(known.start * 1000), round(known.end * 1000))
    result.rename(tracked_project / "results" / EXPERIMENT)
    assert _command("log").returncode == 0
    (run,) = _runs()
    assert (run.info.run_id, run.info.status) == (failed.info.run_id, "FINISHED")
    assert "cnnkeras.reason" not in run.data.tags
    assert not _waiting(tracked_project)


def test_a_run_is_finished_only_when_the_outputs_are_published(tracked_project):
    """While the stage publishes, after the last epoch, the run is still RUNNING; if publishing is refused it is FAILED."""
    history = tracked_project / "partial.csv"
    curves = live.Mirror(load_params(), EXPERIMENT)
    with contextlib.suppress(InputError), curves.outcome():
        with curves.shown(history):
            history.write_text(HISTORY)
        history.unlink()
        until(lambda: [run for run in _runs() if "training/loss" in run.data.metrics], seconds=300)
        assert [run.info.status for run in _runs()] == ["RUNNING"]
        raise InputError("an input changed")
    until(lambda: [run.info.status for run in _runs()] == ["FAILED"], seconds=300)
    (run,) = _runs()
    assert (run.data.tags["cnnkeras.reason"], run.data.metrics["training/loss"]) == ("an input changed", 1.2)


def test_a_forced_repetition_leaves_one_run_without_another_log(tracked_project):
    """DVC does not log again what has not changed; so the repetition's own run goes at its end."""
    log.run(EXPERIMENT)
    with mirrored(load_params(), tracked_project / "partial.csv") as curves:
        (tracked_project / "partial.csv").write_text(HISTORY)
        curves.epoch(3)
        until(lambda: len(_runs()) == 2, seconds=300)
    until(lambda: len(_runs()) == 1, seconds=300)
    assert _runs()[0].info.status == "FINISHED"


def test_a_training_that_ended_without_a_word_is_killed(tracked_project):
    """In a power cut the process that shows the curves ends too: the next log says KILLED, at the last known time; a running one stays."""
    params, history = load_params(), tracked_project / "partial.csv"
    fingerprint = fingerprints.training_fingerprint(params, EXPERIMENT)
    (tracked_project / "results" / EXPERIMENT).rename(tracked_project / "elsewhere")
    lock = tracked_project / f".cnnkeras/locks/train@{EXPERIMENT}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    curves = live.Mirror(params, EXPERIMENT)
    with lock.open("w") as held, curves.shown(history):
        fcntl.flock(held, fcntl.LOCK_EX)
        history.write_text("".join(HISTORY.splitlines(keepends=True)[:2]))
        curves.epoch(1)
        until(lambda: [run for run in _runs() if run.data.metrics], seconds=300)
        curves._child.kill()
        curves._child.wait()
        curves._child.stdin.close()
        assert _command("log").returncode == 0
        assert [run.info.status for run in _runs()] == ["RUNNING"]
    assert _command("log").returncode == 0
    (run,) = _runs()
    known = times.read(fingerprint)
    assert (run.info.status, run.info.end_time) == ("KILLED", round(known.epochs[1] * 1000))
