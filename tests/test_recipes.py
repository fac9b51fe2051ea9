"""The small recipes on genuine data, through every stage: an epoch and no copies, which shows that all parts fit, not what they learn."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.archive_files import MIRROR, needs_mirror

REPOSITORY = Path(__file__).parents[1]
STAGES = """
from pipeline import augment, download, evaluate, log, postprocess, predict, train
from pipeline.params import load_params
params = load_params()
for stage, names in ((download, params.sources), (augment, params.datasets)):
    for name in names:
        stage.run(name)
for name in params.experiments:
    for stage in (train, predict, postprocess, evaluate, log):
        stage.run(name)
"""
# Of each task's metrics, one that only pictures which were read, predicted and measured can give.
SCORES = {"classification": "top1_accuracy", "detection": "map_voc07", "segmentation": "mean_iou"}


@needs_mirror
@pytest.mark.parametrize("recipe", ["bccd", "camvid", "imagenette", "voc"])
def test_a_recipe_goes_through_every_stage(tmp_path, recipe):
    """A score and figures for each experiment, a run in the store, and a report of each dataset."""
    params = YAML(typ="safe").load(REPOSITORY / "recipes" / f"{recipe}.yaml")
    for dataset in params["datasets"].values():
        dataset["copies"] = 0
    for experiment in params["experiments"].values():
        experiment["train"] |= {"epochs": 1, "schedule": {"name": "constant"}}
    with (tmp_path / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(params, file)
    environment = os.environ | {"CNNKERAS_MIRROR": str(MIRROR), "PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run(
        [sys.executable, "-c", STAGES],
        cwd=tmp_path,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stderr
    results = tmp_path / "results"
    for name, experiment in params["experiments"].items():
        metrics = json.loads((results / name / "metrics.json").read_text(encoding="utf-8"))
        assert 0 <= metrics[SCORES[params["datasets"][experiment["dataset"]]["task"]]] <= 1
        assert metrics["examples"] >= 30
        assert (results / name / "figures" / "predictions.png").is_file()
        assert (results / name / "mlflow.json").is_file()
        with (results / name / "history.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 1
    assert {path.name for path in (results / "datasets").iterdir()} == set(params["datasets"])
