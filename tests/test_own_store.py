"""The project's own MLflow store, in a folder of any name, moved, copied, and with DVC's links in place of files."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from pipeline.stages import log
from pipeline.tracking import store as tracking
from tests.tracked_project import EXPERIMENT, METRICS, environment, run_python

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

AWKWARD = "what?my%20 [pröject] #1 & ü"
# Root may write to read-only files: without that power it is like anybody else.
AS_A_USER = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
LOAD_ALL = """
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
models = client.search_logged_models(["1"])
assert models
for model in models:
    loaded = mlflow.pyfunc.load_model(f"models:/{model.model_id}")
    assert len(loaded.predict(loaded.input_example)[0]["predictions"]) == 5
for run in client.search_runs(["1"]):
    assert client.list_artifacts(run.info.run_id), run
    assert open(client.download_artifacts(run.info.run_id, "metrics.json")).read()
"""


@pytest.fixture(autouse=True)
def _fresh_addresses(monkeypatch):
    """MLflow remembers artifact folders by run, for one process: a project that moves needs another process, or this."""
    from mlflow.tracking._tracking_service import utils

    monkeypatch.setattr(utils, "_artifact_repos_cache", type(utils._artifact_repos_cache)())


def _change_result(project: Path, accuracy: float) -> None:
    file = project / "results" / EXPERIMENT / "metrics.json"
    file.unlink()
    file.write_text(json.dumps(METRICS | {"top1_accuracy": accuracy}))


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    stats = ((file, file.stat()) for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): (stat.st_size, stat.st_mtime_ns) for file, stat in stats}


def _texts(project: Path) -> str:
    """All that the store and the receipts say."""
    with contextlib.closing(sqlite3.connect(project / "mlflow.db")) as database:
        dump = "\n".join(database.iterdump())
    files = [*project.glob("mlartifacts/**/MLmodel"), *project.glob("results/*/mlflow.json")]
    assert len(files) > 1
    return "\n".join([dump, *(file.read_text() for file in files)])


def test_a_store_works_in_a_folder_of_any_name_and_moves_with_it(tracked_project, monkeypatch):
    """Nothing is written beside the project; moved, all opens and the old place stays empty; no path of this machine is kept."""
    above = tracked_project.parent / "a%41?b"
    above.mkdir()
    project = above / AWKWARD
    tracked_project.rename(project)
    monkeypatch.chdir(project / "results")  # a command works from any folder of the project
    log.run(EXPERIMENT)
    assert [path.name for path in above.iterdir()] == [AWKWARD]
    assert sorted(path.name for path in project.parent.parent.iterdir()) == ["a%41?b"]
    assert str(above) not in _texts(project)
    moved = tracked_project.with_name(
        "moved?ü 100%"
    )  # not `%41`: there MLflow itself loads a model only with `dst_path`
    project.rename(moved)
    monkeypatch.chdir(moved)
    _change_result(moved, 0.5)
    log.run(EXPERIMENT)
    assert not list(above.iterdir())
    with tracking.exclusive():
        store = tracking.Store()
    assert len(mlflow.MlflowClient(store.uri).search_runs([store.experiment_id])) == 2
    assert str(tracked_project.parent) not in _texts(moved)
    run_python(LOAD_ALL, env={"TF_CPP_MIN_LOG_LEVEL": "3"}, cwd=moved)


def test_a_copy_has_its_own_store(tracked_project, monkeypatch):
    """What is logged in a copy is in the copy alone."""
    log.run(EXPERIMENT)
    copy = tracked_project.with_name("copy")
    shutil.copytree(tracked_project, copy, symlinks=True)
    before = _files(tracked_project)
    monkeypatch.chdir(copy)
    _change_result(copy, 0.25)
    log.run(EXPERIMENT)
    assert _files(tracked_project) == before
    assert len(list(copy.glob("mlartifacts/*/artifacts/metrics.json"))) == 2


def test_a_store_of_an_earlier_version_forgets_where_it_was(tracked_project):
    """Absolute addresses, as they were written before, become relative; files outside the project's folders stay where they are."""
    log.run(EXPERIMENT)
    old, elsewhere = "file:///srv/somebody/old%20place", "/data/mlartifacts/of/others"
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database, database:
        for table, column in (
            ("experiments", "artifact_location"),
            ("runs", "artifact_uri"),
            ("logged_models", "artifact_location"),
        ):
            database.execute(f"UPDATE {table} SET {column} = ? || '/' || {column}", (old,))
        database.execute("UPDATE experiments SET artifact_location = '/srv/somebody/mlruns/0' WHERE experiment_id = 0")
        database.execute(
            "INSERT INTO experiments (experiment_id, name, artifact_location, workspace) VALUES (77, 'mine', ?, 'default')",
            (elsewhere,),
        )
    (description,) = tracked_project.glob("mlartifacts/models/*/artifacts/MLmodel")
    text = description.read_text()
    text = text.replace("artifact_path: mlartifacts", f"artifact_path: {old}/mlartifacts")
    text = text.replace("model_code_path: ", "model_code_path: /srv/somebody/pipeline/tracking/")
    description.write_text(text)
    assert "somebody" in _texts(tracked_project)
    with tracking.exclusive():
        tracking.Store()
    assert "somebody" not in _texts(tracked_project)
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        locations = dict(database.execute("SELECT name, artifact_location FROM experiments"))
        (run,) = database.execute("SELECT artifact_uri FROM runs").fetchone()
    assert locations == {"Default": "mlartifacts/0", "cnnkeras": "mlartifacts", "mine": elsewhere}
    assert (tracked_project / run / "metrics.json").is_file()


@pytest.mark.parametrize("kind", ["symlink", "hardlink"])
def test_results_that_are_links_into_dvcs_cache_are_logged(tracked_project, kind):
    """DVC puts read-only links in place of a result's files, as `cache.type` says; `log` reads them and leaves them."""
    cache = tracked_project / ".dvc/cache"
    cache.mkdir(parents=True)
    for number, file in enumerate(sorted((tracked_project / "results").rglob("*.*"))):
        if file.is_file():
            kept = cache / str(number)
            file.rename(kept)
            kept.chmod(0o444)
            (file.symlink_to if kind == "symlink" else file.hardlink_to)(kept)
    before = _files(tracked_project / "results")
    log.run(EXPERIMENT)
    after = _files(tracked_project / "results")
    assert {path: stat for path, stat in after.items() if path != f"{EXPERIMENT}/mlflow.json"} == before
    (model,) = tracked_project.glob("mlartifacts/models/*/artifacts/artifacts/model.keras")
    assert model.read_bytes() == (tracked_project / "results" / EXPERIMENT / "model/model.keras").read_bytes()
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("UPDATE runs SET status = 'RUNNING'")  # as if the log had been interrupted: it is completed
    command = [*AS_A_USER, sys.executable, "-m", "pipeline.cli", "log", EXPERIMENT]
    done = subprocess.run(command, env=environment({}), capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert not any(path.is_symlink() for path in (tracked_project / "mlartifacts").rglob("*"))
    assert (cache / "0").stat().st_mode & 0o222 == 0
