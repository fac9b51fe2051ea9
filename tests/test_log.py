"""Stage `log`, the live curves and the UI, on the project's own store and on a real MLflow server."""

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import mlflow
import pytest

from pipeline.commands import ui
from pipeline.params import load_params
from pipeline.runtime.errors import InputError
from pipeline.stages import log
from pipeline.tracking import fingerprints, provenance
from pipeline.tracking import store as tracking
from tests.tracked_project import (
    EXPERIMENT,
    HISTORY,
    LOAD_MODEL,
    METRICS,
    NOBODY,
    PARAMS,
    answers,
    environment,
    free_port,
    mirrored,
    run_python,
    until,
)

# MLflow 3.17 calls what SQLAlchemy 2.1 deprecates; that is between the two.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

LOG_LIGHTLY = """
import sys
from pipeline.cli import main
main(["log", "small"], standalone_mode=False)
# Keras is there as a name that is imported when it is touched; what it consists of must not be.
heavy = {"tensorflow", "jax", "torch", "keras.src", "mlflow.keras"} & set(sys.modules)
assert not heavy, heavy
"""
TRAIN = """
import sys, time
from pathlib import Path
from pipeline.tracking import live
from pipeline.params import load_params
history, curves = Path("history.csv"), live.Mirror(load_params(), "small")
with curves.outcome(), curves.shown(history), history.open("w") as file:
    print("epoch,loss", "1,2.5", sep="\\n", file=file, flush=True)
    time.sleep(600)
"""
DIES = """
import os, signal, sys
import mlflow
from pipeline.cli import main
setattr(mlflow.MlflowClient, sys.argv[1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
main(["log", "small"])
"""


@pytest.fixture
def project(tracked_project) -> Path:
    return tracked_project


@pytest.fixture(params=["own", "server"])
def store(request, project, monkeypatch) -> tracking.Store:
    """Each of the two kinds of store in turn; on the server, an MLflow experiment of the test's own."""
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_address"))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", project.parent.name)
    return _store()


def _store() -> tracking.Store:
    with tracking.exclusive():
        return tracking.Store()


def _client(store: tracking.Store) -> mlflow.MlflowClient:
    """MLflow's own view of a store, for what is really there."""
    return mlflow.MlflowClient(store.uri)


def _runs(store: tracking.Store, **tags: str) -> list[mlflow.entities.Run]:
    conditions = " and ".join(f"tags.`cnnkeras.{key}` = '{value}'" for key, value in tags.items())
    return _client(store).search_runs([store.experiment_id], conditions)


def _points(store: tracking.Store, run: mlflow.entities.Run) -> dict[tuple[str, int], float]:
    """All values of a run's metrics by metric and step."""
    histories = (_client(store).get_metric_history(run.info.run_id, key) for key in run.data.metrics)
    return {(metric.key, metric.step): metric.value for history in histories for metric in history}


def _until_ended(store: tracking.Store) -> None:
    """Wait for the process that mirrors a training: it may take a moment longer than the training."""
    until(lambda: all(run.info.status != "RUNNING" for run in _runs(store)), seconds=300)


def _result_file(project: Path, name: str) -> Path:
    return project / "results" / EXPERIMENT / name


