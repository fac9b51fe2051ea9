"""`cnnkeras promote`: a logged model has a name and an alias, in the project's own store and on a server; what cannot be promoted is one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from pipeline.commands import promote
from pipeline.runtime.errors import InputError
from pipeline.stages import log
from pipeline.tracking import store as tracking
from tests.tracked_project import EXPERIMENT, METRICS, NOBODY, environment, run_python

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

LOAD = """
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
assert len(model.predict(model.input_example)[0]["predictions"]) == 5
assert "pipeline" not in sys.modules
"""
PROMOTE_LIGHTLY = """
import sys
from pipeline.cli import main
main(["promote", "small"], standalone_mode=False)
heavy = {"tensorflow", "jax", "torch", "keras.src", "mlflow.keras"} & set(sys.modules)
assert not heavy, heavy
"""


def change_result(accuracy: float) -> None:
    Path("results", EXPERIMENT, "metrics.json").write_text(json.dumps(METRICS | {"top1_accuracy": accuracy}))


def address_and_client() -> tuple[str, mlflow.MlflowClient]:
    with tracking.exclusive():
        uri = tracking.Store().uri
    return uri, mlflow.MlflowClient(uri)


@pytest.fixture(params=["own", "server"])
def name(request, tracked_project, monkeypatch) -> str:
    """Name for a registered model of the test's own, in each kind of store in turn."""
    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("mlflow_address"))
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", tracked_project.parent.name)
    return f"{tracked_project.parent.name}-{request.param}"


def test_a_name_and_an_alias_load_the_model(name, tracked_project, tmp_path, capsys):
    """Twice is once; a better result takes the alias over; the variable that names the store stays as it was."""
    stated = os.environ.get("MLFLOW_TRACKING_URI")
    log.run(EXPERIMENT)
    capsys.readouterr()
    for _ in range(2):
        promote.run(EXPERIMENT, name=name)
    first, again = capsys.readouterr().out.splitlines()
    assert f"{EXPERIMENT}: version 1 of {name} in " in first
    assert first.endswith(f"is `champion`: models:/{name}@champion")
    assert "is `champion` already: " in again
    assert os.environ.get("MLFLOW_TRACKING_URI") == stated
    uri, client = address_and_client()
    (version,) = client.search_model_versions(f"name = '{name}'")
    run = client.get_run(version.run_id)
    assert run.data.tags["cnnkeras.fingerprint"] == version.tags["cnnkeras.fingerprint"]
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": name, "version": 1}]

    change_result(0.875)
    log.run(EXPERIMENT)
    capsys.readouterr()
    promote.run(EXPERIMENT, name=name, alias="trial")
    promote.run(EXPERIMENT, name=name)
    lines = capsys.readouterr().out.splitlines()
    assert "version 2 of" in lines[0]
    assert lines[1].endswith(f"is `champion`, in place of version 1: models:/{name}@champion")
    assert {key: int(value) for key, value in client.get_registered_model(name).aliases.items()} == {
        "trial": 2,
        "champion": 2,
    }
    where, settings = tracked_project, {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if uri.startswith("sqlite"):  # the project's store moves with its folder
        where, uri = tmp_path / "moved", "sqlite:///mlflow.db"
        tracked_project.rename(where)
    run_python(LOAD, f"models:/{name}@champion", env=settings | {"MLFLOW_TRACKING_URI": uri}, cwd=where)


def test_promoting_needs_no_keras(tracked_project):
    """Nor TensorFlow: it takes a second or two."""
    log.run(EXPERIMENT)
    run_python(PROMOTE_LIGHTLY, cwd=tracked_project)


@pytest.mark.usefixtures("tracked_project")
def test_what_cannot_be_promoted_is_one_line(monkeypatch):
    """What is not logged, what changed since, what waits, a store that does not answer, names that MLflow would not find: nothing is registered."""
    with pytest.raises(InputError, match=r"none that was logged as it is now. Run `cnnkeras log small` first"):
        promote.run(EXPERIMENT)
    log.run(EXPERIMENT)
    change_result(0.125)
    with pytest.raises(InputError, match=r"none that was logged as it is now"):
        promote.run(EXPERIMENT)
    for name, alias, message in (
        ("a/b", "champion", "--name: expected letters"),
        ("", "champion", "--name: "),
        (None, "latest", "--alias: expected letters"),
        (None, "V2", "--alias: "),
        (None, "a b", "--alias: "),
    ):
        with pytest.raises(InputError, match=message):
            promote.run(EXPERIMENT, name=name, alias=alias)
    with pytest.raises(InputError, match="unknown experiment 'smal'; did you mean 'small'"):
        promote.run("smal")
    assert address_and_client()[1].search_registered_models() == []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    log.run(EXPERIMENT)
    with pytest.raises(InputError, match=f"expected a usable MLflow store at {NOBODY}; received: .*Start the server"):
        promote.run(EXPERIMENT)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(InputError, match=r"received: one that waits to be sent. Run `cnnkeras log` first"):
        promote.run(EXPERIMENT)
    Path("results", EXPERIMENT, "history.csv").unlink()
    with pytest.raises(InputError, match=r"received: no results/small/history.csv. Run `dvc repro log@small` first"):
        promote.run(EXPERIMENT)


def test_the_command_ends_with_code_2(tracked_project):
    """And one line."""
    command = [sys.executable, "-m", "pipeline.cli", "promote", EXPERIMENT]
    done = subprocess.run(
        command, cwd=tracked_project, env=environment({}), capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: expected the result of small in mlflow.db; received: none that was logged")
