"""`dvc metrics show` lists figures of merit alone; `dvc plots show` needs no network, and draws classes in their order."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from pipeline.formats.metrics import over_seeds, write_metrics
from pipeline.stages.evaluate import PLOTS, training_table, write_table
from tests import browser

REPOSITORY = Path(__file__).parents[1]
CLASSES = ("zero", "one", "two", "three")  # in another order than that of their letters
HISTORY = {
    "epoch": np.array([1.0, 2.0]),
    "learning_rate": np.array([0.1, 0.1]),
    "loss": np.array([2.0, 1.0]),
    "val_loss": np.array([2.5, np.nan]),
    "top1_accuracy": np.array([0.25, 0.5]),
    "val_top1_accuracy": np.array([0.125, 0.375]),
}
# A vega.View of a specification of the page, run without being drawn; the scales' domains.
DOMAINS = """(async () => {{
  const view = await new vega.View(vega.parse(vegaLite.compile({spec}).spec)).runAsync();
  return Object.fromEntries(["x", "y", "color"].map(name => [name, [...view.scale(name).domain()]]));
}})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A project with the tables of one classifier, declared as dvc.yaml declares them, and the page that DVC makes of it."""
    folder = tmp_path_factory.mktemp("plots")
    stage = YAML(typ="safe").load(REPOSITORY / "dvc.yaml")["stages"]["evaluate"]["do"]
    shutil.copytree(REPOSITORY / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("cache", "tmp"))
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    plots = [{name.replace("${key}", "net"): value for name, value in entry.items()} for entry in stage["plots"]]
    with (folder / "dvc.yaml").open("w") as file:
        YAML().dump({"stages": {"evaluate": {"cmd": "true", "metrics": ["metrics.json"], "plots": plots}}}, file)
    content = {
        "top1_accuracy": 0.5,
        "examples": 2,
        "protocol": ["the rules"],
        "conditions": ["one"],
        "per_class": scores(),
    }
    write_metrics(
        folder / "metrics.json", over_seeds(content, {1: {"top1_accuracy": 0.25}, 2: {"top1_accuracy": 0.75}})
    )
    labels = [(3, 3), (1, 0), (0, 0), (2, 2), (1, 1), (2, 2)]  # actual and predicted
    confusion = [
        {"actual": CLASSES[a], "predicted": CLASSES[p], "actual_label": a, "predicted_label": p} for a, p in labels
    ]
    tables = {"training": training_table(HISTORY), "confusion": confusion, "per_class": scores()}
    for name, columns in PLOTS.items():
        table = folder / "results" / "net" / "plots" / name
        table.mkdir(parents=True)
        write_table(table / f"{name}.csv", tables.get(name, ()), columns=columns)
    dvc(folder, "plots", "show")
    return folder


def scores() -> list[dict]:
    """A row for each class."""
    return [{"class": name, "score": 0.5} for name in CLASSES]


def dvc(folder: Path, *words: str) -> str:
    """What a command of DVC's prints."""
    command = [str(Path(sys.executable).with_name("dvc")), *words]
    environment = {name: value for name, value in os.environ.items() if name != "DVC_ROOT"}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def specifications(folder) -> dict[str, dict]:
    """What Vega is told to draw, by table."""
    page = (folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    drawn = filter(None, map(json.loads, re.findall(r"var spec = (\{.*\});", page)))
    return {Path(spec["title"]["text"]).stem: spec for spec in drawn}


def test_texts_tables_and_seeds_are_no_columns(folder):
    """Each would be one for every class and seed, in a line that no terminal holds."""
    shown = json.loads(dvc(folder, "metrics", "show", "--json"))
    assert shown[""]["data"]["metrics.json"]["data"] == {"top1_accuracy": 0.5, "examples": 2}


def test_the_page_names_no_server(folder):
    """No script, style or image from elsewhere: the libraries are in the page."""
    page = (folder / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 3
    without_scripts = re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)
    assert len(without_scripts) < len(page) / 10
    assert not re.findall(r"<(?:script|link|img)\b[^>]*\b(?:src|href)=", without_scripts)


def test_training_and_validation_are_one_diagram(specifications):
    """Each quantity that both have, with what is no number left out."""
    assert set(specifications) == {"training", "confusion", "per_class"}
    rows = specifications["training"]["data"]["values"]
    assert {(row["quantity"], row["split"]) for row in rows} == {
        (quantity, split) for quantity in ("loss", "top1_accuracy") for split in ("training", "validation")
    }
    values = [row["value"] for row in rows if (row["quantity"], row["split"]) == ("loss", "validation")]
    assert values == ["2.5", ""]


@pytest.mark.skipif(browser.CHROMIUM is None, reason="needs Chromium (Debian: apt install chromium)")
def test_a_browser_draws_classes_in_their_order(folder, specifications, tmp_path):
    """Both axes of the confusion matrix and the bars follow the classes, not their letters; nothing is asked of the network."""
    with browser.chromium(tmp_path / "profile") as page:
        page.open((folder / "dvc_plots" / "index.html").as_uri(), width=1200)
        page.wait(
            f"document.querySelectorAll('canvas').length === {len(PLOTS)}"
        )  # an empty one where there are no rows
        assert not [address for address in page.requests if not address.startswith(("file:", "about:", "data:"))]
        matrix = page.run(DOMAINS.format(spec=json.dumps(specifications["confusion"])))
        assert (matrix["x"], matrix["y"]) == ([*CLASSES], [*CLASSES])
        assert page.run(DOMAINS.format(spec=json.dumps(specifications["per_class"])))["y"] == [*CLASSES]
