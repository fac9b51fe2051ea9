"""The small recipes on genuine data, through every stage: an epoch and no copies, which shows that all parts fit, not what they learn."""

import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.archive_files import MIRROR, needs_mirror

REPOSITORY = Path(__file__).parents[1]
RECIPES = ("bccd", "camvid", "imagenette", "mnist", "voc")
# One process for all, which imports TensorFlow once.
STAGES = """
import os, sys
from pipeline.stages import augment; from pipeline.stages import download; from pipeline.stages import evaluate; from pipeline.stages import log; from pipeline.stages import postprocess; from pipeline.stages import predict; from pipeline.stages import train
from pipeline.params import load_params
for folder in sys.argv[1:]:
    os.chdir(folder)
    params = load_params()
    for stage, names in ((download, params.sources), (augment, params.datasets)):
        for name in names:
            stage.run(name)
    for name in params.experiments:
        for stage in (train, predict, postprocess, evaluate, log):
            stage.run(name)
"""
EXAMPLES = 1000  # of MNIST's 60,000 and 10,000
# Of each task's metrics, one that only images which were read, predicted and measured can give.
SCORES = {"classification": "top1_accuracy", "detection": "map_voc07", "segmentation": "mean_iou"}


def take_fashion(source: dict, folder: Path) -> None:
    """Put the first images of Fashion-MNIST, whose files have the same names and form, in place of MNIST's, which the mirror does not have."""
    for file in source["files"].values():
        content = gzip.decompress((MIRROR / "fashion-mnist" / file["name"]).read_bytes())
        sizes, values = (4, 28 * 28) if content[3] == 3 else (2, 1)  # numbers at the start, bytes an example
        start = 4 * sizes
        shortened = content[:4] + EXAMPLES.to_bytes(4, "big") + content[8 : start + EXAMPLES * values]
        (folder / file["name"]).write_bytes(gzip.compress(shortened, mtime=0))
        file["urls"] = [(folder / file["name"]).as_uri()]
        file["sha256"] = hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def projects(tmp_path_factory):
    """The folder of each recipe, every stage of which has run, and its params."""
    yaml, found = YAML(), {}  # leaves the experiments in their order, in which one starts from another
    yaml.preserve_quotes = True  # DVC's parser does not take a question mark in a list without them
    for recipe in RECIPES:
        params = yaml.load(REPOSITORY / "recipes" / f"{recipe}.yaml")
        for dataset in params["datasets"].values():
            dataset["copies"] = 0
        for experiment in params["experiments"].values():
            # All run in one process, in which the number of threads cannot change any more.
            experiment["train"] |= {"epochs": 1, "schedule": {"name": "constant"}, "threads": None}
        folder = tmp_path_factory.mktemp(recipe)
        if recipe == "mnist":
            take_fashion(params["sources"]["mnist"], folder)
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            yaml.dump(params, file)
        found[recipe] = folder, params
    folders = [str(folder) for folder, _ in found.values()]
    environment = os.environ | {
        "CNNKERAS_MIRROR": str(MIRROR),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folders[0]}/mlflow.db",
        "PYTHONPATH": str(REPOSITORY),
    }
    command = [sys.executable, "-c", STAGES, *folders]
    ended = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=1200)
    assert ended.returncode == 0, ended.stderr
    return found


@needs_mirror
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_goes_through_every_stage(projects, recipe):
    """A score and figures for each experiment, a run in the store, and a report of each dataset."""
    folder, params = projects[recipe]
    results = folder / "results"
    for name, experiment in params["experiments"].items():
        metrics = json.loads((results / name / "metrics.json").read_text(encoding="utf-8"))
        assert 0 <= metrics[SCORES[params["datasets"][experiment["dataset"]]["task"]]] <= 1
        assert metrics["examples"] >= 30
        assert (results / name / "figures" / "predictions.png").is_file()
        assert (results / name / "mlflow.json").is_file()
        with (results / name / "history.csv").open(encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == 1
    assert {path.name for path in (results / "datasets").iterdir()} == set(params["datasets"])