def test_a_result_is_one_run_that_shows_everything(project, store):
    """Logging twice leaves one finished run: params, curves, metrics, files, model, data, tags; and the same receipt."""
    log.run(EXPERIMENT)
    receipt = _result_file(project, "mlflow.json").read_bytes()
    log.run(EXPERIMENT)
    assert _result_file(project, "mlflow.json").read_bytes() == receipt
    (run,) = _runs(store)
    fingerprint = json.loads(receipt)["fingerprint"]
    assert json.loads(receipt) == {
        "experiment": EXPERIMENT,
        "fingerprint": fingerprint,
        "run_name": f"{EXPERIMENT}-{fingerprint[:8]}",
    }
    assert (run.info.run_name, run.info.status) == (f"{EXPERIMENT}-{fingerprint[:8]}", "FINISHED")
    assert run.data.params["train.optimizer.learning_rate"] == "0.01"
    assert run.data.params["dataset.augmentation.0.Affine.scale"] == "[0.8, 1.2]"
    assert run.data.params["source.kind"] == "digit_scenes"
    assert run.data.params["seed"] == "3"
    curves = {
        "loss": {1: 2.3, 2: 1.5, 3: 1.2},
        "top1_accuracy": {1: 0.1, 2: 0.5, 3: 0.9},
        "val_loss": {1: 2.31, 3: 1.6},  # it was NaN in the second epoch
    }
    shown = {(f"training/{column}", epoch): value for column, curve in curves.items() for epoch, value in curve.items()}
    assert _points(store, run) == {**shown, ("top1_accuracy", 0): 0.75, ("top1_error", 0): 0.25}
    assert run.data.metrics["top1_accuracy"] == 0.75, "of the test split, not of the last epoch"
    assert run.data.tags["cnnkeras.fingerprint"] == fingerprint
    (data,) = run.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == (
        "digits",
        provenance.dvc_hash(project / "data/augmented/digits"),
    )
    (model,) = _client(store).search_logged_models([store.experiment_id])
    assert (model.name, model.source_run_id, str(model.status)) == (EXPERIMENT, run.info.run_id, "READY")
    assert {metric.key for metric in model.metrics} == {"top1_accuracy", "top1_error"}
    files = {
        file.path
        for folder in ("", "dataset", "figures", "plots/per_class", "predictions")
        for file in _client(store).list_artifacts(run.info.run_id, folder)
    }
    assert files == {
        *("figures", "figures/confusion.png", "figures/predictions.png", "history.csv", "metrics.json", "origin"),
        *("plots", "plots/per_class/per_class.csv"),
        *("predictions", "predictions/top_k.csv", "predictions/others.zip", "dataset", "dataset/report.json"),
    }


def test_a_changed_result_is_another_run(project, store):
    """A change of a number in the result, or of a param behind it, adds a run and leaves the former one."""
    log.run(EXPERIMENT)
    _result_file(project, "metrics.json").write_text(json.dumps(METRICS | {"top1_accuracy": 0.5}))
    log.run(EXPERIMENT)
    (project / "params.yaml").write_text(PARAMS.replace("top_k: 5", "top_k: 3"))
    log.run(EXPERIMENT)
    shown = {(run.data.metrics["top1_accuracy"], run.data.params["postprocess.top_k"]) for run in _runs(store)}
    assert shown == {(0.75, "5"), (0.5, "5"), (0.5, "3")}
    assert {run.info.status for run in _runs(store)} == {"FINISHED"}


def test_a_source_that_gives_the_same_data_gives_the_same_result(project):
    """DVC runs `log` again for none of a source's keys, only for data that changed: so the receipt must hold all the same."""
    log.run(EXPERIMENT)
    receipt = _result_file(project, "mlflow.json").read_bytes()
    (project / "params.yaml").write_text(PARAMS.replace("kind: digit_scenes, seed: 1", "kind: digit_scenes, seed: 2"))
    log.run(EXPERIMENT)
    assert _result_file(project, "mlflow.json").read_bytes() == receipt
    (run,) = _runs(_store())
    assert run.data.params["source.seed"] == "1"


@pytest.mark.parametrize("store", ["server"], indirect=True)
def test_the_model_works_in_another_process_and_logging_needs_no_keras(store, tmp_path):
    """`log` imports no TensorFlow; yet what it logged predicts, with nothing but MLflow and Keras around it."""
    run_python(LOG_LIGHTLY)
    (model,) = _client(store).search_logged_models([store.experiment_id])
    environment = {"MLFLOW_TRACKING_URI": store.uri, "TF_CPP_MIN_LOG_LEVEL": "3"}
    run_python(LOAD_MODEL, f"models:/{model.model_id}", env=environment, cwd=tmp_path)


