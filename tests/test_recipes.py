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

from tests import recipe_parts
from tests.archive_files import MIRROR, needs_mirror

REPOSITORY = Path(__file__).parents[1]
RECIPES = ("bccd", "camvid", "cifar10", "fashion_mnist", "imagenette", "mnist", "voc")
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
EXAMPLES = 1000  # of the 60,000 and 10,000 of MNIST and Fashion-MNIST
# Of each task's metrics, one that only images which were read, predicted and measured can give.
SCORES = {"classification": "top1_accuracy", "detection": "map_voc07", "segmentation": "mean_iou"}


def take_fashion(source: dict, folder: Path) -> None:
    """Put the first images of Fashion-MNIST in place of all, and of MNIST's, whose files have the same names and form, and are not in the mirror."""
    for file in source["files"].values():
        file["name"] = Path(file["name"]).name
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
    found = {}
    for recipe in RECIPES:
        params = recipe_parts.read(recipe)
        for dataset in params["datasets"].values():
            dataset["copies"] = 0
        for experiment in params["experiments"].values():
            # All run in one process, in which the number of threads cannot change any more.
            experiment["train"] |= {"epochs": 1, "schedule": {"name": "constant"}, "threads": None}
        folder = tmp_path_factory.mktemp(recipe)
        if recipe.endswith("mnist"):
            take_fashion(params["sources"][recipe], folder)
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            recipe_parts.yaml().dump(params, file)
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


@pytest.mark.parametrize("recipe", sorted(recipe_parts.RECIPES.glob("*.yaml")), ids=lambda file: file.stem)
def test_whoever_has_a_recipe_can_get_its_data(recipe):
    """Each file has an address, a page to log in at, or a path on this disk."""
    sources = recipe_parts.yaml().load(recipe)["sources"]
    for source in sources.values():
        files = source.get("files") or [source["file"]] if {"file", "files"} & source.keys() else []
        for file in files.values() if isinstance(files, dict) else files:
            assert file.get("urls") or file.get("login") or file.get("path"), file
    assert recipe_parts.PARTS.get(recipe.stem, {}).keys() <= sources.keys()


def test_every_recipe_is_in_the_table():
    table = recipe_parts.RECIPES.joinpath("README.md").read_text(encoding="utf-8")
    for recipe in recipe_parts.RECIPES.glob("*.yaml"):
        assert f"| [{recipe.stem}]({recipe.name}) |" in table
