"""How MLflow's UI shows the runs: the columns of their table and the first charts, as a view that the UI keeps in a tag of the MLflow experiment.

MLflow calls it a shared view. By itself the UI's table has no figures of merit, and its first charts are those of the learning rate.
"""

import json
from collections.abc import Iterable
from typing import Any

from cnnkeras import metrics
from pipeline.params import Params

KEY = "cnnkeras"
TAG = f"mlflow.sharedViewState.{KEY}"  # where MLflow's UI looks for the view `KEY`
_LOSSES = ("training/val_loss", "training/loss")
_RUNS = 50  # in a chart


def address(experiment_id: str) -> str:
    """Path, below the UI's address, of the page with the runs in this view; MLflow's front page is about language models."""
    return f"#/experiments/{experiment_id}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"


def view(params: Params) -> str:
    """The view for the experiments of a project, as MLflow's UI reads it."""
    tasks = dict.fromkeys(params.task(name) for name in (*params.experiments, *params.ensembles))
    headlines = list(dict.fromkeys(metrics.load(task).METRICS[0] for task in tasks))
    columns = ["attributes.`Created`", "attributes.`Duration`", "attributes.`Dataset`", "tags.`cnnkeras.seed`"]
    charts = [*_cards("LINE", _LOSSES, section="losses"), *_cards("BAR", headlines, section="headlines")]
    titles = {"losses": "losses", "headlines": "test split"}
    state = {
        "orderByKey": "attributes.`Created`",
        "orderByAsc": False,
        "selectedColumns": [*columns, *(f"metrics.`{name}`" for name in headlines)],
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": section, "name": title, "display": True, "isReordered": True} for section, title in titles.items()
        ],
        "isAccordionReordered": True,
    }
    return json.dumps(state)


def _cards(kind: str, names: Iterable[str], *, section: str) -> list[dict[str, Any]]:
    """Charts of metrics, one each, in a section."""
    return [
        {
            "type": kind,
            "uuid": f"{section}-{number}",
            "metricKey": name,
            "selectedMetricKeys": [name],
            "metricSectionId": section,
            "runsCountToCompare": _RUNS,
            "xAxisKey": "step",
            "xAxisScaleType": "linear",
            "scaleType": "linear",
            "lineSmoothness": 0,
            "deleted": False,
            "isGenerated": False,
        }
        for number, name in enumerate(names)
    ]