def test_curves_are_visible_while_a_training_runs_and_become_the_result(project, store):
    """The run is RUNNING with the epochs so far, FINISHED after the training, and is the run of the result after `log`."""
    params, partial = load_params(), project / "partial.csv"
    training = fingerprints.training_fingerprint(params, EXPERIMENT)
    lines = HISTORY.splitlines(keepends=True)
    with mirrored(params, partial):
        partial.write_text("".join(lines[:2]) + lines[2][:3])  # the second epoch is being written
        (run,) = until(lambda: [run for run in _runs(store, training=training) if run.data.metrics], seconds=300)
        assert (run.info.status, _points(store, run)) == (
            "RUNNING",
            {("training/loss", 1): 2.3, ("training/top1_accuracy", 1): 0.1, ("training/val_loss", 1): 2.31},
        )
        partial.write_text(HISTORY)
    _until_ended(store)
    (run,) = _runs(store, training=training)
    assert (run.info.status, len(_points(store, run))) == ("FINISHED", 8)
    log.run(EXPERIMENT)
    assert [logged.info.run_id for logged in _runs(store)] == [run.info.run_id]
    assert len(_client(store).get_metric_history(run.info.run_id, "training/loss")) == 3


def test_the_same_training_again_leaves_one_run(project):
    """A repeated training is shown while it runs; as its result is there already, its run goes when it is logged."""
    store, params, partial = _store(), load_params(), project / "partial.csv"
    log.run(EXPERIMENT)
    with mirrored(params, partial):
        partial.write_text(HISTORY)
        until(lambda: len(_runs(store)) == 2, seconds=300)
    _until_ended(store)
    log.run(EXPERIMENT)
    (run,) = _runs(store)
    assert run.info.run_name.startswith(f"{EXPERIMENT}-")


def test_curves_of_other_numbers_are_not_this_result(project):
    """A run of the same params whose losses differ (another machine, edited code) is not taken for this training's."""
    store, params, partial = _store(), load_params(), project / "partial.csv"
    with mirrored(params, partial):
        partial.write_text(HISTORY.replace("2.3,", "9.9,"))
        until(lambda: [run for run in _runs(store) if run.data.metrics], seconds=300)
    _until_ended(store)
    log.run(EXPERIMENT)
    (run,) = _runs(store)
    assert _points(store, run)["training/loss", 1] == 2.3


def test_a_failed_training_says_so_and_a_restarted_one_goes_on_in_its_run(project):
    """An exception marks the run FAILED and is passed on; starting again reuses the run."""
    store, params, partial = _store(), load_params(), project / "partial.csv"
    partial.write_text("".join(HISTORY.splitlines(keepends=True)[:2]))

    @mirrored(params, partial)
    def fail() -> None:
        until(lambda: [run for run in _runs(store) if run.data.metrics], seconds=300)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    _until_ended(store)
    (failed,) = _runs(store)
    assert failed.info.status == "FAILED"
    with mirrored(params, partial):
        partial.write_text(HISTORY)
        until(lambda: _runs(store)[0].data.metrics["training/loss"] == 1.2, seconds=300)
    _until_ended(store)
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (failed.info.run_id, "FINISHED")
    assert len(_client(store).get_metric_history(run.info.run_id, "training/loss")) == 3


@pytest.mark.usefixtures("project")
def test_a_killed_training_says_so():
    """SIGKILL leaves the training no time to say anything; its run is marked KILLED all the same."""
    store = _store()
    training = subprocess.Popen([sys.executable, "-c", TRAIN], env=environment({}))
    try:
        until(lambda: [run for run in _runs(store) if run.data.metrics], seconds=300)
    finally:
        training.send_signal(signal.SIGKILL)
        training.wait()
    _until_ended(store)
    assert [run.info.status for run in _runs(store)] == ["KILLED"]


def test_a_training_does_not_notice_that_the_server_is_down(project, monkeypatch):
    """With nothing at the address the block runs at once and ends within seconds, without an error."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    params, started = load_params(), time.monotonic()
    with mirrored(params, project / "partial.csv"):
        assert time.monotonic() - started < 10
    assert time.monotonic() - started < 30  # of the minutes that MLflow tries


def test_an_unreachable_server_is_one_clear_line_within_seconds(project, monkeypatch, capsys):
    """Nobody there, or somebody who never answers: one line with the address and what to do; the result waits, and nothing fails."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        never = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for address, reason in ((NOBODY, "Connection refused"), (never, "timed out")):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            started = time.monotonic()
            log.run(EXPERIMENT)
            assert time.monotonic() - started < 60
            (line,) = capsys.readouterr().err.splitlines()
            assert re.search(rf"^1 run waits for MLflow: .*{re.escape(address)}; received: .*{reason}", line)
            assert line.endswith("`cnnkeras log` sends what waits")
    assert _result_file(project, "mlflow.json").exists()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("address", ["nosuch://somewhere", "postgresql://127.0.0.1:9/database"])
def test_a_store_that_cannot_be_used_is_one_clear_line(monkeypatch, address):
    """A kind of store that MLflow does not know, and a database that is not there or that Python cannot speak to."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(
        InputError, match=rf"expected a usable MLflow store at {address}; received: .*MLFLOW_TRACKING_URI"
    ):
        _store()


def test_two_processes_that_log_the_same_make_one_run(project):
    """Also when both create the store, one of them from a copy of the project as `dvc exp run --temp` makes it."""
    (project / "mlflow.db").unlink()
    copy = project / ".dvc/tmp/exps/copy"
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".dvc"))
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pipeline.cli", "log", EXPERIMENT],
            cwd=folder,
            env=environment({"DVC_ROOT": str(project)}),
            stderr=subprocess.PIPE,
        )
        for folder in (project, copy)
    ]
    assert [process.communicate(timeout=300)[1] for process in processes] == [b"", b""]
    assert len(_runs(_store())) == 1
    assert not (copy / "mlflow.db").exists()
    assert (project / "mlartifacts").is_dir()


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("step", ["log_artifact", "log_model_artifact", "set_terminated"])
def test_an_interrupted_log_is_completed(step):
    """SIGKILL at the first file, within the model or before the last step leaves an unfinished run; logging again completes that one."""
    store = _store()
    ended = subprocess.run([sys.executable, "-c", DIES, step], env=environment({}), check=False)
    assert ended.returncode == -signal.SIGKILL
    (interrupted,) = _runs(store)
    assert interrupted.info.status == "RUNNING"
    log.run(EXPERIMENT)
    (run,) = _runs(store)
    assert (run.info.run_id, run.info.status) == (interrupted.info.run_id, "FINISHED")
    assert len(_client(store).get_metric_history(run.info.run_id, "training/loss")) == 3
    (model,) = _client(store).search_logged_models([store.experiment_id])
    assert str(model.status) == "READY"


def test_the_hash_of_the_data_is_dvcs(project):
    """Computed as DVC does, and read from dvc.lock only when DVC's cache confirms that it is of these data."""
    folder = project / "data/augmented/digits"
    computed = provenance.dvc_hash(folder)
    for command in (["init", "--no-scm", "--quiet"], ["add", "--quiet", str(folder)]):
        subprocess.run([sys.executable, "-m", "dvc", *command], check=True, cwd=project)
    assert f"md5: {computed}\n" in (project / "data/augmented/digits.dvc").read_text()
    listing = project / ".dvc/cache/files/md5" / computed[:2] / computed[2:]
    lock = f"schema: '2.0'\nstages:\n  augment@digits:\n    outs: [{{path: data/augmented/digits, md5: {computed}}}]\n"
    (project / "dvc.lock").write_text(lock)
    listing.chmod(0o644)
    listing.write_text(json.dumps([{"md5": "0" * 32, "relpath": "index.json"}]))
    assert provenance.dvc_hash(folder) == computed, "of other data: not believed, computed"
    index = hashlib.md5((folder / "index.json").read_bytes()).hexdigest()
    listing.write_text(json.dumps([{"md5": index, "relpath": "index.json"}]))
    (folder / "test/inputs.npy").write_bytes(b"")
    assert provenance.dvc_hash(folder) == computed, "believed without reading gigabytes"


def test_the_commit_is_dirty_only_for_what_the_pipeline_does_not_write(project):
    """dvc.lock and results/ change in every run; they do not make the code another one."""
    assert provenance.git_commit() is None
    git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org"]
    (project / ".gitignore").write_text("/data\n/.cnnkeras\n")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True, cwd=project)
    _result_file(project, "metrics.json").write_text("{}")
    (project / "dvc.lock").write_text("")
    assert not provenance.git_is_dirty()
    (project / "new.py").write_text("")
    assert provenance.git_is_dirty()
    assert len(provenance.git_commit()) == 40


def test_a_run_says_of_what_it_was_made(store, project):
    """params.yaml without secrets, dvc.lock, what differs from the commit, and a description whose picture the server has."""
    git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org"]
    (project / ".gitignore").write_text("/data\n/.cnnkeras\n/ml*\n")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True, cwd=project)
    params = (project / "params.yaml").read_text() + "mirror: https://me:secret@example.org/files\n"
    (project / "params.yaml").write_text(params)
    (project / "dvc.lock").write_text("schema: '2.0'\n")
    (project / "new.py").write_text("")
    log.run(EXPERIMENT)
    (run,) = _runs(store, experiment=EXPERIMENT)
    folder = Path(_client(store).download_artifacts(run.info.run_id, "origin", str(project)))
    texts = {file.name: file.read_text() for file in folder.iterdir()}
    assert texts["params.yaml"] == params.replace("me:secret@", "***@")
    assert texts["dvc.lock"] == "schema: '2.0'\n"
    changes = texts["changes.diff"].splitlines()
    assert [line for line in changes if line.startswith("+m")] == ["+mirror: https://***@example.org/files"]
    assert changes[-1] == "Not in git: new.py"
    note, picture = run.data.tags["mlflow.note.content"], f"figures/predictions.png&run_uuid={run.info.run_id}"
    assert note.startswith("**alexnet** on **digits** (classification), measured on the test split: top1_accuracy 0.75")
    assert f"![figures/predictions.png](get-artifact?path={picture})" in note
    assert run.data.tags["cnnkeras.seed"] == "3"
    if store.uri.startswith("http"):
        with urllib.request.urlopen(f"{store.uri}/get-artifact?path={picture}") as answer:
            assert answer.read() == (project / "results" / EXPERIMENT / "figures/predictions.png").read_bytes()


@pytest.mark.usefixtures("project")
def test_the_ui_serves_this_project_to_this_machine_only():
    """`cnnkeras ui` logs what is not logged and answers at the loopback address; a second one on its port is refused with the way out."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "ui", "--port", str(port)],
        env=environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout.readline().startswith(f"{EXPERIMENT}: logged as "), "what the store lacked"
        address = process.stdout.readline().split()[-1]
        assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/")
        until(lambda: answers(f"http://127.0.0.1:{port}/health"), seconds=300)
        if browser := shutil.which("chromium"):
            page = _page(browser, address)
            assert "top1_accuracy" in page, "the headline metric, a column of the table"
            assert "cnnkeras.seed" in page
            assert "Error loading" not in page
        with socket.socket() as elsewhere, pytest.raises(ConnectionRefusedError):
            elsewhere.connect(("127.0.0.2", port))
        with pytest.raises(InputError, match=f"free port; received: {port} .* --port {port + 1}"):
            ui.run(port)
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _page(browser: str, address: str) -> str:
    """A page as a browser without a screen builds it."""
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1800,900",
        "--virtual-time-budget=30000",
    ]
    done = subprocess.run(
        [browser, *options, "--dump-dom", address], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_an_ensemble_is_a_run_of_its_own(project):
    """With its metrics, files and members, without a model or a training; logged twice it is one run."""
    ensemble = (
        "ensembles:\n  both: {dataset: digits, members: [small, other], combine: mean, postprocess: {}, evaluate: {}}\n"
    )
    text = PARAMS.replace("  small:\n", "  small: &small\n") + "  other: {<<: *small}\n" + ensemble
    (project / "params.yaml").write_text(text)
    shutil.copytree(project / "results" / EXPERIMENT, project / "results/both")
    shutil.rmtree(project / "results/both/model")
    (project / "results/both/history.csv").unlink()
    log.run("both")
    log.run("both")
    (run,) = _runs(tracking.Store(), experiment="both")
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"top1_accuracy": 0.75, "top1_error": 0.25}
    assert json.loads(run.data.params["members"]) == ["small", "other"]
    assert "cnnkeras.training" not in run.data.tags
    assert not run.outputs.model_outputs
